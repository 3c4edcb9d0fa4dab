// SPDX-License-Identifier: Apache-2.0
// What the control socket offers and others carry out: explaining a packet, capturing packets.
// Until they are given to the Api, their methods answer kUnavailable. Control thread.
#pragma once

#include "ctrl/rpc/handler.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

struct ExplainQuery {
    PortId port;
    IpAddress src;
    IpAddress dst;  // of the same family
    uint8_t protocol = 0;
    uint16_t sport = 0;
    uint16_t dport = 0;
    std::optional<Mac> src_mac;  // absent: the port's
    std::optional<Mac> dst_mac;  // absent: the gateway's
    uint8_t ttl = 64;
    uint16_t length = 64;  // of the IP packet, bytes
    std::optional<uint8_t> icmp_type;
    std::optional<uint8_t> icmp_code;
};

struct ExplainAnswer {
    struct Step {
        std::string stage;
        std::string decision;
        std::string detail;
    };
    std::string verdict;
    std::string reason;  // "" unless dropped
    PortId out_port;     // kNoPort unless forwarded
    std::vector<Step> steps;
};

class ExplainService {
  public:
    virtual ~ExplainService() = default;
    // Errors: their path is relative to the params ("length").
    virtual Result<ExplainAnswer> explain(const ExplainQuery&) = 0;
};

struct CaptureQuery {
    enum class Direction : uint8_t { kIn, kOut, kBoth, kDropped };
    PortId port;
    Direction direction = Direction::kBoth;
    std::string filter;  // a tcpdump expression, "" takes all
    uint32_t snap_bytes = 256;
    uint64_t packets_max = 0;  // 0: until stopped
};

class CaptureService {
  public:
    virtual ~CaptureService() = default;
    // The capture's number. It ends with the session. Errors: as above.
    virtual Result<uint64_t> start(rpc::Session&, const CaptureQuery&) = 0;
    struct Totals {
        uint64_t packets = 0;
        uint64_t lost = 0;
    };
    // Errors: kNotFound, also for another session's.
    virtual Result<Totals> stop(const rpc::Session&, uint64_t number) = 0;
    // The port is going away: what captures it ends.
    virtual void end_port(PortId) = 0;
};

}  // namespace slash32
