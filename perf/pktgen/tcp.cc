// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/tcp.h"

#include "perf/pktgen/bytes.h"

#include <cstring>

namespace slash32::pktgen {

namespace {

constexpr size_t kIpAt = 14;
constexpr size_t kTcpBytes = 20;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kAck = 0x10;
// The opening end's clock: 2^6 cycles a tick, over a minute until it comes round.
constexpr unsigned kClockShift = 6;

uint32_t clock_of(uint64_t now) {
    return static_cast<uint32_t>(now >> kClockShift);
}

}  // namespace

Connections& Connections::operator+=(const Connections& other) {
    begun += other.begun;
    opened += other.opened;
    closed += other.closed;
    reset += other.reset;
    return *this;
}

Connections Connections::operator-(const Connections& other) const {
    return {begun - other.begun, opened - other.opened, closed - other.closed, reset - other.reset};
}

// Of a TCP segment without options and data.
struct TcpEnd::Segment {
    std::array<uint8_t, 16> source{};  // IPv4 in the first four bytes
    std::array<uint8_t, 16> destination{};
    Be16 source_port;
    Be16 destination_port;
    uint32_t sequence = 0;
    uint32_t acknowledged = 0;
    uint8_t flags = 0;
};

TcpEnd::TcpEnd(const Options& options, const DeviceOptions& device, bool opens, uint16_t run)
    : ipv6_(is_ipv6(options)),
      opens_(opens),
      answering_isn_(uint32_t{run} << 16),
      frame_bytes_(ipv6_ ? kTcpFrameBytes6 : kTcpFrameBytes),
      own_address_(device.source_ip.bytes),
      first_destination_(device.destination_ip.bytes),
      first_varying_(get<Be32>(first_destination_.data() + (ipv6_ ? 12 : 0)).to_host()),
      flow_(options) {
    set_destination_mac(device.destination_mac);
    std::memcpy(header_.data() + 6, device.source_mac.bytes.data(), 6);
    uint8_t* ip = header_.data() + kIpAt;
    if (ipv6_) {
        put(header_.data() + 12, Be16(0x86dd));
        ip[0] = 0x60;
        put(ip + 4, Be16(kTcpBytes));
        ip[6] = kTcp;
        ip[7] = 64;
    } else {
        put(header_.data() + 12, Be16(0x0800));
        ip[0] = 0x45;
        put(ip + 2, Be16(20 + kTcpBytes));
        put(ip + 6, Be16(0x4000));  // don't fragment
        ip[8] = 64;
        ip[9] = kTcp;
    }
}

void TcpEnd::set_destination_mac(const Mac& mac) {
    std::memcpy(header_.data(), mac.bytes.data(), 6);
}

size_t TcpEnd::open(uint8_t* data, uint64_t now) {
    Segment syn{.source = own_address_,
                .destination = first_destination_,
                .source_port = flow_.asking_port(),
                .destination_port = flow_.asked_port(),
                .sequence = clock_of(now),
                .flags = kSyn};
    put(syn.destination.data() + (ipv6_ ? 12 : 0), Be32(first_varying_ + flow_.destination()));
    write(syn, data);
    flow_.advance();
    connections_.begun++;
    return frame_bytes_;
}

unsigned TcpEnd::answer(const uint8_t* frame, size_t bytes, uint64_t now,
                        const std::array<uint8_t*, kMaxAnswers>& answers) {
    Segment in;
    if (!read(frame, bytes, in)) {
        counts_.other++;
        return 0;
    }
    counts_.packets++;
    counts_.bytes += bytes;
    if ((in.flags & kRst) != 0) {
        connections_.reset++;
        return 0;
    }
    Segment out{.source = in.destination,
                .destination = in.source,
                .source_port = in.destination_port,
                .destination_port = in.source_port,
                .sequence = in.acknowledged,
                .acknowledged = in.sequence + 1,  // SYN and FIN count as one
                .flags = kAck};
    const unsigned n = opens_ ? answer_opening(in, now, out) : answer_asked(in, out);
    if (n != 0) write(out, answers[0]);
    if (n == 2) {
        out.flags = kFin | kAck;
        write(out, answers[1]);
    }
    return n;
}

// Of the opening end: the handshake's last ACK and the FIN after it, or the last ACK of all.
unsigned TcpEnd::answer_opening(const Segment& in, uint64_t now, Segment& out) {
    if (in.flags == (kSyn | kAck) && in.sequence == answering_isn_) {
        connections_.opened++;
        const uint32_t ticks = clock_of(now) - (in.acknowledged - 1);
        latency_.add(uint64_t{ticks} << kClockShift);
        return 2;
    }
    if (in.flags == (kFin | kAck) && in.sequence == answering_isn_ + 1) {
        out.acknowledged = in.sequence + 1;
        return 1;
    }
    counts_.other++;
    return 0;
}

// Of the answering end.
unsigned TcpEnd::answer_asked(const Segment& in, Segment& out) {
    if (in.flags == kSyn) {
        out.sequence = answering_isn_;
        out.flags = kSyn | kAck;
        return 1;
    }
    if (in.flags == (kFin | kAck) && in.acknowledged == answering_isn_ + 1) {
        out.flags = kFin | kAck;
        return 1;
    }
    if (in.flags == kAck && in.acknowledged == answering_isn_ + 2) connections_.closed++;
    return 0;
}

bool TcpEnd::read(const uint8_t* frame, size_t bytes, Segment& segment) const {
    const uint8_t* ip = frame + kIpAt;
    const size_t address_bytes = ipv6_ ? 16 : 4;
    const size_t tcp_at = kIpAt + (ipv6_ ? 40 : 20);
    if (bytes < tcp_at + kTcpBytes || get<uint16_t>(frame + 12) != get<uint16_t>(&header_[12]) ||
        (ipv6_ ? ip[0] >> 4 != 6 || ip[6] != kTcp : ip[0] != 0x45 || ip[9] != kTcp))
        return false;
    const uint8_t* addresses = ip + (ipv6_ ? 8 : 12);
    std::memcpy(segment.source.data(), addresses, address_bytes);
    std::memcpy(segment.destination.data(), addresses + address_bytes, address_bytes);
    const uint8_t* tcp = frame + tcp_at;
    segment.source_port = get<Be16>(tcp);
    segment.destination_port = get<Be16>(tcp + 2);
    segment.sequence = get<Be32>(tcp + 4).to_host();
    segment.acknowledged = get<Be32>(tcp + 8).to_host();
    segment.flags = tcp[13];
    return true;
}

void TcpEnd::write(const Segment& segment, uint8_t* data) const {
    const size_t ip_bytes = ipv6_ ? 40 : 20;
    const size_t address_bytes = ipv6_ ? 16 : 4;
    std::memset(data, 0, frame_bytes_);
    std::memcpy(data, header_.data(), kIpAt + ip_bytes);
    uint8_t* ip = data + kIpAt;
    uint8_t* addresses = ip + (ipv6_ ? 8 : 12);
    std::memcpy(addresses, segment.source.data(), address_bytes);
    std::memcpy(addresses + address_bytes, segment.destination.data(), address_bytes);
    if (!ipv6_) put(ip + 10, static_cast<uint16_t>(~fold(sum_words(ip, ip_bytes))));
    uint8_t* tcp = ip + ip_bytes;
    put(tcp, segment.source_port);
    put(tcp + 2, segment.destination_port);
    put(tcp + 4, Be32(segment.sequence));
    put(tcp + 8, Be32(segment.acknowledged));
    tcp[12] = (kTcpBytes / 4) << 4;
    tcp[13] = segment.flags;
    put(tcp + 14, Be16(0xffff));  // window
    const uint32_t sum = sum_words(addresses, 2 * address_bytes) + Be16(kTcp).raw() +
                         Be16(kTcpBytes).raw() + sum_words(tcp, kTcpBytes);
    put(tcp + 16, static_cast<uint16_t>(~fold(sum)));
}

}  // namespace slash32::pktgen
