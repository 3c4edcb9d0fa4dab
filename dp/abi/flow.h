// SPDX-License-Identifier: Apache-2.0
// The flow table's layout: connection tracking and the forwarding cache in one. Workers share it
// and are its only writers (dp/table/flow_table.h); control makes it, lists it and marks flows
// dead.
//
// A flow is one entry with both tuples, which one bucket leads to. An entry has, for each
// direction, one cache line that is all a packet needs of a connection without sequence numbers,
// and one for TCP's. Buckets hold tags and entry references; a flow that finds its first bucket
// full goes to its second.
//
// Thread safety: lookups take no lock. Links of a bucket change under its lock, which only workers
// take. A key is immutable while linked; an entry is reused after a grace period, its version
// raised. What changes under readers is an atomic, relaxed unless a pairing is named.
//
// Memory: 256 bytes an entry, 32 of buckets, 8 of summary: 296 a flow.
#pragma once

#include "dp/base/ids.h"
#include "dp/base/limits.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace slash32 {

// What tells one direction of a flow from all others. IPv4 addresses are IPv4-mapped (RFC 4291
// section 2.5.5.2), which no IPv6 packet may have. ICMP echo and its like have the identifier as
// source port and the type as destination port, so that an answer is no request; other protocols
// have zeros.
//
// `ingress` is the port that packets of this direction come from, 0 for any uplink: a VM cannot
// ride a flow of another, whatever it writes into its packets.
struct FlowKey {
    std::array<uint64_t, 2> source;
    std::array<uint64_t, 2> destination;
    uint16_t source_port;       // network byte order
    uint16_t destination_port;  // network byte order
    uint32_t where;             // ingress:12 | VRF:12 | protocol:8

    // By words: the comparison of arrays is a call of memcmp.
    bool operator==(const FlowKey& other) const {
        return ((source[0] ^ other.source[0]) | (source[1] ^ other.source[1]) |
                (destination[0] ^ other.destination[0]) | (destination[1] ^ other.destination[1]) |
                (ends() ^ other.ends())) == 0;
    }
    // What is not an address: ports and `where`.
    uint64_t ends() const {
        uint64_t word;
        std::memcpy(&word, &source_port, sizeof word);
        return word;
    }
    // In one store: what is written in pieces and then read as a word stalls the core. `ports`:
    // both as they lie in memory.
    void set_ends(uint32_t ports, uint32_t at) {
        const uint64_t word = uint64_t{at} << 32 | ports;
        std::memcpy(&source_port, &word, sizeof word);
    }
    PortId ingress() const { return PortId{static_cast<uint16_t>(where >> 20)}; }
    VrfId vrf() const { return VrfId{static_cast<uint16_t>(where >> 8 & 0xfff)}; }
    uint8_t protocol() const { return static_cast<uint8_t>(where); }
    // Of `where`: VRF and protocol, which the answers share.
    static constexpr uint32_t kZone = 0xfffff;
    static uint32_t pack(PortId ingress, VrfId vrf, uint8_t protocol) {
        return uint32_t{ingress.value()} << 20 | uint32_t{vrf.value()} << 8 | protocol;
    }
};
static_assert(sizeof(FlowKey) == 40 && std::has_unique_object_representations_v<FlowKey>);
static_assert(kMaxPorts <= 4096 && kMaxVrfs <= 4096, "FlowKey::where");

using FlowSeed = std::array<uint64_t, 3>;  // of the keys' hash

// What a connection has come to; each has a timeout of its own (named as Linux names them).
enum class FlowState : uint8_t {
    kTcpSynSent,
    kTcpSynSent2,  // both ends have sent a SYN (RFC 9293 section 3.5, simultaneous open)
    kTcpSynReceived,
    kTcpEstablished,
    kTcpFinWait,
    kTcpCloseWait,
    kTcpLastAck,
    kTcpTimeWait,
    kTcpClose,
    kTcpUnacknowledged,  // established, data waits long for its acknowledgement
    kTcpMaxRetransmit,   // established, the same data has been sent too often
    kUdp,
    kUdpStream,  // has been answered
    kIcmp,
    kIcmp6,
    kSctpCookieWait,
    kSctpCookieEchoed,
    kSctpEstablished,
    kSctpShutdownSent,
    kSctpShutdownReceived,
    kSctpShutdownAckSent,
    kSctpClosed,
    kGeneric,
    kCount,
};
inline constexpr size_t kFlowStateCount = static_cast<size_t>(FlowState::kCount);

// How much a flow is worth when room is needed.
enum class FlowPhase : uint8_t {
    kEmbryonic,  // not answered, or TCP before its handshake is complete: evicted first
    kAssured,    // never evicted
    kClosing,    // TCP or SCTP on its way out: evicted as an embryonic one
    kFlushed,    // to be taken out by whoever meets it: control may do no more than say so
    kDead,       // a worker is taking it out, or has
};

// Nothing rides the flow any more, and its status does not change but to kDead.
constexpr bool is_over(FlowPhase phase) {
    return phase >= FlowPhase::kFlushed;
}

// State and phase change together, by compare-and-swap.
struct alignas(4) FlowStatus {
    FlowState state = FlowState::kGeneric;
    FlowPhase phase = FlowPhase::kEmbryonic;
    uint16_t seen = 0;  // bits of the protocol's tracker
    bool operator==(const FlowStatus&) const = default;
};
static_assert(sizeof(FlowStatus) == 4 && std::has_unique_object_representations_v<FlowStatus>);

// What one end of a TCP connection has sent so far. Only packets of that direction write it.
struct TcpPeer {
    std::atomic<uint32_t> end;         // highest sequence number sent, plus one
    std::atomic<uint32_t> limit;       // highest it has allowed the other end: ack + window
    std::atomic<uint32_t> window_max;  // largest window it has advertised, scaled
    std::atomic<uint32_t> last_ack;    // the last acknowledgement
    std::atomic<uint32_t> last_sequence;
    std::atomic<uint16_t> last_window;  // as it stood in the packet
    std::atomic<uint8_t> scale;         // RFC 7323 window scale
    std::atomic<uint8_t> flags;         // of the tracker
    std::atomic<uint8_t> retransmits;   // of last_sequence
    // Of a SYN that was passed on a live connection.
    std::atomic<uint8_t> pending_scale;
    std::atomic<uint16_t> pending_window;
};
static_assert(sizeof(TcpPeer) == 28);

// By which policy, and by which set's members, one end let the flow through. Read and written under
// `verdict_lock`.
struct FlowVerdict {
    uint32_t policy = 0;  // generation of the policy; see port_generation()
    uint32_t set_generation = 0;
    SetId set;  // of the deciding rule; kNoSet where it names none
    bool stateful = false;
};
static_assert(sizeof(FlowVerdict) == 12);

// What a packet of this direction need not look up in the rest of the entry.
enum FlowMark : uint32_t {
    kFlowAnswered = 1u << 0,  // direction 1: the flow's status knows that there are answers
    // Direction 1: the end that let the flow through has done so by a stateless rule or without
    // any, so that its filter must be asked about the answers too.
    kFlowJudgeEgress = 1u << 1,
    kFlowJudgeIngress = 1u << 2,
};

struct alignas(kCacheLine) FlowDirection {
    FlowKey key;
    std::atomic<uint32_t> epoch;      // at which this direction was last found to hold; 0: never
    std::atomic<uint32_t> next_hop;   // NextHopId
    std::atomic<uint32_t> routes;     // generation of the VRF's routes at which it was found
    std::atomic<uint32_t> last_seen;  // seconds of the flow clock, written at most once a second
    std::atomic<uint32_t> marks;      // FlowMark bits
    uint32_t reserved;
};
static_assert(sizeof(FlowDirection) == kCacheLine);

// Aligned to its size, and each direction to half of it: a reference to either is one address.
struct alignas(256) FlowEntry {
    FlowDirection opening;  // direction 0: of the first packet
    struct alignas(kCacheLine) {
        TcpPeer peer;
        std::array<FlowVerdict, 2> verdicts;  // by PolicyDirection
        std::atomic<FlowStatus> status;
        std::atomic<uint8_t> verdict_lock;  // 1: a worker compares or writes the verdicts
    } first;
    FlowDirection answers;  // direction 1
    struct alignas(kCacheLine) {
        TcpPeer peer;
        // Seconds of the flow clock; in a free entry, the next free one's index + 1.
        std::atomic<uint32_t> created;
        std::atomic<uint32_t> version;  // raised each time that the entry is freed
        PortId charged;                 // whose share the flow counts against
        PortId out;                     // where direction 0 leaves; any uplink is what it says
    } second;

    FlowDirection& direction(unsigned i) { return i == 0 ? opening : answers; }
    TcpPeer& peer(unsigned direction) { return direction == 0 ? first.peer : second.peer; }
};
static_assert(sizeof(FlowEntry) == 256 && offsetof(FlowEntry, answers) == 128);

// Eight links to flows. A tag is 16 bits of the hash of the opening direction's key; that of the
// answers' differs in the lowest bit alone.
struct alignas(kCacheLine) FlowBucket {
    static constexpr size_t kLinks = 8;
    std::array<std::atomic<uint16_t>, kLinks> tags;
    std::array<std::atomic<uint32_t>, kLinks> links;  // entry index + 1; 0: free
    std::atomic<uint32_t> lock;
    std::atomic<uint32_t> overflow;  // flows whose first bucket this is, and that stand in another
};
static_assert(sizeof(FlowBucket) == kCacheLine);

// What expiry and eviction look at, eight flows a cache line.
struct FlowSummary {
    std::atomic<uint32_t> expires;  // not before this second of the flow clock; 0: a free entry
    std::atomic<PortId> charged;
    std::atomic<FlowPhase> phase;
    uint8_t reserved;
};
static_assert(sizeof(FlowSummary) == 8);

// Of one port: what it may take of the table, and has.
struct alignas(16) FlowShare {
    std::atomic<uint32_t> flows;
    std::atomic<uint32_t> half_open;  // those not assured
};

// Control writes them at any time; workers load them relaxed.
struct FlowLimits {
    std::atomic<uint32_t> flows_per_port;
    std::atomic<uint32_t> half_open_per_port;
    std::atomic<uint32_t> half_open;  // of all ports
    std::atomic<bool> tcp_loose;      // a connection may be picked up in its middle
    std::atomic<bool> tcp_liberal;    // only an RST outside the window is invalid
    std::array<std::atomic<uint32_t>, kFlowStateCount> timeouts;  // seconds, by FlowState
};

// Placed by control in memory that all workers share.
struct FlowTables {
    FlowEntry* entries = nullptr;
    FlowSummary* summaries = nullptr;
    FlowBucket* buckets = nullptr;
    uint32_t capacity = 0;     // flows at a time
    uint32_t entry_count = 0;  // more: those taken out wait for a grace period
    uint32_t bucket_mask = 0;  // number of buckets - 1; about a bucket a flow
    FlowSeed seed{};
    FlowShare* shares = nullptr;  // kMaxPorts, by the charged port
    FlowLimits limits;
    // Entries that nobody has used so far begin here.
    alignas(kCacheLine) std::atomic<uint32_t> fresh{0};
    // Those that have been given back, last in, first out: a count of changes << 32 | index + 1.
    alignas(kCacheLine) std::atomic<uint64_t> free_head{0};
    alignas(kCacheLine) std::atomic<uint32_t> used{0};       // entries not free
    alignas(kCacheLine) std::atomic<uint32_t> half_open{0};  // of all ports
};

}  // namespace slash32
