// SPDX-License-Identifier: Apache-2.0
#include "ctrl/api/api.h"

#include "ctrl/api/decode_request.h"

#include <algorithm>
#include <chrono>

namespace slash32 {

using rpc::Json;
using rpc::Reply;
using rpc::Session;

const std::array<Api::MethodEntry, 50> Api::kMethods = {{
    {"status", &Api::status},
    {"port.apply", &Api::port_apply},
    {"port.delete", &Api::port_delete},
    {"port.get", &Api::port_get},
    {"port.list", &Api::port_list},
    {"vrf.apply", &Api::vrf_apply},
    {"vrf.delete", &Api::vrf_delete},
    {"vrf.get", &Api::vrf_get},
    {"vrf.list", &Api::vrf_list},
    {"route.apply", &Api::route_apply},
    {"route.delete", &Api::route_delete},
    {"route.get", &Api::route_get},
    {"route.list", &Api::route_list},
    {"sid.list", &Api::sid_list},
    {"neighbor.apply", &Api::neighbor_apply},
    {"neighbor.delete", &Api::neighbor_delete},
    {"neighbor.get", &Api::neighbor_get},
    {"neighbor.list", &Api::neighbor_list},
    {"sg.apply", &Api::sg_apply},
    {"sg.members", &Api::sg_members},
    {"sg.delete", &Api::sg_delete},
    {"sg.get", &Api::sg_get},
    {"sg.list", &Api::sg_list},
    {"addrset.apply", &Api::addrset_apply},
    {"addrset.update", &Api::addrset_update},
    {"addrset.delete", &Api::addrset_delete},
    {"addrset.get", &Api::addrset_get},
    {"addrset.list", &Api::addrset_list},
    {"conntrack.list", &Api::conntrack_list},
    {"conntrack.count", &Api::conntrack_count},
    {"conntrack.flush", &Api::conntrack_flush},
    {"conntrack.config", &Api::conntrack_config},
    {"sync.begin", &Api::sync_begin},
    {"sync.commit", &Api::sync_commit},
    {"sync.abort", &Api::sync_abort},
    {"watch", &Api::watch},
    {"stats", &Api::stats},
    {"worker.stages", &Api::worker_stages},
    {"rings", &Api::rings},
    {"memory", &Api::memory},
    {"offload", &Api::offload},
    {"host.status", &Api::host_status},
    {"host.routes", &Api::host_routes},
    {"host.drain", &Api::host_drain},
    {"host.undrain", &Api::host_undrain},
    {"log.get", &Api::log_get},
    {"log.set", &Api::log_set},
    {"explain", &Api::explain},
    {"capture.start", &Api::capture_start},
    {"capture.stop", &Api::capture_stop},
}};

Api::Api(asio::io_context& io, Intent& intent, Plane& plane, Telemetry& telemetry,
         rpc::ServerInfo info)
    : io_(io),
      intent_(intent),
      plane_(plane),
      telemetry_(telemetry),
      info_(std::move(info)),
      timer_(io),
      started_ns_(std::chrono::steady_clock::now().time_since_epoch().count()) {
    intent_.on_change([this](const ChangeSet& change) { return on_change(change); });
    plane_.on_event([this](const PlaneEvent& event) { on_plane_event(event); });
    start_timer();
}

Api::~Api() {
    intent_.on_change(nullptr);
    plane_.on_event(nullptr);
}

void Api::handle(Session& session, std::string_view method, Json params, Reply reply) {
    const auto known = std::ranges::find(kMethods, method, &MethodEntry::name);
    if (known == kMethods.end()) {
        return reply.error({ErrorCode::kInternal, "", "the method has no handler"});
    }
    (this->*known->method)(session, params, std::move(reply));
}

std::function<void(Result<Json>)> Api::answer(Reply reply) {
    auto shared = std::make_shared<Reply>(std::move(reply));
    return [shared](Result<Json> result) { shared->complete(std::move(result)); };
}

void Api::follow(Session& session) {
    if (!followed_.insert(session.id()).second) return;
    session.on_close([this, id = session.id()] { session_closed(id); });
}

void Api::session_closed(uint64_t session) {
    followed_.erase(session);
    events_.forget(session);
    syncs_.close_session(session);
}

Json Api::next_hop_json(uint32_t hop) const {
    return Json::parse(next_hop_text(intent_.state(), hop));
}

}  // namespace slash32
