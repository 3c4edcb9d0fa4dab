// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/traffic.h"

#include "perf/pktgen/bytes.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace slash32::pktgen {

namespace {

constexpr uint32_t kMagic = 0x53333270;
constexpr size_t kEthernetBytes = 14;
constexpr size_t kIp4Bytes = 20;
constexpr size_t kIp6Bytes = 40;
constexpr size_t kUdpBytes = 8;
constexpr size_t kTcpBytes = 20;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kIpInIp = 4;
constexpr uint8_t kIpv6InIp = 41;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kSegmentRouting = 4;  // RFC 8754, section 2
constexpr uint32_t kFirstPort = 1024;
constexpr uint32_t kPortsPerGroup = 60000;
constexpr uint32_t kDestinationPort = 5000;
constexpr size_t kSeenEntries = 65536;
constexpr size_t kClockBytes = 6;  // the low ones of the TSC, as it lies in memory
constexpr uint64_t kClockMask = (uint64_t{1} << 48) - 1;

// Where the IP header lies that is not an encapsulation's.
size_t find_inner(const uint8_t* data, size_t bytes) {
    constexpr size_t kOuterEnd = kEthernetBytes + kIp6Bytes;
    if (bytes < kOuterEnd + 8 || get<uint16_t>(data + 12) != Be16(0x86dd).raw())
        return kEthernetBytes;
    uint8_t next = data[kEthernetBytes + 6];
    size_t at = kOuterEnd;
    if (next == kRouting) {
        next = data[at];
        at += (size_t{data[at + 1]} + 1) * 8;
    }
    return next == kIpInIp || next == kIpv6InIp ? at : kEthernetBytes;
}

}  // namespace

FlowTurn::FlowTurn(const Options& options)
    : destinations_(options.destinations),
      groups_((options.flows + options.destinations - 1) / options.destinations) {}

void FlowTurn::advance() {
    if (++destination_ < destinations_) return;
    destination_ = 0;
    if (++group_ == groups_) group_ = 0;
}

Be16 FlowTurn::asking_port() const {
    return Be16(static_cast<uint16_t>(kFirstPort + group_ % kPortsPerGroup));
}

Be16 FlowTurn::asked_port() const {
    return Be16(static_cast<uint16_t>(kDestinationPort + group_ / kPortsPerGroup));
}

FrameMaker::FrameMaker(const Options& options, const DeviceOptions& device, uint32_t index,
                       uint16_t run)
    : ipv6_(is_ipv6(options)),
      tso_(options.tso),
      answers_(options.two_way && index % 2 == 1),
      mss_(options.mss),
      encapsulates_(device.sid.has_value()),
      srh_(options.srh),
      ip_at_(kEthernetBytes + (encapsulates_ ? kEncapsulationBytes : 0) +
             (encapsulates_ && srh_ ? kSrhBytes : 0)),
      ip_bytes_(ipv6_ ? kIp6Bytes : kIp4Bytes),
      stamp_at_(ip_at_ + ip_bytes_ + (tso_ ? kTcpBytes : kUdpBytes)),
      flow_(options) {
    // Of its peer's flows, the destinations are the sources of the answers.
    const DeviceOptions& asking = answers_ ? options.devices[index - 1] : device;
    const auto& address = asking.destination_ip.bytes;
    first_varying_ = get<Be32>(address.data() + (ipv6_ ? 12 : 0)).to_host();
    std::vector<FrameSize> mix = options.mix;
    if (mix.empty()) mix.push_back({static_cast<uint16_t>(options.frame_bytes), 1});
    for (const FrameSize& size : mix) {
        const size_t bytes = tso_ ? options.frame_bytes : size.bytes;
        shapes_.push_back(make_shape(device, asking, static_cast<uint16_t>(index), run, bytes));
    }
    // Spread, so that a burst has of each size: always the one that is furthest behind its share.
    std::vector<unsigned> made(mix.size());
    unsigned weights = 0;
    for (const FrameSize& size : mix)
        weights += size.weight;
    while (order_.size() < weights) {
        size_t next = 0;
        for (size_t i = 1; i < mix.size(); ++i) {
            if ((made[i] + 1) * mix[next].weight < (made[next] + 1) * mix[i].weight) next = i;
        }
        ++made[next];
        order_.push_back(static_cast<uint8_t>(next));
    }
}

FrameMaker::Shape FrameMaker::make_shape(const DeviceOptions& device, const DeviceOptions& asking,
                                         uint16_t index, uint16_t run, size_t bytes) const {
    Shape shape;
    shape.bytes = bytes + ip_at_ - kEthernetBytes;
    uint8_t* t = shape.header.data();
    write_outer(device, bytes - kEthernetBytes, t);
    const size_t address_bytes = ipv6_ ? 16 : 4;
    const size_t source_at = ip_at_ + (ipv6_ ? 8 : 12);
    const size_t destination_at = source_at + address_bytes;
    const size_t l4_at = ip_at_ + ip_bytes_;
    const uint8_t protocol = tso_ ? kTcp : kUdp;
    const auto l4_bytes = static_cast<uint16_t>(bytes - kEthernetBytes - ip_bytes_);
    if (ipv6_) {
        t[ip_at_] = 0x60;
        put(t + ip_at_ + 4, Be16(l4_bytes));
        t[ip_at_ + 6] = protocol;
        t[ip_at_ + 7] = 64;
    } else {
        t[ip_at_] = 0x45;
        put(t + ip_at_ + 2, Be16(static_cast<uint16_t>(bytes - kEthernetBytes)));
        put(t + ip_at_ + 6, Be16(0x4000));  // don't fragment
        t[ip_at_ + 8] = 64;
        t[ip_at_ + 9] = protocol;
    }
    // All but the low word of the address that varies.
    const IpAddress& fixed = asking.source_ip;
    const IpAddress& varying = asking.destination_ip;
    std::memcpy(t + (answers_ ? destination_at : source_at), fixed.bytes.data(), address_bytes);
    std::memcpy(t + (answers_ ? source_at : destination_at), varying.bytes.data(),
                address_bytes - 4);
    shape.ip_sum = ipv6_ ? 0 : sum_words(t + ip_at_, kIp4Bytes);
    if (tso_) {
        t[l4_at + 12] = (kTcpBytes / 4) << 4;
        t[l4_at + 13] = 0x10;  // ACK
        put(t + l4_at + 14, Be16(0xffff));
    } else {
        put(t + l4_at + 4, Be16(l4_bytes));
    }
    put(t + stamp_at_, kMagic);
    put(t + stamp_at_ + 4, run);
    put(t + stamp_at_ + 6, index);
    // The pseudo-header, and of UDP over IPv6 everything else. TCP's is not inverted: what virtio
    // asks of an unfilled checksum.
    shape.l4_sum =
        sum_words(t + source_at, 2 * address_bytes) + Be16(protocol).raw() + Be16(l4_bytes).raw();
    if (ipv6_) shape.l4_sum += sum_words(t + l4_at, stamp_at_ + kStampBytes - l4_at);
    return shape;
}

void FrameMaker::write_outer(const DeviceOptions& device, size_t bytes, uint8_t* at) const {
    std::memcpy(at, device.destination_mac.bytes.data(), 6);
    std::memcpy(at + 6, device.source_mac.bytes.data(), 6);
    put(at + 12, ipv6_ || encapsulates_ ? Be16(0x86dd) : Be16(0x0800));
    if (!encapsulates_) return;
    const uint8_t inner = ipv6_ ? kIpv6InIp : kIpInIp;
    at += kEthernetBytes;
    put(at + 4, Be16(static_cast<uint16_t>(bytes + (srh_ ? kSrhBytes : 0))));
    at[6] = srh_ ? kRouting : inner;
    at[7] = 64;
    std::memcpy(at + 8, device.encapsulation_source.bytes.data(), 16);
    std::memcpy(at + 24, device.sid->bytes.data(), 16);
    if (!srh_) return;
    at += kEncapsulationBytes;
    at[0] = inner;
    at[1] = kSrhBytes / 8 - 1;
    at[2] = kSegmentRouting;
    // Segments left, last entry, flags and tag are 0: one segment, and it is the destination.
    std::memcpy(at + 8, device.sid->bytes.data(), 16);
}

void FrameMaker::set_destination_mac(const Mac& mac) {
    for (Shape& shape : shapes_)
        std::memcpy(shape.header.data(), mac.bytes.data(), 6);
}

size_t FrameMaker::fill(uint8_t* data, uint64_t sequence, uint64_t now) {
    const Shape& shape = shapes_[order_[turn_]];
    if (++turn_ == order_.size()) turn_ = 0;
    // A fixed size is a few vector moves; a frame's buffer is always larger.
    if (encapsulates_) {
        std::memcpy(data, shape.header.data(), kEncapsulatedRoom);
        put(data + kEthernetBytes, Be32(0x60000000 | (flow_.flow_label() & 0xfffff)));
    } else {
        std::memcpy(data, shape.header.data(), kHeaderRoom);
    }
    const size_t source_at = ip_at_ + (ipv6_ ? 20 : 12);  // low words
    const size_t destination_at = ip_at_ + (ipv6_ ? 36 : 16);
    const Be32 varying(first_varying_ + flow_.destination());
    put(data + (answers_ ? source_at : destination_at), varying);
    const uint32_t half_sum = (varying.raw() & 0xffff) + (varying.raw() >> 16);
    if (!ipv6_) put(data + ip_at_ + 10, static_cast<uint16_t>(~fold(shape.ip_sum + half_sum)));
    const Be16 asking = flow_.asking_port();
    const Be16 asked = flow_.asked_port();
    const size_t l4_at = ip_at_ + ip_bytes_;
    put(data + l4_at, answers_ ? asked : asking);
    put(data + l4_at + 2, answers_ ? asking : asked);
    put(data + stamp_at_ + 8, sequence);
    std::memcpy(data + stamp_at_ + 16, &now, kClockBytes);
    if (tso_) put(data + l4_at + 16, fold(shape.l4_sum + half_sum));
    if (ipv6_) {
        const uint32_t sum = shape.l4_sum + half_sum + asking.raw() + asked.raw() +
                             sum_words(data + stamp_at_ + 8, kStampBytes - 8);
        const auto checksum = static_cast<uint16_t>(~fold(sum));
        put(data + l4_at + 6, checksum != 0 ? checksum : uint16_t{0xffff});
    }
    flow_.advance();
    return shape.bytes;
}

void FrameMaker::describe(rte_mbuf* first) const {
    if (!tso_) return;
    first->l2_len = kEthernetBytes;
    first->l3_len = kIp4Bytes;
    first->l4_len = kTcpBytes;
    first->tso_segsz = mss_;
    first->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
}

FrameCounter::FrameCounter(const Options& options, uint16_t peer, uint16_t run)
    : tso_(options.tso),
      check_all_(options.check == Check::kAll || options.tso),
      sizes_(options.frame_bytes + kEncapsulationBytes + kSrhBytes + 1),
      peer_(peer),
      run_(run),
      seen_(check_all_ ? kSeenEntries : 0) {
    // The router adds and takes off encapsulations, too.
    std::vector<size_t> added = {0};
    if (has_srv6(options)) added = {0, kEncapsulationBytes, kEncapsulationBytes + kSrhBytes};
    for (const size_t outer : added) {
        if (options.mix.empty()) sizes_[options.frame_bytes + outer] = true;
        for (const FrameSize& size : options.mix)
            sizes_[size.bytes + outer] = true;
    }
}

void FrameCounter::count(rte_mbuf* const* packets, uint16_t n, uint64_t now) {
    if (check_all_) {
        for (uint16_t i = 0; i < n; i++)
            count_one(packets[i], now);
        return;
    }
    // Lengths tell the peer's frames from the router's own; one stamp a burst tells the losses.
    uint16_t ours = 0;
    uint64_t bytes = 0;
    const rte_mbuf* last = nullptr;
    for (uint16_t i = 0; i < n; i++) {
        const uint32_t length = packets[i]->pkt_len;
        if (length >= sizes_.size() || !sizes_[length]) continue;
        ours++;
        bytes += length;
        last = packets[i];
    }
    Stamp stamp;
    if (last != nullptr) {
        if (read_stamp(last, stamp) && stamp.run == run_ && stamp.device == peer_) {
            counts_.expected = std::max(counts_.expected, stamp.sequence + 1);
            count_latency(stamp, now);
        } else {
            ours = 0;  // a whole burst of strangers, such as an earlier run's
            bytes = 0;
        }
    }
    counts_.packets += ours;
    counts_.bytes += bytes;
    counts_.other += n - ours;
}

void FrameCounter::count_one(rte_mbuf* packet, uint64_t now) {
    Stamp stamp;
    if (!read_stamp(packet, stamp)) {
        // The later pieces of a segment that was cut have no stamp.
        const uint8_t* data = rte_pktmbuf_mtod(packet, const uint8_t*);
        const size_t ip_at = find_inner(data, packet->data_len);
        if (tso_ && packet->data_len >= ip_at + kIp4Bytes + kTcpBytes && data[ip_at] == 0x45 &&
            data[ip_at + 9] == kTcp) {
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
    if (packet->pkt_len >= sizes_.size() || !sizes_[packet->pkt_len]) counts_.cut++;
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
    const size_t ip_at = find_inner(data, packet->data_len);
    if (packet->data_len < ip_at + kMinFrameBytes - kEthernetBytes) return false;
    const uint8_t* ip = data + ip_at;
    const bool ipv6 = ip[0] >> 4 == 6;
    if (!ipv6 && ip[0] != 0x45) return false;
    const uint8_t protocol = ip[ipv6 ? 6 : 9];
    if (protocol != kUdp && protocol != kTcp) return false;
    const size_t at =
        ip_at + (ipv6 ? kIp6Bytes : kIp4Bytes) + (protocol == kTcp ? kTcpBytes : kUdpBytes);
    if (packet->data_len < at + kStampBytes || get<uint32_t>(data + at) != kMagic) return false;
    stamp.run = get<uint16_t>(data + at + 4);
    stamp.device = get<uint16_t>(data + at + 6);
    stamp.sequence = get<uint64_t>(data + at + 8);
    stamp.sent = 0;
    std::memcpy(&stamp.sent, data + at + 16, kClockBytes);
    return true;
}

namespace {

constexpr uint16_t kArpRequest = 1;
constexpr uint16_t kArpReply = 2;
constexpr size_t kArpEnd = kEthernetBytes + 28;

size_t write_arp(uint8_t* data, uint16_t operation, const Mac& sender, Ip4 sender_ip,
                 Ip4 target_ip) {
    constexpr size_t kBytes = 60;
    std::memset(data, 0, kBytes);
    std::memset(data, 0xff, 6);
    std::memcpy(data + 6, sender.bytes.data(), 6);
    put(data + 12, Be16(0x0806));
    put(data + 14, Be16(1));       // Ethernet
    put(data + 16, Be16(0x0800));  // IPv4
    data[18] = 6;
    data[19] = 4;
    put(data + 20, Be16(operation));
    std::memcpy(data + 22, sender.bytes.data(), 6);
    put(data + 28, sender_ip.value);
    put(data + 38, target_ip.value);
    return kBytes;
}

bool is_arp(const rte_mbuf* packet, uint16_t operation) {
    if (packet->data_len < kArpEnd) return false;
    const uint8_t* data = rte_pktmbuf_mtod(packet, const uint8_t*);
    return get<uint16_t>(data + 12) == Be16(0x0806).raw() &&
           get<uint16_t>(data + 20) == Be16(operation).raw();
}

}  // namespace

size_t write_arp_request(uint8_t* data, const Mac& mac, Ip4 own, Ip4 wanted) {
    return write_arp(data, kArpRequest, mac, own, wanted);
}

std::optional<ArpRequest> read_arp_request(const rte_mbuf* packet) {
    if (!is_arp(packet, kArpRequest)) return std::nullopt;
    const uint8_t* data = rte_pktmbuf_mtod(packet, const uint8_t*);
    ArpRequest request;
    std::memcpy(request.mac.bytes.data(), data + 22, 6);
    request.asker = get<Ip4>(data + 28);
    request.wanted = get<Ip4>(data + 38);
    return request;
}

size_t write_arp_reply(uint8_t* data, const Mac& mac, const ArpRequest& request) {
    const size_t bytes = write_arp(data, kArpReply, mac, request.wanted, request.asker);
    std::memcpy(data, request.mac.bytes.data(), 6);
    std::memcpy(data + 32, request.mac.bytes.data(), 6);
    return bytes;
}

bool read_arp_reply(const rte_mbuf* packet, Ip4 wanted, Mac& mac) {
    if (!is_arp(packet, kArpReply)) return false;
    const uint8_t* data = rte_pktmbuf_mtod(packet, const uint8_t*);
    if (get<uint32_t>(data + 28) != wanted.value.raw()) return false;
    std::memcpy(mac.bytes.data(), data + 22, 6);
    return true;
}

}  // namespace slash32::pktgen
