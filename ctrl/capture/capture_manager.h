// SPDX-License-Identifier: Apache-2.0
// Captures of ports: workers copy packets (dp/abi/capture.h), this brings them to the client that
// asked. At most one capture a port; it ends with its client's connection.
//
// Thread safety: the control thread alone. Bounded: what a slow client does not take is counted
// as lost, never kept.
#pragma once

#include "ctrl/api/services.h"
#include "ctrl/publish/publisher.h"
#include "ctrl/rpc/handler.h"
#include "dp/abi/capture.h"
#include "dp/abi/punt.h"
#include "dp/base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>

struct rte_mbuf;

namespace slash32 {

class CaptureManager final : public CaptureService {
  public:
    explicit CaptureManager(Publisher& publisher);
    ~CaptureManager() override;

    // Errors: kConflict (the port is being captured), kInvalid with path "filter".
    Result<uint64_t> start(rpc::Session& session, const CaptureQuery& query) override;
    Result<Totals> stop(const rpc::Session& session, uint64_t number) override;
    void end_port(PortId port) override;

    // A copy from a worker; its PuntInfo stands in the mbuf's private area.
    void take(rte_mbuf& copy);
    // Sends what take() has gathered; after each drain of the rings.
    void flush();

  private:
    struct Running;
    void finish(uint64_t number);
    void send(Running& running, bool ended);

    Publisher& publisher_;
    std::map<uint64_t, std::unique_ptr<Running>> running_;  // by number
    std::map<PortId, uint64_t> by_port_;
    uint64_t next_number_ = 1;
};

}  // namespace slash32
