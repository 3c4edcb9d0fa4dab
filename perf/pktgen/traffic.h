// SPDX-License-Identifier: Apache-2.0
// The frames that are sent and how they are known again.
//
// Each carries a stamp behind its L4 header: a magic number, the run (so that what an earlier run
// left in a ring is not counted), the sending device, a sequence number of that device, and the
// clock when it was made. UDP checksums are 0 over IPv4 ("none", RFC 768), which every router must
// pass, and right over IPv6; those of TCP segments are left to the offload.
//
// Thread safety: none; each device has its own. Headers are written whole for each packet: nothing
// depends on what a buffer held before.
#pragma once

#include "perf/pktgen/histogram.h"
#include "perf/pktgen/options.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

struct rte_mbuf;

namespace slash32::pktgen {

inline constexpr size_t kStampBytes = 22;
// Ethernet to the stamp, of the longest headers, without and with encapsulation; round numbers for
// vector moves.
inline constexpr size_t kHeaderRoom = 96;
inline constexpr size_t kEncapsulatedRoom = 160;

// The (destination, ports) of one flow after the other: all destinations, then the next ports.
class FlowTurn {
  public:
    explicit FlowTurn(const Options& options);

    void advance();
    uint32_t destination() const { return static_cast<uint32_t>(destination_); }
    Be16 asking_port() const;
    Be16 asked_port() const;
    // Distinct for flows as far as 20 bits reach.
    uint32_t flow_label() const { return static_cast<uint32_t>(group_ * 8191 + destination_); }

  private:
    uint64_t destinations_;
    uint64_t groups_;  // flows per destination
    uint64_t destination_ = 0;
    uint64_t group_ = 0;
};

struct Stamp {
    uint16_t run = 0;
    uint16_t device = 0;
    uint64_t sequence = 0;
    uint64_t sent = 0;  // the low 48 bits of the TSC: 30 hours
};

// Fills frames of one device.
class FrameMaker {
  public:
    FrameMaker(const Options& options, const DeviceOptions& device, uint32_t index, uint16_t run);

    // The gateway's MAC, when it became known by ARP.
    void set_destination_mac(const Mac& mac);

    // Writes Ethernet up to the stamp, advances to the next flow and the next size of a mix, and
    // returns the frame's length. The buffer has room for kHeaderRoom, or kEncapsulatedRoom where
    // frames are encapsulated, and is the first of its chain; what is behind the stamp is zeros.
    // `now`: the TSC.
    size_t fill(uint8_t* data, uint64_t sequence, uint64_t now = 0);
    // Lengths and offload requests of the first buffer of a chain.
    void describe(rte_mbuf* first) const;

  private:
    // What frames of one size have in common.
    struct Shape {
        std::array<uint8_t, kEncapsulatedRoom> header{};
        size_t bytes = 0;
        uint32_t ip_sum = 0;  // of the IPv4 header without what varies, not folded
        uint32_t l4_sum = 0;  // of what TCP or UDP over IPv6 sum up, without what varies
    };

    Shape make_shape(const DeviceOptions& device, const DeviceOptions& asking, uint16_t index,
                     uint16_t run, size_t bytes) const;
    // Ethernet, and the encapsulation where there is one, around `bytes` of IP.
    void write_outer(const DeviceOptions& device, size_t bytes, uint8_t* at) const;

    std::vector<Shape> shapes_;
    std::vector<uint8_t> order_;  // of the shapes, by their weights
    size_t turn_ = 0;             // in order_
    bool ipv6_ = false;
    bool tso_ = false;
    bool answers_ = false;  // sends the peer's flows the other way
    uint16_t mss_ = 0;
    bool encapsulates_ = false;
    bool srh_ = false;
    size_t ip_at_ = 0;
    size_t ip_bytes_ = 0;  // of the IP header
    size_t stamp_at_ = 0;
    uint32_t first_varying_ =
        0;  // low word of the destination, or of an answer's source; host order
    FlowTurn flow_;
};

// What came in of one peer's frames. The peer's sequence numbers begin with 0.
class FrameCounter {
  public:
    FrameCounter(const Options& options, uint16_t peer, uint16_t run);

    // Of the packets whose stamp is looked at, the time since they were made counts as latency.
    // `now`: the TSC, or 0 where it was not read.
    void count(rte_mbuf* const* packets, uint16_t n, uint64_t now = 0);

    struct Counts {
        uint64_t packets = 0;    // of the peer
        uint64_t bytes = 0;      // of them, without FCS
        uint64_t other = 0;      // anything else
        uint64_t cut = 0;        // segments that came in pieces
        uint64_t reordered = 0;  // Check::kAll and TSO only
        uint64_t duplicated = 0;
        uint64_t expected = 0;  // one more than the highest sequence number seen
    };
    const Counts& counts() const { return counts_; }
    Histogram& latency() { return latency_; }  // in cycles of the TSC
    const Histogram& latency() const { return latency_; }

  private:
    void count_one(rte_mbuf* packet, uint64_t now);
    void count_stamped(uint64_t sequence);
    void count_latency(const Stamp& stamp, uint64_t now);

    const bool tso_;
    const bool check_all_;
    std::vector<bool> sizes_;  // by length, of the peer's frames
    const uint16_t peer_;
    const uint16_t run_;
    Counts counts_;
    Histogram latency_;
    std::vector<uint64_t> seen_;  // sequence + 1 of the last packet with these low bits
};

// The stamp of a frame, if it is one of ours, encapsulated or not.
bool read_stamp(const rte_mbuf* packet, Stamp& stamp);

// ARP (RFC 826). Returns the frame's length; `data` has room for 64 bytes.
size_t write_arp_request(uint8_t* data, const Mac& mac, Ip4 own, Ip4 wanted);
struct ArpRequest {
    Mac mac;  // of who asks
    Ip4 asker;
    Ip4 wanted;
};
// Nothing: the frame is none.
std::optional<ArpRequest> read_arp_request(const rte_mbuf* packet);
// `mac` has the address. Returns the frame's length; `data` has room for 64 bytes.
size_t write_arp_reply(uint8_t* data, const Mac& mac, const ArpRequest& request);
// Whether the frame says who has `wanted`.
bool read_arp_reply(const rte_mbuf* packet, Ip4 wanted, Mac& mac);

}  // namespace slash32::pktgen
