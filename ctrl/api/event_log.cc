// SPDX-License-Identifier: Apache-2.0
#include "ctrl/api/event_log.h"

#include "ctrl/rpc/clock_text.h"

#include <algorithm>
#include <array>

namespace slash32 {
namespace {

constexpr std::array<std::string_view, 19> kTypes = {
    "port.added",        "port.changed", "port.removed",
    "port.connected",    "port.wired",   "port.rings_ready",
    "port.disconnected", "port.failed",  "address.moved",
    "address.conflict",  "denied",       "route.changed",
    "neighbor.changed",  "sg.changed",   "addrset.changed",
    "sync.committed",    "vrf.changed",  "route.miss",
    "route.expired"};

bool matches(std::string_view pattern, std::string_view type) {
    if (!pattern.ends_with(".*")) return pattern == type;
    pattern.remove_suffix(1);  // the dot stays
    return type.starts_with(pattern);
}

}  // namespace

bool EventLog::is_type_pattern(std::string_view pattern) {
    return std::ranges::any_of(kTypes,
                               [&](std::string_view type) { return matches(pattern, type); });
}

bool EventLog::Watcher::wants(std::string_view type) const {
    return types.empty() || std::ranges::any_of(types, [&](const std::string& pattern) {
               return matches(pattern, type);
           });
}

uint64_t EventLog::append(std::string_view type, rpc::Json members) {
    members["seq"] = ++seq_;
    members["type"] = type;
    members["time"] = rpc::now_text();
    Event event{type, rpc::make_notification("event", members)};
    for (auto& [id, watcher] : watchers_) {
        if (watcher.wants(type)) watcher.session->notify_event(seq_, event.frame);
    }
    ring_bytes_ += event.frame->size();
    ring_.push_back(std::move(event));
    while (ring_.size() > events_max_ || ring_bytes_ > bytes_max_) {
        ring_bytes_ -= ring_.front().frame->size();
        ring_.pop_front();
    }
    return seq_;
}

void EventLog::watch(rpc::Session& session, uint64_t since, std::vector<std::string> types) {
    Watcher& watcher = watchers_[session.id()];
    watcher = {&session, std::move(types)};
    for (uint64_t seq = since + 1; seq <= seq_; ++seq) {
        const Event& event = ring_[ring_.size() - (seq_ - seq) - 1];
        if (watcher.wants(event.type)) session.notify_event(seq, event.frame);
    }
}

}  // namespace slash32
