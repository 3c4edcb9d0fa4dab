// SPDX-License-Identifier: Apache-2.0
// The driver's side of one split virtqueue (virtio 1.1, section 2.6): the three areas in guest
// memory and the free-running indices over them.
//
// Not thread-safe on the driver's side; the device is another process, so what both touch goes
// through atomics: the available index is stored with release after its slots, the used index is
// loaded with acquire before its elements. The ring survives a backend that dies: the indices a new
// one starts at are in the memory itself.
#pragma once

#include "tests/frontend/guest_memory.h"
#include "tests/frontend/virtio.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace slash32::frontend {

class SplitRing {
  public:
    // Guest memory that a ring of this size takes, alignment included.
    static size_t bytes(uint16_t size);

    // REQUIRES: valid_ring_size(size).
    SplitRing(GuestMemory& memory, uint16_t size);

    uint16_t size() const { return size_; }
    // Both indices to zero, as a driver does when it resets the device.
    void reset();
    // Whether VIRTIO_RING_F_EVENT_IDX was negotiated.
    void set_event_index(bool on) { event_index_ = on; }

    // Appends a chain to the available ring; the device sees it after `publish`.
    void stage(uint16_t head);
    // Makes what was staged visible. Returns whether the device wants a kick.
    bool publish();

    struct Used {
        uint16_t head;
        uint32_t bytes;  // written by the device
    };
    // Elements that the device has returned and `pop_used` has not taken yet.
    uint16_t used_count() const;
    // REQUIRES: used_count() > ahead. False when the device returned what was not in flight.
    bool peek_used(uint16_t ahead, Used& used) const;
    void pop_used(uint16_t n);

    // Asks for a call when the device returns something. Returns true if it has already.
    bool enable_calls();
    void disable_calls();

    // Indices as they stand in memory.
    uint16_t available_index() const;
    uint16_t used_index() const;
    // Available to the device and not returned, by the indices in memory.
    uint16_t in_flight() const;
    uint64_t implausible() const { return implausible_; }

    uint64_t descriptors_user_address() const { return memory_->user_address(descriptors_at_); }
    uint64_t available_user_address() const { return memory_->user_address(available_at_); }
    uint64_t used_user_address() const { return memory_->user_address(used_at_); }

    Descriptor& descriptor(uint16_t i);
    // Raw access for hostile cases. The first appends any head at all, in step with our indices.
    void stage_unchecked(uint16_t head);
    void set_available_slot(uint16_t index, uint16_t head);
    void set_available_index(uint16_t index);
    void set_used_index(uint16_t index);

  private:
    uint16_t* available_word(size_t i) const;  // 0: flags, 1: index, 2..: slots, last: used event
    uint16_t* used_word(size_t i) const;       // 0: flags, 1: index
    uint16_t* available_event() const;

    GuestMemory* memory_;
    uint16_t size_;
    bool event_index_ = false;
    size_t descriptors_at_;
    size_t available_at_;
    size_t used_at_;
    uint16_t staged_ = 0;     // our available index, published or not
    uint16_t published_ = 0;  // what the device can see
    uint16_t last_used_ = 0;  // how far we have taken returned elements
    std::vector<bool> head_in_flight_;
    uint64_t implausible_ = 0;
};

}  // namespace slash32::frontend
