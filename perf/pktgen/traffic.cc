// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/traffic.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace slash32::pktgen {

namespace {

constexpr uint32_t kMagic = 0x53333270;
constexpr size_t kEthernetBytes = 14;
constexpr size_t kIpBytes = 20;
constexpr size_t kUdpBytes = 8;
constexpr size_t kTcpBytes = 20;
constexpr size_t kIpAt = kEthernetBytes;
constexpr size_t kIpSumAt = kIpAt + 10;
constexpr size_t kSourceAt = kIpAt + 12;
constexpr size_t kDestinationAt = kIpAt + 16;
constexpr size_t kPortsAt = kIpAt + kIpBytes;
constexpr size_t kTcpSumAt = kPortsAt + 16;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kTcp = 6;
constexpr uint32_t kFirstPort = 1024;
constexpr uint32_t kPortsPerGroup = 60000;
constexpr uint32_t kDestinationPort = 5000;
constexpr size_t kSeenEntries = 65536;
constexpr size_t kClockBytes = 6;  // the low ones of the TSC, as it lies in memory
constexpr uint64_t kClockMask = (uint64_t{1} << 48) - 1;

template <typename T>
void put(uint8_t* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

template <typename T>
T get(const uint8_t* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// RFC 1071, over 16-bit words as they lie in memory.
uint32_t sum_words(const uint8_t* at, size_t bytes) {
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < bytes; i += 2)
        sum += get<uint16_t>(at + i);
    return sum;
}

uint16_t fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

}  // namespace

FrameMaker::FrameMaker(const Options& options, const DeviceOptions& device, uint32_t index,
                       uint16_t run)
    : answers_(options.two_way && index % 2 == 1),
      tso_(options.tso),
      mss_(options.mss),
      destinations_(options.destinations),
      groups_((options.flows + options.destinations - 1) / options.destinations) {
    uint8_t* t = template_.data();
    std::memcpy(t, device.destination_mac.bytes.data(), 6);
    std::memcpy(t + 6, device.source_mac.bytes.data(), 6);
    put(t + 12, Be16(0x0800));

    const uint16_t ip_bytes = static_cast<uint16_t>(options.frame_bytes - kEthernetBytes);
    t[kIpAt] = 0x45;
    put(t + kIpAt + 2, Be16(ip_bytes));
    put(t + kIpAt + 6, Be16(0x4000));  // don't fragment
    t[kIpAt + 8] = 64;
    t[kIpAt + 9] = tso_ ? kTcp : kUdp;
    // Of its peer's flows, the destinations are the sources of the answers.
    const DeviceOptions& asking = answers_ ? options.devices[index - 1] : device;
    first_varying_ = asking.destination_ip.value.to_host();
    put(t + (answers_ ? kDestinationAt : kSourceAt), asking.source_ip.value);
    ip_sum_ = sum_words(t + kIpAt, kIpBytes);

    const uint16_t l4_bytes = static_cast<uint16_t>(ip_bytes - kIpBytes);
    if (tso_) {
        t[kPortsAt + 12] = (kTcpBytes / 4) << 4;
        t[kPortsAt + 13] = 0x10;  // ACK
        put(t + kPortsAt + 14, Be16(0xffff));
        // The pseudo-header's sum, not inverted: what virtio asks of an unfilled checksum.
        tcp_sum_ = sum_words(t + kSourceAt, 8) + Be16(kTcp).raw() + Be16(l4_bytes).raw();
    } else {
        put(t + kPortsAt + 4, Be16(l4_bytes));
    }
    stamp_at_ = kPortsAt + (tso_ ? kTcpBytes : kUdpBytes);
    put(t + stamp_at_, kMagic);
    put(t + stamp_at_ + 4, run);
    put(t + stamp_at_ + 6, static_cast<uint16_t>(index));
    header_bytes_ = stamp_at_ + kStampBytes;
}

void FrameMaker::set_destination_mac(const Mac& mac) {
    std::memcpy(template_.data(), mac.bytes.data(), 6);
}

void FrameMaker::fill(uint8_t* data, uint64_t sequence, uint64_t now) {
    // A fixed size is a few vector moves; the buffer is always larger than the template.
    std::memcpy(data, template_.data(), template_.size());
    const Be32 varying(first_varying_ + static_cast<uint32_t>(destination_));
    put(data + (answers_ ? kSourceAt : kDestinationAt), varying);
    const uint32_t half_sum = (varying.raw() & 0xffff) + (varying.raw() >> 16);
    put(data + kIpSumAt, static_cast<uint16_t>(~fold(ip_sum_ + half_sum)));
    const uint32_t group = static_cast<uint32_t>(group_);
    const Be16 asking(static_cast<uint16_t>(kFirstPort + group % kPortsPerGroup));
    const Be16 asked(static_cast<uint16_t>(kDestinationPort + group / kPortsPerGroup));
    put(data + kPortsAt, answers_ ? asked : asking);
    put(data + kPortsAt + 2, answers_ ? asking : asked);
    if (tso_) put(data + kTcpSumAt, fold(tcp_sum_ + half_sum));
    put(data + stamp_at_ + 8, sequence);
    std::memcpy(data + stamp_at_ + 16, &now, kClockBytes);
    if (++destination_ == destinations_) {
        destination_ = 0;
        if (++group_ == groups_) group_ = 0;
    }
}

void FrameMaker::describe(rte_mbuf* first) const {
    if (!tso_) return;
    first->l2_len = kEthernetBytes;
    first->l3_len = kIpBytes;
    first->l4_len = kTcpBytes;
    first->tso_segsz = mss_;
    first->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
}

FrameCounter::FrameCounter(const Options& options, uint16_t peer, uint16_t run)
    : tso_(options.tso),
      check_all_(options.check == Check::kAll || options.tso),
      frame_bytes_(static_cast<uint32_t>(options.frame_bytes)),
      peer_(peer),
      run_(run),
      seen_(check_all_ ? kSeenEntries : 0) {}

void FrameCounter::count(rte_mbuf* const* packets, uint16_t n, uint64_t now) {
    if (check_all_) {
        for (uint16_t i = 0; i < n; i++)
            count_one(packets[i], now);
        return;
    }
    // Lengths tell the peer's frames from the router's own; one stamp a burst tells the losses.
    uint16_t ours = 0;
    const rte_mbuf* last = nullptr;
    for (uint16_t i = 0; i < n; i++) {
        if (packets[i]->pkt_len != frame_bytes_) continue;
        ours++;
        last = packets[i];
    }
    Stamp stamp;
    if (last != nullptr) {
        if (read_stamp(last, stamp) && stamp.run == run_ && stamp.device == peer_) {
            counts_.expected = std::max(counts_.expected, stamp.sequence + 1);
            count_latency(stamp, now);
        } else {
            ours = 0;  // a whole burst of strangers, such as an earlier run's
        }
    }
    counts_.packets += ours;
    counts_.bytes += uint64_t{ours} * frame_bytes_;
    counts_.other += n - ours;
}

void FrameCounter::count_one(rte_mbuf* packet, uint64_t now) {
    Stamp stamp;
    if (!read_stamp(packet, stamp)) {
        // The later pieces of a segment that was cut have no stamp.
        if (tso_ && packet->data_len >= kPortsAt + kTcpBytes &&
            rte_pktmbuf_mtod(packet, const uint8_t*)[kIpAt + 9] == kTcp) {
            counts_.cut++;
            counts_.bytes += packet->pkt_len;
        } else {
            counts_.other++;
        }
        return;
    }
    if (stamp.run != run_ || stamp.device != peer_) {
        counts_.other++;
        return;
    }
    if (packet->pkt_len != frame_bytes_) counts_.cut++;
    counts_.packets++;
    counts_.bytes += packet->pkt_len;
    count_stamped(stamp.sequence);
    count_latency(stamp, now);
}

void FrameCounter::count_latency(const Stamp& stamp, uint64_t now) {
    if (now != 0) latency_.add((now - stamp.sent) & kClockMask);
}

void FrameCounter::count_stamped(uint64_t sequence) {
    uint64_t& seen = seen_[sequence % kSeenEntries];
    if (seen == sequence + 1) counts_.duplicated++;
    seen = sequence + 1;
    if (sequence + 1 < counts_.expected) counts_.reordered++;
    counts_.expected = std::max(counts_.expected, sequence + 1);
}

bool read_stamp(const rte_mbuf* packet, Stamp& stamp) {
    const uint8_t* data = rte_pktmbuf_mtod(packet, const uint8_t*);
    if (packet->data_len < kMinFrameBytes || get<uint16_t>(data + 12) != Be16(0x0800).raw() ||
        data[kIpAt] != 0x45)
        return false;
    const uint8_t protocol = data[kIpAt + 9];
    if (protocol != kUdp && protocol != kTcp) return false;
    const size_t at = kPortsAt + (protocol == kTcp ? kTcpBytes : kUdpBytes);
    if (packet->data_len < at + kStampBytes || get<uint32_t>(data + at) != kMagic) return false;
    stamp.run = get<uint16_t>(data + at + 4);
    stamp.device = get<uint16_t>(data + at + 6);
    stamp.sequence = get<uint64_t>(data + at + 8);
    stamp.sent = 0;
    std::memcpy(&stamp.sent, data + at + 16, kClockBytes);
    return true;
}

size_t write_arp_request(uint8_t* data, const Mac& mac, Ip4 own, Ip4 wanted) {
    constexpr size_t kBytes = 60;
    std::memset(data, 0, kBytes);
    std::memset(data, 0xff, 6);
    std::memcpy(data + 6, mac.bytes.data(), 6);
    put(data + 12, Be16(0x0806));
    put(data + 14, Be16(1));       // Ethernet
    put(data + 16, Be16(0x0800));  // IPv4
    data[18] = 6;
    data[19] = 4;
    put(data + 20, Be16(1));  // request
    std::memcpy(data + 22, mac.bytes.data(), 6);
    put(data + 28, own.value);
    put(data + 38, wanted.value);
    return kBytes;
}

bool read_arp_reply(const rte_mbuf* packet, Ip4 wanted, Mac& mac) {
    const uint8_t* data = rte_pktmbuf_mtod(packet, const uint8_t*);
    if (packet->data_len < 42 || get<uint16_t>(data + 12) != Be16(0x0806).raw() ||
        get<uint16_t>(data + 20) != Be16(2).raw() || get<uint32_t>(data + 28) != wanted.value.raw())
        return false;
    std::memcpy(mac.bytes.data(), data + 22, 6);
    return true;
}

}  // namespace slash32::pktgen
