// SPDX-License-Identifier: Apache-2.0
// Sequences of packets of one connection, written as text. A line is a packet; `>` goes from the
// client, vm1 of the Lab, to the server, vm2, and `<` the other way.
//
//   > S 0                 TCP, as tcp_words() reads it
//   > udp
//   > echo 1              ICMP or ICMPv6 echo with this identifier, and its
//   < reply 1             answer
//   > icmp 13.0 1         any type and code, of the packet's family, with an identifier
//   < error unreachable   quotes the last packet that went the other way; also time_exceeded,
//                         too_big; behind it "forged" (other ports) or "cut" (4 bytes of transport)
//   > sctp init 0,11      chunk, verification tag[,initiate tag[,flags]]
//   > proto 50            a payload of this IP protocol
//   > ip 4500...          an IP packet as it was recorded, in hexadecimal
#pragma once

#include "tests/support/packet.h"

#include <string>
#include <vector>

namespace slash32::test {

struct Sequence {
    std::string name;
    std::vector<std::string> steps;
    // Recorded packets are of the family that they are of.
    bool is_recorded() const { return !steps.empty() && steps[0].compare(1, 4, " ip ") == 0; }
};

// Blocks between empty lines; the first line of each is "# NAME". Aborts on anything else.
std::vector<Sequence> read_sequences(const std::string& path);

// Turns the steps of one connection into frames.
class Connection {
  public:
    // `client_port`, also in the ICMP identifiers, keeps connections apart.
    Connection(bool ipv6, uint16_t client_port) : ipv6_(ipv6), client_port_(client_port) {}
    // The Ethernet frame. Aborts where the step is none.
    Bytes frame(const std::string& step);
    static bool is_forward(const std::string& step) { return step.at(0) == '>'; }

  private:
    Packet packet(bool forward, const std::string& kind, const std::string& first,
                  const std::string& second) const;
    Packet ip(bool forward, uint8_t protocol) const;
    Packet icmp(bool forward, uint8_t type, uint8_t code, const std::string& id) const;
    Packet error(bool forward, const std::string& kind, const std::string& how) const;

    bool ipv6_;
    uint16_t client_port_;
    Bytes last_[2];  // IP packets, by direction
};

}  // namespace slash32::test
