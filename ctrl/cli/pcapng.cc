// SPDX-License-Identifier: Apache-2.0
#include "ctrl/cli/pcapng.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <cstring>

namespace slash32::cli {
namespace {

constexpr uint16_t kLinkEthernet = 1;
constexpr uint16_t kOptComment = 1;
constexpr uint16_t kIfName = 2;
constexpr uint16_t kIfTimeResolution = 9;
constexpr uint16_t kEpbFlags = 2;

// In the byte order of this machine; the section header's magic says which that is.
template <typename T>
void put(std::string& out, T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
}

void put_padded(std::string& out, std::string_view bytes) {
    out.append(bytes);
    out.append((4 - bytes.size() % 4) % 4, '\0');
}

void put_option(std::string& out, uint16_t code, std::string_view value) {
    put<uint16_t>(out, code);
    put<uint16_t>(out, static_cast<uint16_t>(value.size()));
    put_padded(out, value);
}

std::string block(uint32_t type, const std::string& body) {
    const auto length = static_cast<uint32_t>(body.size() + 12);
    std::string out;
    put<uint32_t>(out, type);
    put<uint32_t>(out, length);
    out += body;
    put<uint32_t>(out, length);
    return out;
}

// Reads of a packet: 0 beyond its end.
uint8_t byte_at(std::string_view packet, size_t at) {
    return at < packet.size() ? static_cast<uint8_t>(packet[at]) : 0;
}

unsigned short_at(std::string_view packet, size_t at) {
    return byte_at(packet, at) << 8U | byte_at(packet, at + 1);
}

std::string mac_at(std::string_view packet, size_t at) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", byte_at(packet, at),
                       byte_at(packet, at + 1), byte_at(packet, at + 2), byte_at(packet, at + 3),
                       byte_at(packet, at + 4), byte_at(packet, at + 5));
}

std::string address_at(std::string_view packet, size_t at, int family) {
    const size_t size = family == AF_INET ? 4 : 16;
    char text[INET6_ADDRSTRLEN] = "?";
    if (packet.size() >= at + size) inet_ntop(family, packet.data() + at, text, sizeof text);
    return text;
}

std::string transport_of(std::string_view packet, size_t at, unsigned protocol) {
    switch (protocol) {
        case IPPROTO_TCP:
        case IPPROTO_UDP:
            return fmt::format("{} {} > {}", protocol == IPPROTO_TCP ? "tcp" : "udp",
                               short_at(packet, at), short_at(packet, at + 2));
        case IPPROTO_ICMP:
        case IPPROTO_ICMPV6:
            return fmt::format("{} type {} code {}", protocol == IPPROTO_ICMP ? "icmp" : "icmpv6",
                               byte_at(packet, at), byte_at(packet, at + 1));
        default:
            return fmt::format("protocol {}", protocol);
    }
}

}  // namespace

std::string pcapng_header(std::string_view interface_name, uint32_t snap_bytes) {
    std::string section;
    put<uint32_t>(section, 0x1a2b3c4d);
    put<uint16_t>(section, 1);  // version 1.0
    put<uint16_t>(section, 0);
    put<int64_t>(section, -1);  // length unknown
    std::string interface;
    put<uint16_t>(interface, kLinkEthernet);
    put<uint16_t>(interface, 0);
    put<uint32_t>(interface, snap_bytes);
    put_option(interface, kIfName, interface_name);
    put_option(interface, kIfTimeResolution, "\x09");  // 10^-9 s
    put_option(interface, 0, "");
    return block(0x0a0d0d0a, section) + block(1, interface);
}

std::string pcapng_packet(const CapturedPacket& packet) {
    std::string body;
    put<uint32_t>(body, 0);  // the only interface
    put<uint32_t>(body, static_cast<uint32_t>(packet.time_ns >> 32));
    put<uint32_t>(body, static_cast<uint32_t>(packet.time_ns));
    put<uint32_t>(body, static_cast<uint32_t>(packet.data.size()));
    put<uint32_t>(body, packet.length);
    put_padded(body, packet.data);
    std::string flags;
    put<uint32_t>(flags, packet.inbound ? 1 : 2);
    put_option(body, kEpbFlags, flags);
    if (!packet.reason.empty()) put_option(body, kOptComment, "dropped: " + packet.reason);
    put_option(body, 0, "");
    return block(6, body);
}

std::optional<std::string> decode_base64(std::string_view text) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static constexpr auto kValues = [] {
        std::array<int8_t, 256> values{};
        values.fill(-1);
        for (size_t i = 0; i < kDigits.size(); ++i) {
            values[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
        }
        return values;
    }();
    if (text.size() % 4 != 0) return std::nullopt;
    while (text.ends_with('=') && text.size() % 4 != 2)
        text.remove_suffix(1);
    std::string out;
    out.reserve(text.size() * 3 / 4);
    uint32_t bits = 0;
    int count = 0;
    for (const char digit : text) {
        const int8_t value = kValues[static_cast<unsigned char>(digit)];
        if (value < 0) return std::nullopt;
        bits = bits << 6 | static_cast<uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.push_back(static_cast<char>(bits >> count & 0xff));
        }
    }
    return out;
}

std::string summary_of(std::string_view packet) {
    const unsigned type = short_at(packet, 12);
    std::string out = fmt::format("{} > {} ", mac_at(packet, 6), mac_at(packet, 0));
    if (type == 0x0806) {
        const unsigned operation = short_at(packet, 20);
        const char* what = operation == 1 ? "request" : operation == 2 ? "reply" : "?";
        return out + fmt::format("ARP {} {} > {}", what, address_at(packet, 28, AF_INET),
                                 address_at(packet, 38, AF_INET));
    }
    if (type == 0x0800) {
        const size_t payload = 14 + (byte_at(packet, 14) & 0xfU) * 4;
        return out + fmt::format("IPv4 {} > {} {}", address_at(packet, 26, AF_INET),
                                 address_at(packet, 30, AF_INET),
                                 transport_of(packet, payload, byte_at(packet, 23)));
    }
    if (type == 0x86dd) {
        return out + fmt::format("IPv6 {} > {} {}", address_at(packet, 22, AF_INET6),
                                 address_at(packet, 38, AF_INET6),
                                 transport_of(packet, 54, byte_at(packet, 20)));
    }
    return out + fmt::format("type 0x{:04x}", type);
}

}  // namespace slash32::cli
