// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/sequence.h"

#include "dp/packet/headers.h"
#include "tests/support/lab.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

namespace slash32::test {
namespace {

constexpr uint16_t kServerPort = 80;

[[noreturn]] void stop(const std::string& why) {
    std::fprintf(stderr, "sequence: %s\n", why.c_str());
    std::abort();
}

uint32_t at(const std::vector<uint32_t>& values, size_t index, uint32_t otherwise) {
    return index < values.size() ? values[index] : otherwise;
}

uint8_t sctp_chunk(const std::string& name) {
    static const std::map<std::string, uint8_t> kChunks{{"data", 0},
                                                        {"init", 1},
                                                        {"init_ack", 2},
                                                        {"sack", 3},
                                                        {"heartbeat", 4},
                                                        {"heartbeat_ack", 5},
                                                        {"abort", 6},
                                                        {"shutdown", 7},
                                                        {"shutdown_ack", 8},
                                                        {"error", 9},
                                                        {"cookie_echo", 10},
                                                        {"cookie_ack", 11},
                                                        {"shutdown_complete", 14}};
    const auto found = kChunks.find(name);
    if (found == kChunks.end()) stop("no chunk " + name);
    return found->second;
}

Bytes from_hex(const std::string& text) {
    Bytes bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

}  // namespace

std::vector<Sequence> read_sequences(const std::string& path) {
    std::ifstream file{path};
    if (!file) stop("cannot read " + path);
    std::vector<Sequence> sequences;
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
        if (line.empty()) {
            inside = false;
        } else if (!inside) {
            if (line.rfind("# ", 0) != 0)
                stop(std::string(path).append(": a sequence without a name: ").append(line));
            sequences.push_back({.name = line.substr(2), .steps = {}});
            inside = true;
        } else {
            sequences.back().steps.push_back(line);
        }
    }
    return sequences;
}

Packet Connection::ip(bool forward, uint8_t protocol) const {
    Packet packet = eth(forward ? kVm1Mac : kVm2Mac, kGatewayMac);
    const char* const hosts4[] = {"10.0.0.1", "10.0.0.2"};
    const char* const hosts6[] = {"2001:db8::1", "2001:db8::2"};
    const auto& hosts = ipv6_ ? hosts6 : hosts4;
    Layer header = ipv6_ ? ip6(hosts[forward ? 0 : 1], hosts[forward ? 1 : 0])
                         : ip4(hosts[forward ? 0 : 1], hosts[forward ? 1 : 0]);
    if (protocol != 0) header.proto(protocol);
    return packet / std::move(header);
}

// RFC 792, RFC 4443 section 3.
Packet Connection::error(bool forward, const std::string& kind, const std::string& how) const {
    struct Code {
        uint8_t type4, code4, type6, code6;
        uint32_t rest;
    };
    static const std::map<std::string, Code> kKinds{
        {"unreachable", {3, 1, 1, 3, 0}},
        {"time_exceeded", {11, 0, 3, 0, 0}},
        {"too_big", {3, 4, 2, 0, 1400}},
    };
    const auto found = kKinds.find(kind);
    if (found == kKinds.end()) stop("no error " + kind);
    const Code& code = found->second;
    Bytes quoted = last_[forward ? 1 : 0];
    if (quoted.empty()) stop("an error about nothing");
    const size_t transport = ipv6_ ? 40 : 20;
    if (how == "forged") {
        // Both ports; the identifier of ICMP; the tag or the sequence number of others.
        for (const size_t offset : {1, 3, 4})
            ++quoted.at(transport + offset);
    }
    if (how == "cut") quoted.resize(transport + 4);
    Layer header =
        ipv6_ ? icmp6(code.type6, code.code6, code.rest) : icmp4(code.type4, code.code4, code.rest);
    return ip(forward, 0) / std::move(header) / raw(quoted);
}

Packet Connection::icmp(bool forward, uint8_t type, uint8_t code, const std::string& id) const {
    const auto identifier = static_cast<uint16_t>(client_port_ + std::stoul(id));
    const uint32_t rest = uint32_t{identifier} << 16 | 1;
    return ip(forward, 0) / (ipv6_ ? icmp6(type, code, rest) : icmp4(type, code, rest)) /
           raw(counting(20));
}

Packet Connection::packet(bool forward, const std::string& kind, const std::string& first,
                          const std::string& second) const {
    const uint16_t source = forward ? client_port_ : kServerPort;
    const uint16_t destination = forward ? kServerPort : client_port_;
    if (kind == "udp") return ip(forward, 0) / udp(source, destination) / raw(counting(20));
    if (kind == "echo") return icmp(forward, ipv6_ ? 128 : 8, 0, first);
    if (kind == "reply") return icmp(forward, ipv6_ ? 129 : 0, 0, first);
    if (kind == "icmp") {
        const size_t dot = first.find('.');
        return icmp(forward, static_cast<uint8_t>(std::stoul(first)),
                    static_cast<uint8_t>(std::stoul(first.substr(dot + 1))), second);
    }
    if (kind == "error") return error(forward, first, second);
    if (kind == "sctp") {
        const std::vector<uint32_t> values = numbers_of(second);
        const auto flags = static_cast<uint8_t>(at(values, 2, 0));
        return ip(forward, kProtoSctp) /
               raw(be16(source) + be16(destination) + be32(at(values, 0, 0)) + be32(0) +
                   Bytes{sctp_chunk(first), flags, 0, 20} + be32(at(values, 1, 0)) + be32(60000) +
                   be32(0x00010001) + be32(1));
    }
    if (kind == "ip") {
        const Bytes recorded = from_hex(first);
        const auto type = static_cast<uint16_t>(recorded.at(0) >> 4 == 6 ? 0x86dd : 0x0800);
        return Packet(eth(forward ? kVm1Mac : kVm2Mac, kGatewayMac, type)) / raw(recorded);
    }
    if (kind == "proto")
        return ip(forward, static_cast<uint8_t>(std::stoul(first))) / raw(counting(40));
    const auto segment = tcp_words(source, destination, kind, first);
    if (!segment) stop("what is " + kind + " " + first);
    return ip(forward, 0) / segment->header / raw(counting(segment->payload));
}

Bytes Connection::frame(const std::string& step) {
    std::istringstream words{step};
    std::string direction;
    std::string kind;
    std::string first;
    std::string second;
    words >> direction >> kind >> first >> second;
    if (direction != ">" && direction != "<") stop("no direction: " + step);
    const bool forward = direction == ">";
    const Packet made = packet(forward, kind, first, second);
    last_[forward ? 0 : 1] = made.payload();
    return made.bytes();
}

}  // namespace slash32::test
