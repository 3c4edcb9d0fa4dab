// SPDX-License-Identifier: Apache-2.0
#include "tests/support/packet.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace slash32::test {
namespace {

constexpr uint8_t kNoNextHeader = 59;

uint8_t protocol_after(const std::vector<Layer>& layers, size_t i, bool ipv6) {
    if (i + 1 == layers.size()) return ipv6 ? kNoNextHeader : uint8_t{253};
    return layers[i + 1].kind == Layer::Kind::kRaw ? uint8_t{253} : layers[i + 1].protocol;
}

void put(Bytes& header, size_t offset, const Bytes& value) {
    if (offset + value.size() > header.size()) std::abort();
    std::copy(value.begin(), value.end(), header.begin() + static_cast<ptrdiff_t>(offset));
}

// The IP layer below layer i, for its pseudo-header.
Bytes pseudo_header(const std::vector<Layer>& layers, size_t i, uint8_t protocol, size_t length) {
    while (i-- > 0) {
        const Bytes& ip = layers[i].header;
        if (layers[i].kind == Layer::Kind::kIpv4) {
            return Bytes(ip.begin() + 12, ip.begin() + 20) + Bytes{0, protocol} +
                   be16(static_cast<uint16_t>(length));
        }
        if (layers[i].kind == Layer::Kind::kIpv6) {
            return Bytes(ip.begin() + 8, ip.begin() + 40) + be32(static_cast<uint32_t>(length)) +
                   Bytes{0, 0, 0, protocol};
        }
    }
    return {};
}

void finish_ether(const std::vector<Layer>& layers, size_t i, Bytes& header) {
    if (!layers[i].fill_protocol || i + 1 == layers.size()) return;
    switch (layers[i + 1].kind) {
        case Layer::Kind::kArp:
            return put(header, 12, be16(0x0806));
        case Layer::Kind::kIpv4:
            return put(header, 12, be16(0x0800));
        case Layer::Kind::kIpv6:
            return put(header, 12, be16(0x86dd));
        default:
            return;
    }
}

void finish_ipv4(const std::vector<Layer>& layers, size_t i, Bytes& header, size_t payload) {
    const Layer& layer = layers[i];
    if (layer.fill_protocol) header[9] = protocol_after(layers, i, false);
    if (layer.fill_length) put(header, 2, be16(static_cast<uint16_t>(header.size() + payload)));
    if (layer.fill_checksum) {
        put(header, 10, be16(0));
        put(header, 10, be16(static_cast<uint16_t>(~naive_sum(header))));
    }
}

void finish_ipv6(const std::vector<Layer>& layers, size_t i, Bytes& header, size_t payload) {
    const Layer& layer = layers[i];
    if (layer.fill_protocol) header[6] = protocol_after(layers, i, true);
    if (layer.fill_length) put(header, 4, be16(static_cast<uint16_t>(payload)));
}

void finish_transport(const std::vector<Layer>& layers, size_t i, Bytes& header,
                      const Bytes& payload) {
    const Layer& layer = layers[i];
    const size_t length = header.size() + payload.size();
    if (layer.protocol == 17 && layer.fill_length) {
        put(header, 4, be16(static_cast<uint16_t>(length)));
    }
    if (!layer.fill_checksum) return;
    put(header, layer.checksum_at, be16(0));
    const Bytes pseudo =
        layer.pseudo_header ? pseudo_header(layers, i, layer.protocol, length) : Bytes{};
    if (layer.partial_checksum) return put(header, layer.checksum_at, be16(naive_sum(pseudo)));
    auto sum = static_cast<uint16_t>(~naive_sum(pseudo + header + payload));
    if (layer.protocol == 17 && sum == 0) sum = 0xffff;
    put(header, layer.checksum_at, be16(sum));
}

Bytes padded_options(Bytes options) {
    while ((options.size() + 2) % 8 != 0) {
        const size_t gap = 8 - (options.size() + 2) % 8;
        if (gap == 1) {
            options.push_back(0);
        } else {
            options = options + Bytes{1, static_cast<uint8_t>(gap - 2)} + Bytes(gap - 2);
        }
    }
    return options;
}

}  // namespace

Bytes operator+(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}
Bytes be16(uint16_t value) {
    return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}
Bytes be32(uint32_t value) {
    return be16(static_cast<uint16_t>(value >> 16)) + be16(static_cast<uint16_t>(value));
}
Bytes address(std::string_view text) {
    const auto parsed = parse_ip(text);
    if (!parsed) std::abort();
    return Bytes(parsed->bytes.begin(), parsed->bytes.begin() + parsed->bits() / 8);
}
Bytes mac_bytes(const Mac& mac) {
    return Bytes(mac.bytes.begin(), mac.bytes.end());
}
Mac mac(std::string_view text) {
    const auto parsed = parse_mac(text);
    if (!parsed) std::abort();
    return *parsed;
}
Bytes counting(size_t n) {
    Bytes data(n);
    for (size_t i = 0; i < n; ++i)
        data[i] = static_cast<uint8_t>(i);
    return data;
}

uint16_t naive_sum(const Bytes& data) {
    uint32_t sum = 0;
    for (size_t i = 0; i < data.size(); i += 2) {
        const uint32_t low = i + 1 < data.size() ? data[i + 1] : 0;
        sum += static_cast<uint32_t>(data[i] << 8) | low;
        if (sum > 0xffff) sum = (sum & 0xffff) + 1;
    }
    return static_cast<uint16_t>(sum);
}

Layer& Layer::set(size_t offset, const Bytes& value) {
    put(header, offset, value);
    return *this;
}
Layer& Layer::ttl(uint8_t value) {
    return set(kind == Kind::kIpv4 ? 8 : 7, {value});
}
Layer& Layer::proto(uint8_t value) {
    fill_protocol = false;
    if (kind == Kind::kEther) std::abort();
    const size_t at = kind == Kind::kIpv4 ? 9 : kind == Kind::kIpv6 ? 6 : 0;
    return set(at, {value});
}
Layer& Layer::length(uint16_t value) {
    fill_length = false;
    return set(kind == Kind::kIpv4 ? 2 : 4, be16(value));
}
Layer& Layer::checksum(uint16_t value) {
    fill_checksum = false;
    return set(kind == Kind::kIpv4 ? 10 : checksum_at, be16(value));
}
Layer& Layer::partial() {
    partial_checksum = true;
    return *this;
}
Layer& Layer::id(uint16_t value) {
    return set(4, be16(value));
}
Layer& Layer::df() {
    header[6] |= 0x40;
    return *this;
}
Layer& Layer::fragment(uint16_t offset_bytes, bool more) {
    return set(6, be16(static_cast<uint16_t>(offset_bytes / 8 | (more ? 0x2000 : 0))));
}
Layer& Layer::tos(uint8_t value) {
    return set(1, {value});
}
Layer& Layer::traffic_class(uint8_t value) {
    return set(0, {static_cast<uint8_t>(0x60 | value >> 4), static_cast<uint8_t>(value << 4)});
}
Layer& Layer::flags(uint8_t value) {
    return set(13, {value});
}
Layer& Layer::seq(uint32_t value) {
    return set(4, be32(value));
}

Packet operator/(Packet packet, Layer next) {
    packet.layers_.push_back(std::move(next));
    return packet;
}

Bytes Packet::bytes() const {
    Bytes tail;
    for (size_t i = layers_.size(); i-- > 0;) {
        Bytes header = layers_[i].header;
        switch (layers_[i].kind) {
            case Layer::Kind::kEther:
                finish_ether(layers_, i, header);
                break;
            case Layer::Kind::kIpv4:
                finish_ipv4(layers_, i, header, tail.size());
                break;
            case Layer::Kind::kIpv6:
                finish_ipv6(layers_, i, header, tail.size());
                break;
            case Layer::Kind::kExtension:
                if (layers_[i].fill_protocol) header[0] = protocol_after(layers_, i, true);
                break;
            case Layer::Kind::kTransport:
                finish_transport(layers_, i, header, tail);
                break;
            case Layer::Kind::kArp:
            case Layer::Kind::kRaw:
                break;
        }
        tail = header + tail;
    }
    return tail;
}

Bytes Packet::payload() const {
    const Bytes all = bytes();
    return Bytes(all.begin() + static_cast<ptrdiff_t>(layers_.front().header.size()), all.end());
}

Layer eth(const Mac& source, const Mac& destination, uint16_t type) {
    Layer layer;
    layer.kind = Layer::Kind::kEther;
    layer.header = mac_bytes(destination) + mac_bytes(source) + be16(type);
    layer.fill_protocol = type == 0;
    return layer;
}

Layer arp(uint16_t operation, const Mac& sender_mac, std::string_view sender_ip,
          const Mac& target_mac, std::string_view target_ip) {
    Layer layer;
    layer.kind = Layer::Kind::kArp;
    layer.header = be16(1) + be16(0x0800) + Bytes{6, 4} + be16(operation) + mac_bytes(sender_mac) +
                   address(sender_ip) + mac_bytes(target_mac) + address(target_ip);
    return layer;
}

Layer ip4(std::string_view source, std::string_view destination, const Bytes& options) {
    Layer layer;
    layer.kind = Layer::Kind::kIpv4;
    layer.protocol = 4;
    const auto words = static_cast<uint8_t>(5 + options.size() / 4);
    layer.header = Bytes{static_cast<uint8_t>(0x40 | words), 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0} +
                   address(source) + address(destination) + options;
    return layer;
}

Layer ip6(std::string_view source, std::string_view destination) {
    Layer layer;
    layer.kind = Layer::Kind::kIpv6;
    layer.protocol = 41;
    layer.header = Bytes{0x60, 0, 0, 0, 0, 0, 0, 64} + address(source) + address(destination);
    return layer;
}

Layer extension6(uint8_t protocol, const Bytes& header) {
    Layer layer;
    layer.kind = Layer::Kind::kExtension;
    layer.protocol = protocol;
    layer.header = header;
    return layer;
}

Layer options6(uint8_t protocol, const Bytes& options) {
    const Bytes padded = padded_options(options);
    return extension6(protocol,
                      Bytes{0, static_cast<uint8_t>((padded.size() + 2) / 8 - 1)} + padded);
}

Layer routing6(uint8_t type, uint8_t segments_left, const Bytes& data) {
    return extension6(
        43, Bytes{0, static_cast<uint8_t>((data.size() + 4) / 8 - 1), type, segments_left} + data);
}

Layer srh(uint8_t segments_left, const std::vector<std::string>& list, const Bytes& tlvs) {
    Bytes data{static_cast<uint8_t>(list.size() - 1), 0, 0, 0};
    for (const std::string& segment : list)
        data = data + address(segment);
    return routing6(4, segments_left, data + tlvs);
}

Layer fragment6(uint16_t offset_bytes, bool more, uint32_t id) {
    return extension6(
        44, Bytes{0, 0} + be16(static_cast<uint16_t>(offset_bytes | (more ? 1 : 0))) + be32(id));
}

Layer tcp(uint16_t source, uint16_t destination, const Bytes& options) {
    Layer layer;
    layer.kind = Layer::Kind::kTransport;
    layer.protocol = 6;
    layer.checksum_at = 16;
    const auto offset = static_cast<uint8_t>((5 + options.size() / 4) << 4);
    layer.header = be16(source) + be16(destination) + be32(1000) + be32(2000) +
                   Bytes{offset, 0x10} + be16(512) + be16(0) + be16(0) + options;
    return layer;
}

std::vector<uint32_t> numbers_of(const std::string& text) {
    std::vector<uint32_t> values;
    std::istringstream list{text};
    for (std::string number; std::getline(list, number, ',');)
        values.push_back(static_cast<uint32_t>(std::stoul(number)));
    return values;
}

std::optional<TcpWords> tcp_words(uint16_t source, uint16_t destination, const std::string& flags,
                                  const std::string& numbers) {
    static const std::string kLetters = "FSRPAU";  // in the order of their bits
    const size_t slash = flags.find('/');
    const std::string letters = flags.substr(0, slash);
    uint8_t bits = 0;
    for (const char letter : letters == "-" ? std::string() : letters) {
        const size_t bit = kLetters.find(letter);
        if (bit == std::string::npos) return {};
        bits = static_cast<uint8_t>(bits | 1u << bit);
    }
    const std::vector<uint32_t> values = numbers_of(numbers);
    const auto value = [&](size_t index, uint32_t otherwise) {
        return index < values.size() ? values[index] : otherwise;
    };
    Bytes options;
    if (slash != std::string::npos)
        options = {1, 3, 3, static_cast<uint8_t>(std::stoul(flags.substr(slash + 1)))};
    if (values.size() > 5)
        options = options + Bytes{1, 1, 5, 10} + be32(values[4]) + be32(values[5]);
    Layer header = tcp(source, destination, options);
    header.flags(bits).seq(value(0, 0));
    header.set(8, be32(value(1, 0))).set(14, be16(static_cast<uint16_t>(value(3, 10000))));
    return TcpWords{.header = std::move(header), .payload = value(2, 0)};
}

Layer udp(uint16_t source, uint16_t destination) {
    Layer layer;
    layer.kind = Layer::Kind::kTransport;
    layer.protocol = 17;
    layer.checksum_at = 6;
    layer.header = be16(source) + be16(destination) + be32(0);
    return layer;
}

Layer icmp4(uint8_t type, uint8_t code, uint32_t rest) {
    Layer layer;
    layer.kind = Layer::Kind::kTransport;
    layer.protocol = 1;
    layer.checksum_at = 2;
    layer.pseudo_header = false;
    layer.header = Bytes{type, code, 0, 0} + be32(rest);
    return layer;
}

Layer icmp6(uint8_t type, uint8_t code, uint32_t rest) {
    Layer layer = icmp4(type, code, rest);
    layer.protocol = 58;
    layer.pseudo_header = true;
    return layer;
}

Layer raw(const Bytes& data) {
    Layer layer;
    layer.header = data;
    return layer;
}

Bytes link_layer_option(uint8_t type, const Mac& mac) {
    return Bytes{type, 1} + mac_bytes(mac);
}

std::string hex(const Bytes& data) {
    std::string text;
    char buffer[4];
    for (size_t i = 0; i < data.size(); ++i) {
        std::snprintf(buffer, sizeof buffer, "%02x%s", data[i], i % 16 == 15 ? "\n" : " ");
        text += buffer;
    }
    return text;
}

}  // namespace slash32::test
