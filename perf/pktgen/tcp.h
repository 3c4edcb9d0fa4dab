// SPDX-License-Identifier: Apache-2.0
// TCP connections without data, opened and closed as RFC 9293 has it: SYN, SYN+ACK, ACK, FIN+ACK,
// FIN+ACK, ACK. Devices with an even number open them, their peers answer.
//
// Neither end keeps anything of a connection, so that their number costs nothing: what a segment
// carries says what comes next. The opening end's first sequence number is its clock, which comes
// back in every acknowledgement; the answering end's is one for the whole run. Nothing is sent
// again: a connection of which a packet is lost stays unfinished, and is counted so.
//
// Thread safety: none; each device has its own.
#pragma once

#include "perf/pktgen/histogram.h"
#include "perf/pktgen/options.h"
#include "perf/pktgen/traffic.h"

#include <array>
#include <cstdint>

namespace slash32::pktgen {

// With padding, that of Ethernet's smallest frame; IPv6 needs more.
inline constexpr size_t kTcpFrameBytes = 60;
inline constexpr size_t kTcpFrameBytes6 = 14 + 40 + 20;

// What one end saw of connections.
struct Connections {
    uint64_t begun = 0;   // a SYN was made (opening end)
    uint64_t opened = 0;  // SYN+ACK came (opening end)
    uint64_t closed = 0;  // the last ACK came (answering end)
    uint64_t reset = 0;   // RST came

    Connections& operator+=(const Connections& other);
    Connections operator-(const Connections& other) const;
};

class TcpEnd {
  public:
    // At most this many segments answer one.
    static constexpr unsigned kMaxAnswers = 2;

    TcpEnd(const Options& options, const DeviceOptions& device, bool opens, uint16_t run);

    void set_destination_mac(const Mac& mac);

    // Writes the SYN of the next flow and returns the frame's length. Buffers have room for
    // kTcpFrameBytes6. `now`: the TSC.
    size_t open(uint8_t* data, uint64_t now);

    // Takes a frame that came in and writes the segments that answer it to `answers`, of which the
    // first may be the frame's own buffer. Returns how many, all of frame_bytes().
    unsigned answer(const uint8_t* frame, size_t bytes, uint64_t now,
                    const std::array<uint8_t*, kMaxAnswers>& answers);

    size_t frame_bytes() const { return frame_bytes_; }
    const Connections& connections() const { return connections_; }
    const FrameCounter::Counts& counts() const { return counts_; }
    // From SYN to SYN+ACK, in cycles of the TSC, a connection.
    const Histogram& latency() const { return latency_; }
    Histogram& latency() { return latency_; }

  private:
    struct Segment;

    bool read(const uint8_t* frame, size_t bytes, Segment& segment) const;
    void write(const Segment& segment, uint8_t* data) const;
    unsigned answer_opening(const Segment& in, uint64_t now, Segment& out);
    unsigned answer_asked(const Segment& in, Segment& out);

    const bool ipv6_;
    const bool opens_;
    const uint32_t answering_isn_;
    const size_t frame_bytes_;
    std::array<uint8_t, 14 + 40> header_{};  // Ethernet and IP
    std::array<uint8_t, 16> own_address_{};
    std::array<uint8_t, 16> first_destination_{};
    uint32_t first_varying_ = 0;  // its low word, host order
    FlowTurn flow_;
    Connections connections_;
    FrameCounter::Counts counts_;
    Histogram latency_;
};

}  // namespace slash32::pktgen
