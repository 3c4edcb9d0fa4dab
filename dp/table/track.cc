// SPDX-License-Identifier: Apache-2.0
// Which tracker is whose, and the protocols that have no state but "answered".
#include "dp/table/track.h"

#include "dp/base/assert.h"
#include "dp/packet/headers.h"
#include "dp/table/flow_key.h"
#include "dp/table/track_protocol.h"

namespace slash32 {
namespace {

constexpr std::array<FlowTimeout, kFlowStateCount> kTimeouts = [] {
    std::array<FlowTimeout, kFlowStateCount> all{};
    const auto set = [&](FlowState state, const char* name, uint32_t seconds) {
        all[static_cast<size_t>(state)] = {.name = name, .seconds = seconds};
    };
    set(FlowState::kTcpSynSent, "tcp_timeout_syn_sent", 120);
    set(FlowState::kTcpSynSent2, "tcp_timeout_syn_sent2", 120);
    set(FlowState::kTcpSynReceived, "tcp_timeout_syn_recv", 60);
    set(FlowState::kTcpEstablished, "tcp_timeout_established", 432000);
    set(FlowState::kTcpFinWait, "tcp_timeout_fin_wait", 120);
    set(FlowState::kTcpCloseWait, "tcp_timeout_close_wait", 60);
    set(FlowState::kTcpLastAck, "tcp_timeout_last_ack", 30);
    set(FlowState::kTcpTimeWait, "tcp_timeout_time_wait", 120);
    set(FlowState::kTcpClose, "tcp_timeout_close", 10);
    set(FlowState::kTcpUnacknowledged, "tcp_timeout_unacknowledged", 300);
    set(FlowState::kTcpMaxRetransmit, "tcp_timeout_max_retrans", 300);
    set(FlowState::kUdp, "udp_timeout", 30);
    set(FlowState::kUdpStream, "udp_timeout_stream", 120);
    set(FlowState::kIcmp, "icmp_timeout", 30);
    set(FlowState::kIcmp6, "icmpv6_timeout", 30);
    set(FlowState::kSctpCookieWait, "sctp_timeout_cookie_wait", 3);
    set(FlowState::kSctpCookieEchoed, "sctp_timeout_cookie_echoed", 3);
    set(FlowState::kSctpEstablished, "sctp_timeout_established", 210);
    set(FlowState::kSctpShutdownSent, "sctp_timeout_shutdown_sent", 3);
    set(FlowState::kSctpShutdownReceived, "sctp_timeout_shutdown_recd", 3);
    set(FlowState::kSctpShutdownAckSent, "sctp_timeout_shutdown_ack_sent", 3);
    set(FlowState::kSctpClosed, "sctp_timeout_closed", 10);
    set(FlowState::kGeneric, "generic_timeout", 600);
    return all;
}();

constexpr bool all_named() {
    for (const FlowTimeout& timeout : kTimeouts) {
        if (timeout.name == nullptr) return false;
    }
    return true;
}
static_assert(all_named());

// ICMP is IPv4's, ICMPv6 is IPv6's; with the other it is a protocol like any.
bool is_icmp(const PacketMeta& meta) {
    return (meta.protocol == kProtoIcmp && meta.kind == PacketKind::kIpv4) ||
           (meta.protocol == kProtoIcmp6 && meta.kind == PacketKind::kIpv6);
}

// An answer begins nothing, and neither does a message that calls for none.
bool is_icmp_query(uint8_t protocol, uint8_t type) {
    if (icmp_counterpart(protocol, type) == type) return false;
    if (protocol == kProtoIcmp6) return type == kIcmp6Echo || type == kIcmp6NodeQuery;
    return type == kIcmpEcho || (type > kIcmpEcho && type % 2 == 1);
}

void begin(FlowEntry& entry, FlowState state) {
    entry.first.status.store({.state = state, .phase = FlowPhase::kEmbryonic},
                             std::memory_order_relaxed);
}

// Of UDP, ICMP and the rest. Only the first answer writes.
TrackResult track_answered(unsigned direction, FlowEntry& entry) {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    if (direction == 0) return {};
    std::atomic<uint32_t>& marks = entry.answers.marks;
    if ((marks.load(kRelaxed) & kFlowAnswered) != 0) return {};

    FlowStatus before = entry.first.status.load(kRelaxed);
    FlowStatus after;
    do {
        if (is_over(before.phase)) return kTrackPass;
        after = before;
        after.phase = FlowPhase::kAssured;
        if (before.state == FlowState::kUdp) after.state = FlowState::kUdpStream;
        if (after == before) break;
    } while (!entry.first.status.compare_exchange_weak(before, after, kRelaxed));
    marks.fetch_or(kFlowAnswered, kRelaxed);
    return accepted(before, after);
}

}  // namespace

bool begin_tracking(const PacketMeta& meta, const FlowLimits& limits, FlowEntry& entry) {
    if (meta.has(kLaterFragment)) return false;
    if (is_icmp(meta)) {
        const auto& icmp = *reinterpret_cast<const IcmpHeader*>(meta.l3 + meta.l3_length);
        if (!is_icmp_query(meta.protocol, icmp.type)) return false;
        begin(entry, meta.protocol == kProtoIcmp ? FlowState::kIcmp : FlowState::kIcmp6);
        return true;
    }
    switch (meta.protocol) {
        case kProtoTcp:
            return begin_tcp(meta, limits, entry);
        case kProtoSctp:
            return begin_sctp(meta, entry);
        case kProtoUdp:
            begin(entry, FlowState::kUdp);
            return true;
        default:
            begin(entry, FlowState::kGeneric);
            return true;
    }
}

TrackResult track(const PacketMeta& meta, unsigned direction, uint32_t /*now*/,
                  const FlowLimits& limits, FlowEntry& entry) {
    if (meta.protocol == kProtoTcp) return track_tcp(meta, direction, limits, entry);
    if (meta.protocol == kProtoSctp) return track_sctp(meta, direction, entry);
    return track_answered(direction, entry);
}

TrackResult cut(const PacketMeta& meta, FlowEntry& entry) {
    return meta.protocol == kProtoTcp ? cut_tcp(meta, entry) : kTrackRestart;
}

const FlowTimeout& flow_timeout(FlowState state) {
    const auto index = static_cast<size_t>(state);
    S32_ASSERT(index < kTimeouts.size());
    return kTimeouts[index];
}

}  // namespace slash32
