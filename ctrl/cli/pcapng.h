// SPDX-License-Identifier: Apache-2.0
// pcapng as tcpdump and Wireshark read it (draft-ietf-opsawg-pcapng): one section, one Ethernet
// interface with nanosecond times, an enhanced packet block a packet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slash32::cli {

struct CapturedPacket {
    uint64_t time_ns = 0;  // since 1970
    uint32_t length = 0;   // on the wire
    bool inbound = true;   // epb_flags
    std::string reason;    // of a drop: becomes the packet's comment
    std::string data;      // what was captured, beginning with the Ethernet header
};

// Section header and interface description.
std::string pcapng_header(std::string_view interface_name, uint32_t snap_bytes);
std::string pcapng_packet(const CapturedPacket& packet);

// RFC 4648 section 4, padded; std::nullopt when it is not that.
std::optional<std::string> decode_base64(std::string_view text);

// One line about a packet: "52:54:00:00:00:01 > ... IPv4 10.0.0.1 > 10.0.0.2 tcp 80 > 4000".
std::string summary_of(std::string_view packet);

}  // namespace slash32::cli
