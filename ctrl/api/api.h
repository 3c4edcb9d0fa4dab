// SPDX-License-Identifier: Apache-2.0
// The methods of the control socket (docs/protocol.md), but for `hello`: decoding, the intent
// layer, listings, events, numbers. One file a group of methods.
//
// Thread safety: the control thread alone.
#pragma once

#include "ctrl/api/event_log.h"
#include "ctrl/api/services.h"
#include "ctrl/api/telemetry.h"
#include "ctrl/intent/intent.h"
#include "ctrl/intent/sync_set.h"
#include "ctrl/plane/plane.h"
#include "ctrl/punt/denied.h"
#include "ctrl/rpc/handler.h"
#include "ctrl/rpc/server.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace slash32 {

// Members that writing requests have in common.
struct WriteOptions {
    std::string owner = "cli";
    bool force = false;
    bool dry_run = false;
    std::optional<uint64_t> sync;
};

class Api final : public rpc::Handler {
  public:
    // Everything given outlives the Api. Takes the plane's events and the intent's changes.
    Api(asio::io_context& io, Intent& intent, Plane& plane, Telemetry& telemetry,
        rpc::ServerInfo info);
    ~Api() override;

    // nullptr takes the service away again. They outlive the Api or are taken away.
    void set_explain(ExplainService* explain) { explain_ = explain; }
    void set_capture(CaptureService* capture) { capture_ = capture; }
    void set_conntrack(ConntrackService* conntrack) { conntrack_ = conntrack; }
    // nullptr: nothing is announced.
    void set_announce(const AnnounceService* announce) { announce_ = announce; }
    void set_host(HostService* host) { host_ = host; }
    // A sentence for `status`.
    void add_warning(std::string warning) { warnings_.push_back(std::move(warning)); }

    void handle(rpc::Session& session, std::string_view method, rpc::Json params,
                rpc::Reply reply) override;

    // Looks for ports whose packets anti-spoofing has refused since the last time; every second.
    void report_denied();
    // A packet that the filter of a port has refused and that the port asks to be told of.
    void report_denied(const DeniedPacket& packet);
    // A packet that went by a route of `vrf` whose owner asks for such reports.
    void report_miss(VrfId vrf, const DeniedPacket& packet);
    // A route that has gone because nothing used it.
    void report_expired(const RouteKey& route, const std::string& owner);
    uint64_t seq() const { return events_.seq(); }

  private:
    using Method = void (Api::*)(rpc::Session&, const rpc::Json&, rpc::Reply);
    struct MethodEntry {
        std::string_view name;
        Method method;
    };
    static const std::array<MethodEntry, 50> kMethods;

    // ports.cc
    void port_apply(rpc::Session&, const rpc::Json&, rpc::Reply);
    void port_delete(rpc::Session&, const rpc::Json&, rpc::Reply);
    void port_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void port_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    rpc::Json port_json(const PortSlot& slot);
    PortActual actual_of(const PortSlot& slot) const;
    // vrfs.cc
    void vrf_apply(rpc::Session&, const rpc::Json&, rpc::Reply);
    void vrf_delete(rpc::Session&, const rpc::Json&, rpc::Reply);
    void vrf_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void vrf_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    // routes.cc
    void route_apply(rpc::Session&, const rpc::Json&, rpc::Reply);
    void route_delete(rpc::Session&, const rpc::Json&, rpc::Reply);
    void route_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void route_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    // sids.cc
    void sid_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    // neighbors.cc
    void neighbor_apply(rpc::Session&, const rpc::Json&, rpc::Reply);
    void neighbor_delete(rpc::Session&, const rpc::Json&, rpc::Reply);
    void neighbor_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void neighbor_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    // groups.cc
    void sg_apply(rpc::Session&, const rpc::Json&, rpc::Reply);
    void sg_members(rpc::Session&, const rpc::Json&, rpc::Reply);
    void sg_delete(rpc::Session&, const rpc::Json&, rpc::Reply);
    void sg_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void sg_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    void addrset_apply(rpc::Session&, const rpc::Json&, rpc::Reply);
    void addrset_update(rpc::Session&, const rpc::Json&, rpc::Reply);
    void addrset_delete(rpc::Session&, const rpc::Json&, rpc::Reply);
    void addrset_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void addrset_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    void group_apply(rpc::Session&, GroupKind kind, const rpc::Json&, rpc::Reply);
    void group_update(GroupKind kind, const rpc::Json&, rpc::Reply);
    void group_delete(GroupKind kind, const rpc::Json&, rpc::Reply);
    void group_get(GroupKind kind, const rpc::Json&, rpc::Reply);
    void group_list(GroupKind kind, const rpc::Json&, rpc::Reply);
    rpc::Json group_json(const GroupSlot& slot);
    // conntrack.cc
    void conntrack_list(rpc::Session&, const rpc::Json&, rpc::Reply);
    void conntrack_count(rpc::Session&, const rpc::Json&, rpc::Reply);
    void conntrack_flush(rpc::Session&, const rpc::Json&, rpc::Reply);
    void conntrack_config(rpc::Session&, const rpc::Json&, rpc::Reply);
    rpc::Json flow_json(const FlowRecord& flow) const;
    // sync.cc
    void sync_begin(rpc::Session&, const rpc::Json&, rpc::Reply);
    void sync_commit(rpc::Session&, const rpc::Json&, rpc::Reply);
    void sync_abort(rpc::Session&, const rpc::Json&, rpc::Reply);
    template <typename Request>
    void stage(rpc::Session& session, const WriteOptions& options, Request&& request,
               rpc::Reply reply);
    // events.cc
    void watch(rpc::Session&, const rpc::Json&, rpc::Reply);
    uint64_t on_change(const ChangeSet& change);
    void on_plane_event(const PlaneEvent& event);
    void address_event(const PlaneEvent& event, const PortSlot& slot, rpc::Json members);
    void start_timer();
    // status.cc
    void status(rpc::Session&, const rpc::Json&, rpc::Reply);
    void memory(rpc::Session&, const rpc::Json&, rpc::Reply);
    void offload(rpc::Session&, const rpc::Json&, rpc::Reply);
    void rings(rpc::Session&, const rpc::Json&, rpc::Reply);
    void log_get(rpc::Session&, const rpc::Json&, rpc::Reply);
    void log_set(rpc::Session&, const rpc::Json&, rpc::Reply);
    // stats.cc
    void stats(rpc::Session&, const rpc::Json&, rpc::Reply);
    void worker_stages(rpc::Session&, const rpc::Json&, rpc::Reply);
    void host_routes(rpc::Session&, const rpc::Json&, rpc::Reply);
    void host_status(rpc::Session&, const rpc::Json&, rpc::Reply);
    void host_drain(rpc::Session&, const rpc::Json&, rpc::Reply);
    void host_undrain(rpc::Session&, const rpc::Json&, rpc::Reply);
    void set_drain(Drain drain, rpc::Reply reply);
    // explain.cc
    void explain(rpc::Session&, const rpc::Json&, rpc::Reply);
    void capture_start(rpc::Session&, const rpc::Json&, rpc::Reply);
    void capture_stop(rpc::Session&, const rpc::Json&, rpc::Reply);

    // Carries a request out, or answers what it would do. `result` makes the reply of the outcome.
    template <typename Request>
    void change(const WriteOptions& options, Request request, rpc::Reply reply,
                std::function<rpc::Json(const Done&)> result);
    // Answers once, from a callback that must be copyable.
    static std::function<void(Result<rpc::Json>)> answer(rpc::Reply reply);
    // The session's end is heard from now on.
    void follow(rpc::Session& session);
    void session_closed(uint64_t session);
    rpc::Json difference(const ChangeSet& change) const;
    rpc::Json next_hop_json(uint32_t hop) const;

    asio::io_context& io_;
    Intent& intent_;
    Plane& plane_;
    Telemetry& telemetry_;
    const rpc::ServerInfo info_;
    ExplainService* explain_ = nullptr;
    CaptureService* capture_ = nullptr;
    ConntrackService* conntrack_ = nullptr;
    const AnnounceService* announce_ = nullptr;
    HostService* host_ = nullptr;
    EventLog events_;
    SyncSets syncs_;
    std::set<uint64_t> followed_;  // sessions
    std::vector<std::string> warnings_;
    std::unordered_map<uint16_t, std::array<uint64_t, kDropReasonCount>> denied_;  // by PortId
    // Who announced an allowed address last.
    std::map<std::pair<VrfId, IpAddress>, std::string> holders_;
    asio::steady_timer timer_;
    const int64_t started_ns_;
};

template <typename Request>
void Api::change(const WriteOptions& options, Request request, rpc::Reply reply,
                 std::function<rpc::Json(const Done&)> result) {
    auto done = answer(std::move(reply));
    auto shared = std::make_shared<const Request>(std::move(request));
    if (options.dry_run) {
        intent_.read([this, shared, done](State& state) {
            const Result<ChangeSet> planned = plan(state, *shared);
            if (planned) {
                done(rpc::Json{{"dry_run", true}, {"difference", difference(*planned)}});
            } else {
                done(tl::unexpected(planned.error()));
            }
        });
        return;
    }
    intent_.write([shared](State& state) { return plan(state, *shared); },
                  [done, result = std::move(result)](const Result<Done>& outcome) {
                      if (outcome) {
                          done(result(*outcome));
                      } else {
                          done(tl::unexpected(outcome.error()));
                      }
                  });
}

}  // namespace slash32
