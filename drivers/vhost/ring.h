// SPDX-License-Identifier: Apache-2.0
// The short way through a split virtqueue (virtio 1.2 section 2.7): packets that stand in one
// buffer each and ask for nothing, as nearly all do where they are many. It takes less than half of
// what librte_vhost's own way takes, which is for everything.
//
// The library speaks the protocol, and takes all other packets: chains, indirect tables, requests
// for offloads, packed rings, guests whose writes are logged for a migration. Either goes on where
// the other has stopped: the positions in the ring are the library's. A guest can stop both, but
// lead neither out of its own memory: a descriptor is read once, and then proved.
//
// Thread safety: workers take turns. The library's messages change what a ring lies on, and its
// locks are not to be had: whoever handles a message halts the ring before and opens it after, and
// waits for as long as a worker needs for a burst. A worker that waits for the library is no longer
// in the ring, so the two never wait for each other.
#pragma once

#include "dp/base/limits.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

struct rte_mbuf;
struct rte_mempool;

namespace slash32 {

// A guest's memory, where the library has mapped it.
class GuestMemory {
  public:
    // Empty, where the device has none.
    static GuestMemory of(int vid);

    // `bytes` bytes at a guest's physical address; nullptr: they are not all in one region.
    std::byte* at(uint64_t guest, uint64_t bytes) const {
        for (const Region& region : std::span(regions_).first(count_)) {
            const uint64_t offset = guest - region.guest;
            if (region.holds(offset, bytes)) return region.at + offset;
        }
        return nullptr;
    }
    // Whether so many bytes from here on are all in one region.
    bool holds(const void* first, uint64_t bytes) const;

  private:
    struct Region {
        uint64_t guest = 0;
        uint64_t bytes = 0;
        std::byte* at = nullptr;

        bool holds(uint64_t offset, uint64_t length) const {
            return offset < bytes && length <= bytes - offset;
        }
    };
    size_t count_ = 0;
    std::array<Region, 8> regions_;  // as many as the library takes
};

class alignas(kCacheLine) VhostRing {
  public:
    // Whoever handles messages. From here on no worker is in the ring.
    void halt();
    // Looks at what the ring lies on now. It stays halted where the short way is not for it.
    // REQUIRES: halted; the device runs.
    void open(int vid, uint16_t vring);

    // A worker's turn at the ring: the short way, then the library where that has left something.
    class Turn {
      public:
        explicit Turn(VhostRing& ring) : ring_(ring) { ring.enter(); }
        ~Turn() { ring_.state_.store(State::kFree, std::memory_order_release); }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

        // Takes up to `n` packets that the guest sends, in buffers of `pool`.
        uint16_t receive(rte_mempool* pool, rte_mbuf** packets, uint16_t n);
        // Copies up to `n` packets to the guest.
        uint16_t send(rte_mbuf* const* packets, uint16_t n);
        // Where that were fewer, whether the library has to look: the next one is none of the
        // plain, or the short way is closed. Else there is no more, or no more room.
        bool is_left() const { return left_; }

      private:
        VhostRing& ring_;
        bool left_ = true;
    };

  private:
    enum class State : uint8_t { kFree, kInside, kOutside };  // of a turn; kOutside: in the library
    struct Descriptor;
    struct Used;
    struct Buffer;

    void enter();
    template <typename Move>
    uint16_t pass(uint16_t n, bool& left, Move&& move);
    uint16_t take(rte_mempool* pool, rte_mbuf** packets, uint16_t n);
    uint16_t give(rte_mbuf* const* packets, uint16_t n);
    bool find(uint16_t nth, uint16_t flags, Buffer& buffer) const;

    std::atomic<State> state_{State::kFree};
    std::atomic<bool> halted_{true};
    bool has_events_ = false;  // the guest says at which entry it wants to be called
    bool is_fresh_ = false;    // the library has not looked since the ring was opened
    bool is_known_ = false;    // the library has not been there since next_ and used_ were set
    uint16_t next_ = 0;        // the entry to be taken next
    uint16_t used_ = 0;        // and to be given back
    uint16_t vring_ = 0;
    int vid_ = -1;
    uint16_t mask_ = 0;  // the ring's size, less one
    const Descriptor* descriptors_ = nullptr;
    const uint16_t* available_ = nullptr;  // flags, index, entries
    uint16_t* used_index_ = nullptr;
    Used* used_entries_ = nullptr;
    GuestMemory memory_;
};

}  // namespace slash32
