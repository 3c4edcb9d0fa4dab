// SPDX-License-Identifier: Apache-2.0
// The two queues of a pair as a network driver uses them: buffers, chains and headers over a ring.
//
// Not thread-safe. Buffers are carved out once; a buffer belongs to the device from the moment its
// chain is published until the device returns it. Nothing here waits: a full transmit queue takes
// fewer frames, an empty receive queue gives none.
#pragma once

#include "tests/frontend/split_ring.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace slash32::frontend {

inline constexpr size_t kMaxFrameBytes = 65536 + 64;  // a full IP packet, Ethernet, VLAN tags

// What was negotiated, as far as queues care.
struct QueueMode {
    bool indirect = false;
    bool event_index = false;
    bool mergeable = false;
    bool separate_header = false;             // in a descriptor of its own, as old drivers do
    size_t header_bytes = sizeof(NetHeader);  // 10 without VERSION_1 and mergeable buffers
    size_t max_rx_frame_bytes = 1518;         // that a receive chain must hold if not mergeable
};

struct TxFrame {
    std::span<const uint8_t> data;
    NetHeader header{};
};

struct RxFrame {
    NetHeader header;
    std::span<const uint8_t> data;  // valid until the callback returns
};

class TxQueue {
  public:
    struct Geometry {
        uint16_t ring_size = 256;
        uint16_t segments = 256;
        size_t segment_bytes = 2048;
        size_t max_frame_bytes = kMaxFrameBytes;
    };
    static size_t bytes(const Geometry& g);
    TxQueue(GuestMemory& memory, const Geometry& geometry);

    // Starts from nothing: every buffer free, both indices zero.
    void reset(const QueueMode& mode);
    // Takes as many frames as there is room for, in order, and publishes them. `kick` is set when
    // the device wants one.
    size_t send(std::span<const TxFrame> frames, bool& kick);
    // Takes back what the device has finished with. `send` does so itself.
    void reclaim();

    SplitRing& ring() { return ring_; }
    const SplitRing& ring() const { return ring_; }
    // Memory offset of a buffer segment, for hostile cases.
    size_t segment_at(uint16_t i) const {
        return segments_at_ + size_t{i} * geometry_.segment_bytes;
    }
    size_t indirect_at(uint16_t head) const;
    uint16_t max_chain() const { return max_chain_; }

  private:
    bool send_one(const TxFrame& frame);

    GuestMemory* memory_;
    Geometry geometry_;
    uint16_t max_chain_;
    SplitRing ring_;
    size_t segments_at_;
    size_t indirect_at_;
    QueueMode mode_;
    struct Piece {
        uint16_t segment;
        uint32_t bytes;
    };
    struct Flight {
        std::vector<uint16_t> segments;
        std::vector<uint16_t> descriptors;
    };
    std::vector<uint16_t> free_segments_;
    std::vector<uint16_t> free_descriptors_;
    std::vector<Flight> flights_;  // by head
    std::vector<Piece> pieces_;    // of the frame being sent
};

class RxQueue {
  public:
    struct Geometry {
        uint16_t ring_size = 256;
        size_t buffer_bytes = 2048;
    };
    static size_t bytes(const Geometry& g);
    RxQueue(GuestMemory& memory, const Geometry& geometry);

    // Starts from nothing, and makes every buffer available. Fails (false) when no chain of the
    // ring's buffers can hold the largest frame.
    bool reset(const QueueMode& mode);
    // Hands up to `max` frames to the callback and their buffers back to the device. `kick` is set
    // when the device wants one. Returns how many.
    size_t receive(size_t max, const std::function<void(const RxFrame&)>& callback, bool& kick);

    SplitRing& ring() { return ring_; }
    const SplitRing& ring() const { return ring_; }
    // Frames that the device described wrongly: lengths or buffer counts that cannot be.
    uint64_t malformed() const { return malformed_; }
    size_t buffer_at(uint16_t i) const { return buffers_at_ + size_t{i} * geometry_.buffer_bytes; }

  private:
    void gather(uint16_t head, size_t bytes, size_t skip);

    GuestMemory* memory_;
    Geometry geometry_;
    SplitRing ring_;
    size_t buffers_at_;
    size_t indirect_at_;
    QueueMode mode_;
    uint16_t chain_ = 1;  // buffers of one available chain
    std::vector<uint8_t> scratch_;
    uint64_t malformed_ = 0;
};

}  // namespace slash32::frontend
