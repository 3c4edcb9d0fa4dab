// SPDX-License-Identifier: Apache-2.0
// Packets for tests, written as layers: eth(vm1, gateway) / ip4("10.0.0.1", "10.0.0.2") / udp(1,
// 2).
//
// bytes() fills lengths, next protocols and checksums that a layer has not been told. The checksums
// are computed word by word, with no code shared with the data plane, so that a packet built here
// is an oracle for one that came out of the pipeline.
#pragma once

#include "dp/base/net.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slash32::test {

using Bytes = std::vector<uint8_t>;

Bytes operator+(Bytes a, const Bytes& b);
Bytes be16(uint16_t value);
Bytes be32(uint32_t value);
Bytes address(std::string_view text);  // of either family, aborts on nonsense
Bytes mac_bytes(const Mac& mac);
Mac mac(std::string_view text);
Bytes counting(size_t n);  // 0, 1, 2, ... 255, 0, ...

// RFC 1071 section 4.1, one 16-bit word after the other. Not complemented.
uint16_t naive_sum(const Bytes& data);

struct Layer {
    enum class Kind : uint8_t { kEther, kArp, kIpv4, kIpv6, kExtension, kTransport, kRaw };
    Kind kind = Kind::kRaw;
    Bytes header;
    uint8_t protocol = 0;       // by which the layer below names it
    size_t checksum_at = 0;     // of a transport: where its checksum stands
    bool pseudo_header = true;  // is it over one
    bool fill_length = true;
    bool fill_protocol = true;
    bool fill_checksum = true;
    bool partial_checksum = false;  // the sum of the pseudo-header, left for offload

    // Overwrites header bytes; what bytes() fills comes after it unless switched off.
    Layer& set(size_t offset, const Bytes& value);

    // IPv4 and IPv6.
    Layer& ttl(uint8_t value);
    Layer& proto(uint8_t value);    // names a next protocol that does not follow
    Layer& length(uint16_t value);  // also of UDP
    Layer& checksum(uint16_t value);
    Layer& partial();
    // IPv4.
    Layer& id(uint16_t value);
    Layer& df();
    Layer& fragment(uint16_t offset_bytes, bool more);
    Layer& tos(uint8_t value);
    // IPv6.
    Layer& traffic_class(uint8_t value);
    // TCP.
    Layer& flags(uint8_t value);
    Layer& seq(uint32_t value);
};

class Packet {
  public:
    Packet(Layer layer) : layers_{std::move(layer)} {}  // NOLINT: a packet of one layer
    friend Packet operator/(Packet packet, Layer next);
    Bytes bytes() const;
    // Without the first layer.
    Bytes payload() const;

  private:
    std::vector<Layer> layers_;
};
Packet operator/(Packet packet, Layer next);

Layer eth(const Mac& source, const Mac& destination, uint16_t type = 0);
Layer arp(uint16_t operation, const Mac& sender_mac, std::string_view sender_ip,
          const Mac& target_mac, std::string_view target_ip);
Layer ip4(std::string_view source, std::string_view destination, const Bytes& options = {});
Layer ip6(std::string_view source, std::string_view destination);
// A hop-by-hop (0) or destination options (60) header; padded with PadN to a multiple of 8.
Layer options6(uint8_t protocol, const Bytes& options = {});
Layer routing6(uint8_t type, uint8_t segments_left, const Bytes& data = be32(0));
// A segment routing header (RFC 8754 section 2); `list` as it stands there, the last segment first.
Layer srh(uint8_t segments_left, const std::vector<std::string>& list, const Bytes& tlvs = {});
Layer fragment6(uint16_t offset_bytes, bool more, uint32_t id = 0x11223344);
Layer extension6(uint8_t protocol, const Bytes& header);
Layer tcp(uint16_t source, uint16_t destination, const Bytes& options = {});
Layer udp(uint16_t source, uint16_t destination);

// A TCP segment in words. Flags: letters of FSRPAU, or "-"; "/7" behind them offers a window scale
// of 7. Numbers: seq[,ack[,payload[,window[,sack from,to]]]], where the window is 10000 unless
// given. Nothing where the flags are none.
struct TcpWords {
    Layer header;
    size_t payload = 0;  // bytes
};
std::optional<TcpWords> tcp_words(uint16_t source, uint16_t destination, const std::string& flags,
                                  const std::string& numbers);
// "1,2,3".
std::vector<uint32_t> numbers_of(const std::string& text);

Layer icmp4(uint8_t type, uint8_t code, uint32_t rest = 0);
Layer icmp6(uint8_t type, uint8_t code, uint32_t rest = 0);
Layer raw(const Bytes& data);

// RFC 4861 options and messages, as ICMPv6 payload.
Bytes link_layer_option(uint8_t type, const Mac& mac);

std::string hex(const Bytes& data);

}  // namespace slash32::test
