// SPDX-License-Identifier: Apache-2.0
#include "dp/base/net.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

namespace slash32 {
namespace {

// True when every bit of `bytes` at and after `length` is zero.
bool host_bits_are_zero(const std::array<uint8_t, 16>& bytes, uint8_t length, uint8_t bits) {
    for (unsigned bit = length; bit < bits; ++bit) {
        if ((bytes[bit / 8] & (0x80 >> (bit % 8))) != 0) return false;
    }
    return true;
}

}  // namespace

bool IpPrefix::contains(const IpAddress& other) const {
    if (other.family != address.family) return false;
    const unsigned whole = length / 8;
    if (std::memcmp(address.bytes.data(), other.bytes.data(), whole) != 0) return false;
    const unsigned rest = length % 8;
    if (rest == 0) return true;
    const auto mask = static_cast<uint8_t>(0xff00 >> rest);
    return ((address.bytes[whole] ^ other.bytes[whole]) & mask) == 0;
}

std::optional<Mac> parse_mac(std::string_view text) {
    if (text.size() != 17) return std::nullopt;
    Mac mac;
    for (size_t i = 0; i < 6; ++i) {
        const char* first = text.data() + i * 3;
        const auto [end, error] = std::from_chars(first, first + 2, mac.bytes[i], 16);
        if (error != std::errc{} || end != first + 2) return std::nullopt;
        if (i < 5 && first[2] != ':') return std::nullopt;
    }
    return mac;
}

std::optional<IpAddress> parse_ip(std::string_view text) {
    // inet_pton wants a terminated string; the longest address has 45 characters.
    char buffer[46];
    if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
    std::memcpy(buffer, text.data(), text.size());
    buffer[text.size()] = '\0';
    if (std::memchr(buffer, '\0', text.size()) != nullptr) return std::nullopt;
    if (Ip4 v4; inet_pton(AF_INET, buffer, &v4) == 1) return IpAddress(v4);
    if (Ip6 v6; inet_pton(AF_INET6, buffer, v6.bytes.data()) == 1) return IpAddress(v6);
    return std::nullopt;
}

std::optional<IpPrefix> parse_prefix(std::string_view text) {
    const size_t slash = text.find('/');
    const auto address = parse_ip(text.substr(0, slash));
    if (!address) return std::nullopt;
    IpPrefix prefix{*address, address->bits()};
    if (slash == std::string_view::npos) return prefix;
    const std::string_view digits = text.substr(slash + 1);
    const char* last = digits.data() + digits.size();
    const auto [end, error] = std::from_chars(digits.data(), last, prefix.length);
    if (error != std::errc{} || end != last || prefix.length > address->bits()) return std::nullopt;
    if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
    if (!host_bits_are_zero(address->bytes, prefix.length, address->bits())) return std::nullopt;
    return prefix;
}

std::string to_string(const Mac& mac) {
    return fmt::format("{:02x}", fmt::join(mac.bytes, ":"));
}

std::string to_string(const IpAddress& address) {
    char buffer[INET6_ADDRSTRLEN];
    const int family = address.is_ipv4() ? AF_INET : AF_INET6;
    inet_ntop(family, address.bytes.data(), buffer, sizeof buffer);
    return buffer;
}

std::string to_string(const IpPrefix& prefix) {
    return to_string(prefix.address) + '/' + std::to_string(prefix.length);
}

}  // namespace slash32
