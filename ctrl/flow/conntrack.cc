// SPDX-License-Identifier: Apache-2.0
#include "ctrl/flow/conntrack.h"

#include "ctrl/flow/clock.h"
#include "dp/base/endian.h"
#include "dp/table/flow_table.h"
#include "dp/table/track.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>

#include <algorithm>
#include <cstring>

namespace slash32 {
namespace {

// Entries that one turn of control's loop looks at: a fraction of a millisecond.
constexpr uint64_t kSlice = 16384;
constexpr uint32_t kMaxTimeout_s = 0x7fffffff;

constexpr const char* kStates[kFlowStateCount] = {
    "syn_sent",       "syn_sent2",     "syn_received", "established",   "fin_wait",
    "close_wait",     "last_ack",      "time_wait",    "close",         "unacknowledged",
    "max_retransmit", "unanswered",    "stream",       "icmp",          "icmpv6",
    "cookie_wait",    "cookie_echoed", "established",  "shutdown_sent", "shutdown_received",
    "shutdown_ack",   "closed",        "generic"};
constexpr const char* kPhases[] = {"embryonic", "assured", "closing", "flushed", "dead"};

// Keys hold IPv4 addresses IPv4-mapped (dp/abi/flow.h).
IpAddress address_of(const std::array<uint64_t, 2>& words) {
    constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    IpAddress out;
    std::array<uint8_t, 16> bytes;
    std::memcpy(bytes.data(), words.data(), sizeof bytes);
    if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
        out.family = Family::kIpv4;
        std::copy_n(bytes.begin() + kMapped.size(), 4, out.bytes.begin());
        return out;
    }
    out.family = Family::kIpv6;
    std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
    return out;
}

bool covers(const std::optional<IpPrefix>& prefix, const IpAddress& address) {
    return !prefix || prefix->contains(address);
}

template <typename T>
bool agrees(const std::optional<T>& wanted, const T& value) {
    return !wanted || *wanted == value;
}

bool matches(const FlowFilter& filter, const FlowEntry& entry) {
    const FlowKey& key = entry.opening.key;
    const PortId from = key.ingress();
    const PortId to = entry.answers.key.ingress();
    return (!filter.port || *filter.port == from || *filter.port == to) &&
           agrees(filter.vrf, key.vrf()) && agrees(filter.protocol, key.protocol()) &&
           covers(filter.src, address_of(key.source)) &&
           covers(filter.dst, address_of(key.destination)) &&
           agrees(filter.sport, Be16::from_raw(key.source_port).to_host()) &&
           agrees(filter.dport, Be16::from_raw(key.destination_port).to_host());
}

FlowRecord record_of(const FlowEntry& entry, const FlowTables& tables, uint32_t now) {
    const FlowKey& key = entry.opening.key;
    const FlowStatus status = entry.first.status.load(std::memory_order_relaxed);
    const uint32_t seen = std::max(entry.opening.last_seen.load(std::memory_order_relaxed),
                                   entry.answers.last_seen.load(std::memory_order_relaxed));
    const auto state = static_cast<size_t>(status.state);
    const uint32_t ends = seen + tables.limits.timeouts[state].load(std::memory_order_relaxed);
    const uint32_t created = entry.second.created.load(std::memory_order_relaxed);
    return {.in = key.ingress(),
            .out = entry.answers.key.ingress(),
            .vrf = key.vrf(),
            .protocol = key.protocol(),
            .src = address_of(key.source),
            .dst = address_of(key.destination),
            .sport = Be16::from_raw(key.source_port).to_host(),
            .dport = Be16::from_raw(key.destination_port).to_host(),
            .state = kStates[state],
            .phase = kPhases[static_cast<size_t>(status.phase)],
            .age_s = now > created ? now - created : 0,
            .expires_s = ends > now ? ends - now : 0};
}

}  // namespace

Conntrack::Conntrack(FlowTables& tables, Generations& generations, rte_rcu_qsbr* quiescent,
                     unsigned reader, size_t bytes, Executor executor)
    : tables_(tables),
      generations_(generations),
      quiescent_(quiescent),
      reader_(reader),
      bytes_(bytes),
      executor_(std::move(executor)) {
    rte_rcu_qsbr_thread_register(quiescent_, reader_);
}

Conntrack::~Conntrack() {
    rte_rcu_qsbr_thread_unregister(quiescent_, reader_);
}

// Entries beyond have never been used.
uint64_t Conntrack::end() const {
    return std::min(tables_.fresh.load(std::memory_order_acquire), tables_.entry_count);
}

// visit(index, entry) → bool, for the living ones of `count` entries, while it returns true.
// Returns where to go on.
template <typename Visit>
uint64_t Conntrack::visit(uint64_t from, uint64_t count, Visit&& visit) {
    const uint64_t last = std::min(end(), from + count);
    rte_rcu_qsbr_thread_online(quiescent_, reader_);
    for (; from < last; ++from) {
        const FlowSummary& summary = tables_.summaries[from];
        if (summary.expires.load(std::memory_order_acquire) == 0) continue;
        const FlowEntry& entry = tables_.entries[from];
        if (is_over(entry.first.status.load(std::memory_order_acquire).phase)) continue;
        if (!visit(static_cast<uint32_t>(from), entry)) break;
    }
    rte_rcu_qsbr_thread_offline(quiescent_, reader_);
    return from;
}

FlowCounts Conntrack::counts() {
    return {.flows = tables_.used.load(std::memory_order_relaxed),
            .half_open = tables_.half_open.load(std::memory_order_relaxed),
            .capacity = tables_.capacity,
            .bytes = bytes_};
}

ConntrackService::Page Conntrack::list(const FlowFilter& filter, uint64_t from, size_t limit) {
    Page page;
    const uint32_t now = flow_clock_now();
    const uint64_t next = visit(from, kSlice, [&](uint32_t, const FlowEntry& entry) {
        if (!matches(filter, entry)) return true;
        if (page.flows.size() == limit) return false;
        page.flows.push_back(record_of(entry, tables_, now));
        return true;
    });
    if (next < end()) page.next = next;
    return page;
}

void Conntrack::flush(const FlowFilter& filter, std::function<void(uint64_t)> done) {
    flush_from(filter, 0, 0, std::move(done));
}

void Conntrack::flush_from(const FlowFilter& filter, uint64_t from, uint64_t flushed,
                           std::function<void(uint64_t)> done) {
    const uint64_t next = visit(from, kSlice, [&](uint32_t index, const FlowEntry& entry) {
        if (matches(filter, entry) && flush_flow(tables_, index)) ++flushed;
        return true;
    });
    if (next >= end()) {
        if (flushed > 0) generations_.raise_epoch();
        done(flushed);
        return;
    }
    executor_([this, filter, next, flushed, done = std::move(done)]() mutable {
        flush_from(filter, next, flushed, std::move(done));
    });
}

void Conntrack::flush_port(PortId port) {
    uint64_t flushed = 0;
    visit(0, end(), [&](uint32_t index, const FlowEntry& entry) {
        const bool ours =
            entry.opening.key.ingress() == port || entry.answers.key.ingress() == port;
        if (ours && flush_flow(tables_, index)) ++flushed;
        return true;
    });
    if (flushed > 0) generations_.raise_epoch();
}

FlowSettings Conntrack::settings() {
    const FlowLimits& limits = tables_.limits;
    FlowSettings out;
    out.flows_per_port = limits.flows_per_port.load();
    out.half_open_per_port = limits.half_open_per_port.load();
    out.half_open = limits.half_open.load();
    out.tcp_loose = limits.tcp_loose.load();
    out.tcp_liberal = limits.tcp_liberal.load();
    for (size_t state = 0; state < kFlowStateCount; ++state)
        out.timeouts[flow_timeout(static_cast<FlowState>(state)).name] =
            limits.timeouts[state].load();
    return out;
}

Result<void> Conntrack::set(const FlowSettings& wanted) {
    const auto index_of = [](const std::string& name) {
        size_t state = 0;
        while (state < kFlowStateCount && name != flow_timeout(static_cast<FlowState>(state)).name)
            ++state;
        return state;
    };
    for (const auto& [name, seconds] : wanted.timeouts) {
        const std::string path = "timeouts." + name;
        if (index_of(name) == kFlowStateCount)
            return fail(ErrorCode::kInvalid, path, "there is no such timeout");
        if (seconds == 0 || seconds > kMaxTimeout_s)
            return fail(ErrorCode::kInvalid, path,
                        fmt::format("must be from 1 to {}", kMaxTimeout_s));
    }
    FlowLimits& limits = tables_.limits;
    const auto assign = [](auto& to, const auto& from) {
        if (from) to.store(*from);
    };
    assign(limits.flows_per_port, wanted.flows_per_port);
    assign(limits.half_open_per_port, wanted.half_open_per_port);
    assign(limits.half_open, wanted.half_open);
    assign(limits.tcp_loose, wanted.tcp_loose);
    assign(limits.tcp_liberal, wanted.tcp_liberal);
    for (const auto& [name, seconds] : wanted.timeouts)
        limits.timeouts[index_of(name)].store(seconds);
    return {};
}

}  // namespace slash32
