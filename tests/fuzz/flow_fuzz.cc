// SPDX-License-Identifier: Apache-2.0
// Fuzzes the firewall by sequences: packets of a few connections and their fragments in any order,
// while policies, limits and time change. Every packet must leave exactly once (the Lab checks), no
// flow may outlive its flush, and no fragment its time.
//
// Input: a step is a byte that picks what is done, and the bytes that it takes.
#include "dp/packet/headers.h"
#include "tests/support/lab.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace slash32::test {
namespace {

class Reader {
  public:
    Reader(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
    bool more() const { return at_ != end_; }
    uint8_t byte() { return more() ? *at_++ : uint8_t{0}; }
    uint16_t word() {
        const uint8_t high = byte();
        return static_cast<uint16_t>(high << 8 | byte());
    }

  private:
    const uint8_t* at_;
    const uint8_t* end_;
};

enum Step : uint8_t {
    kTcpStep,
    kUdpStep,
    kIcmpStep,
    kErrorStep,
    kSctpStep,
    kFragmentStep,
    kOtherStep,
    kWaitStep,
    kPolicyStep,
    kLimitStep,
    kFlushStep,
    kSteps,
};

// Which way, which family, and which of four connections: the bits of one byte.
struct Where {
    explicit Where(uint8_t bits)
        : forward((bits & 1) != 0),
          ipv6((bits & 2) != 0),
          outside((bits & 4) != 0),
          port(static_cast<uint16_t>(4000 + (bits >> 4) % 4)) {}
    bool forward;
    bool ipv6;
    bool outside;  // the other end is beyond the uplink
    uint16_t port;

    PortId from() const { return forward ? kVm1 : outside ? kUplink : kVm2; }
    Packet ip(uint8_t protocol) const {
        Packet packet = forward   ? Packet(eth(kVm1Mac, kGatewayMac))
                        : outside ? Packet(eth(kNeighbourMac, kUplinkMac))
                                  : Packet(eth(kVm2Mac, kGatewayMac));
        const char* const client = ipv6 ? "2001:db8::1" : "10.0.0.1";
        const char* const server = outside ? (ipv6 ? "2001:db8:100::9" : "198.51.100.9")
                                           : (ipv6 ? "2001:db8::2" : "10.0.0.2");
        Layer header = ipv6 ? ip6(forward ? client : server, forward ? server : client)
                            : ip4(forward ? client : server, forward ? server : client);
        if (protocol != 0) header.proto(protocol);
        return packet / std::move(header);
    }
    uint16_t source() const { return forward ? port : uint16_t{80}; }
    uint16_t destination() const { return forward ? uint16_t{80} : port; }
};

class Run {
  public:
    Run(Lab& lab, Reader input) : lab_(lab), input_(input) {}

    void play() {
        restore();
        for (unsigned n = 0; input_.more() && n < 200; ++n)
            step();
        lab_.end_flows();
        lab_.advance_seconds(kFragmentSeconds + 1);
        if (lab_.flow_count() != 0) stop("a flow is left");
        if (lab_.context().fragments.waiting_buffers() != 0) stop("a fragment is left");
    }

  private:
    [[noreturn]] static void stop(const char* why) {
        std::fprintf(stderr, "%s\n", why);
        std::abort();
    }

    void restore() {
        FlowLimits& limits = lab_.flow_tables().limits;
        limits.tcp_loose = true;
        limits.tcp_liberal = false;
        limits.flows_per_port = kLabFlows;
        limits.half_open_per_port = kLabFlows;
        set_policy(kVm1, 0x0f);
        set_policy(kVm2, 0x0f);
    }
    // Bits: egress and ingress rules of IPv4 and IPv6, whether they are stateful, no policy at all.
    void set_policy(PortId id, uint8_t bits) {
        if ((bits & 0x80) != 0) return lab_.clear_policy(id);
        std::vector<PolicyRule> rules;
        for (const Family family : {Family::kIpv4, Family::kIpv6}) {
            const unsigned shift = family == Family::kIpv4 ? 0 : 2;
            if ((bits >> shift & 1) != 0) rules.push_back(any(PolicyDirection::kEgress, family));
            if ((bits >> shift & 2) != 0) rules.push_back(any(PolicyDirection::kIngress, family));
        }
        for (PolicyRule& rule : rules)
            rule.stateful = (bits & 0x40) == 0;
        lab_.set_policy(id, rules);
    }

    void send(const Where& where, const Bytes& frame) {
        lab_.run(where.from(), frame);
        constexpr size_t kEthernet = 14;
        last_[where.forward ? 0 : 1] = Bytes(frame.begin() + kEthernet, frame.end());
    }

    void step() {
        const uint8_t what = input_.byte() % kSteps;
        if (what >= kWaitStep) return change(what);
        const Where where(input_.byte());
        switch (what) {
            case kTcpStep:
                return send_tcp(where);
            case kUdpStep:
                return send(where, (where.ip(0) / udp(where.source(), where.destination()) /
                                    raw(counting(input_.byte())))
                                       .bytes());
            case kIcmpStep: {
                const uint8_t type = input_.byte();
                const uint8_t code = input_.byte();
                const uint32_t rest = uint32_t{where.port} << 16;
                Layer header = where.ipv6 ? icmp6(type, code, rest) : icmp4(type, code, rest);
                return send(where, (where.ip(0) / std::move(header) / raw(counting(40))).bytes());
            }
            case kErrorStep:
                return send_error(where);
            case kSctpStep: {
                const Bytes chunk{input_.byte(), input_.byte(), 0, 20};
                const Bytes tag{0, 0, 0, input_.byte()};
                const Bytes chosen{0, 0, 0, input_.byte()};
                return send(where, (where.ip(kProtoSctp) /
                                    raw(be16(where.source()) + be16(where.destination()) + tag +
                                        be32(0) + chunk + chosen + Bytes(12)))
                                       .bytes());
            }
            case kFragmentStep:
                return send_fragment(where);
            default: {
                const uint8_t protocol = input_.byte();
                return send(where, (where.ip(protocol) / raw(counting(input_.byte()))).bytes());
            }
        }
    }

    void send_tcp(const Where& where) {
        Bytes options;
        const uint8_t flags = input_.byte();
        if ((flags & 0x40) != 0) options = {1, 3, 3, input_.byte()};
        if ((flags & 0x80) != 0) {
            options = options + Bytes{1, 1, 5, 10} + be32(input_.word());
            options = options + be32(input_.word());
        }
        Layer segment = tcp(where.source(), where.destination(), options);
        segment.flags(flags & 0x3f).seq(input_.word());
        segment.set(8, be32(input_.word())).set(14, be16(input_.word()));
        send(where, (where.ip(0) / std::move(segment) / raw(counting(input_.byte()))).bytes());
    }

    void send_error(const Where& where) {
        Bytes quoted = last_[where.forward ? 1 : 0];
        const uint8_t cut = input_.byte();
        const uint8_t type = input_.byte();
        if (cut < quoted.size()) quoted.resize(cut);
        Layer header = where.ipv6 ? icmp6(type % 8, 0) : icmp4(type % 16, 0);
        send(where, (where.ip(0) / std::move(header) / raw(quoted)).bytes());
    }

    void send_fragment(const Where& where) {
        const uint8_t bits = input_.byte();
        const auto begin = static_cast<uint16_t>(8 * (input_.byte() % 16));
        const auto id = static_cast<uint16_t>(bits >> 4);
        const bool more = (bits & 1) != 0;
        Packet packet = eth(where.forward ? kVm1Mac : kVm2Mac, kGatewayMac);
        const bool ipv6 = where.ipv6;
        if (ipv6) {
            packet = packet /
                     ip6(where.forward ? "2001:db8::1" : "2001:db8::2",
                         where.forward ? "2001:db8::2" : "2001:db8::1") /
                     fragment6(begin, more, id);
        } else {
            packet = packet / ip4(where.forward ? "10.0.0.1" : "10.0.0.2",
                                  where.forward ? "10.0.0.2" : "10.0.0.1")
                                  .id(id)
                                  .fragment(begin, more)
                                  .proto(kProtoUdp);
        }
        const size_t length = 8u * (1 + input_.byte() % 8) + (more ? 0u : bits >> 1 & 7u);
        if (begin == 0)
            packet = packet / udp(where.source(), where.destination()).length(400).checksum(1);
        lab_.run(where.forward ? kVm1 : kVm2, (packet / raw(counting(length))).bytes());
    }

    void change(uint8_t what) {
        FlowLimits& limits = lab_.flow_tables().limits;
        const uint8_t value = input_.byte();
        switch (what) {
            case kWaitStep:
                return lab_.advance_seconds(value % 130);
            case kPolicyStep:
                return set_policy((value & 0x10) != 0 ? kVm1 : kVm2, value);
            case kLimitStep:
                limits.tcp_loose = (value & 1) != 0;
                limits.tcp_liberal = (value & 2) != 0;
                limits.flows_per_port = 1 + (value >> 2 & 7);
                limits.half_open_per_port = 1 + (value >> 5);
                return;
            default:
                return lab_.end_flows();
        }
    }

    Lab& lab_;
    Reader input_;
    Bytes last_[2];
};

}  // namespace
}  // namespace slash32::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static slash32::test::Lab lab;
    slash32::test::Run(lab, {data, size}).play();
    return 0;
}
