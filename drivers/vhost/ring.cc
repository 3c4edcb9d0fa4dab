// SPDX-License-Identifier: Apache-2.0
#include "drivers/vhost/ring.h"

#include "drivers/virtio_net.h"

#include <rte_mbuf.h>
#include <rte_memcpy.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
#include <rte_vhost.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace slash32 {

// As they stand in the guest's memory (virtio 1.2 sections 2.7.5 and 2.7.8).
struct VhostRing::Descriptor {
    uint64_t address;
    uint64_t rest;  // bytes (32), flags (16), next (16)
};
static_assert(std::endian::native == std::endian::little);
struct VhostRing::Used {
    uint32_t head;
    uint32_t bytes;  // written
};

// Of one packet, proved.
struct VhostRing::Buffer {
    std::byte* at;
    uint32_t bytes;
    uint16_t head;
};

namespace {

constexpr uint16_t kReadable = 0;  // flags of a descriptor that stands alone
constexpr uint16_t kWritable = 2;
constexpr uint16_t kNoCall = 1;  // a flag of the available ring

// Requests that are not for the short way.
constexpr uint64_t kOffloads =
    RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_IP_CKSUM;

// The header before each frame, in the long form.
struct NetHeader {
    VirtioNetHeader offloads;
    uint16_t buffers;
};
constexpr uint32_t kHeader = sizeof(NetHeader);
static_assert(kHeader == 12);
constexpr NetHeader kPlain{.offloads = {}, .buffers = 1};

template <typename T>
T load(const T* at, int order) {
    return __atomic_load_n(at, order);
}

}  // namespace

GuestMemory GuestMemory::of(int vid) {
    GuestMemory memory;
    rte_vhost_memory* table = nullptr;
    if (rte_vhost_get_mem_table(vid, &table) != 0) return memory;
    const std::unique_ptr<rte_vhost_memory, decltype(&std::free)> owner(table, std::free);
    if (table->nregions > memory.regions_.size()) return memory;
    for (const rte_vhost_mem_region& region : std::span(table->regions, table->nregions)) {
        memory.regions_[memory.count_++] = {region.guest_phys_addr, region.size,
                                            reinterpret_cast<std::byte*>(region.host_user_addr)};
    }
    return memory;
}

bool GuestMemory::holds(const void* first, uint64_t bytes) const {
    for (const Region& region : std::span(regions_).first(count_)) {
        const uint64_t offset =
            reinterpret_cast<uintptr_t>(first) - reinterpret_cast<uintptr_t>(region.at);
        if (region.holds(offset, bytes)) return true;
    }
    return false;
}

void VhostRing::halt() {
    halted_.store(true, std::memory_order_seq_cst);
    while (state_.load(std::memory_order_seq_cst) == State::kInside)
        rte_pause();
}

void VhostRing::open(int vid, uint16_t vring) {
    uint64_t features = 0;
    rte_vhost_vring ring{};
    if (rte_vhost_get_negotiated_features(vid, &features) != 0 ||
        rte_vhost_get_vhost_vring(vid, vring, &ring) != 0)
        return;
    constexpr uint64_t kForeign = kVirtioRingPacked | kVhostLogAll | kVirtioAccessPlatform;
    constexpr uint64_t kLongHeader = kVirtioMergeableBuffers | kVirtioVersion1;
    if ((features & kForeign) != 0 || (features & kLongHeader) == 0 || ring.desc == nullptr ||
        ring.avail == nullptr || ring.used == nullptr || !std::has_single_bit(ring.size))
        return;
    // Sizes and alignments of virtio 1.2 section 2.7. A frontend may have changed the size alone.
    memory_ = GuestMemory::of(vid);
    const auto is_part = [&](const void* part, uint64_t bytes, uintptr_t alignment) {
        return reinterpret_cast<uintptr_t>(part) % alignment == 0 && memory_.holds(part, bytes);
    };
    constexpr uint64_t kEnds = 6;  // flags and index before the entries, an event index after
    if (!is_part(ring.desc, sizeof(Descriptor) * ring.size, 16) ||
        !is_part(ring.avail, kEnds + sizeof(uint16_t) * ring.size, 2) ||
        !is_part(ring.used, kEnds + sizeof(Used) * ring.size, 4))
        return;
    vid_ = vid;
    vring_ = vring;
    has_events_ = (features & kVirtioEventIndex) != 0;
    mask_ = static_cast<uint16_t>(ring.size - 1);
    descriptors_ = reinterpret_cast<const Descriptor*>(ring.desc);
    available_ = reinterpret_cast<const uint16_t*>(ring.avail);
    used_index_ = reinterpret_cast<uint16_t*>(ring.used) + 1;
    used_entries_ = reinterpret_cast<Used*>(used_index_ + 1);
    is_fresh_ = true;  // it announces guests that have come, with packets of its own
    is_known_ = false;
    halted_.store(false, std::memory_order_seq_cst);
}

// Other workers send to the same ring where there are more of them than queues.
void VhostRing::enter() {
    State free = State::kFree;
    while (!state_.compare_exchange_weak(free, State::kInside, std::memory_order_seq_cst)) {
        free = State::kFree;
        rte_pause();
    }
}

template <typename Move>
uint16_t VhostRing::pass(uint16_t n, bool& left, Move&& move) {
    if (halted_.load(std::memory_order_seq_cst)) {
        state_.store(State::kOutside, std::memory_order_release);
        return 0;
    }
    const int vid = vid_;
    const uint16_t vring = vring_;
    if (!is_known_) rte_vhost_get_vring_base(vid, vring, &next_, &used_);
    const auto entries = static_cast<uint16_t>(load(&available_[1], __ATOMIC_ACQUIRE) - next_);
    // The guest polls it, so that the line is the guest's. The fence below waits for its coming.
    if (entries != 0) rte_prefetch0_write(used_index_);
    uint16_t moved = 0;
    bool call = false;
    // More than the ring has is a lie: by the library's refusal the queue is judged.
    if (entries != 0 && entries <= mask_ + 1u)
        moved = move(std::min({n, entries, static_cast<uint16_t>(kBurstSize)}));
    if (moved != 0) {
        next_ = static_cast<uint16_t>(next_ + moved);
        used_ = static_cast<uint16_t>(used_ + moved);
        __atomic_store_n(used_index_, used_, __ATOMIC_RELEASE);
        rte_vhost_set_vring_base(vid, vring, next_, used_);
        // Pairs with the guest's fence between asking for calls and looking for used entries.
        std::atomic_thread_fence(std::memory_order_seq_cst);
        call = has_events_ || (load(&available_[0], __ATOMIC_RELAXED) & kNoCall) == 0;
    }
    left = moved < n && (entries > moved || is_fresh_);
    is_fresh_ = is_fresh_ && !left;
    is_known_ = !left;
    state_.store(State::kOutside, std::memory_order_release);
    // Waits for the library's lock. It is the library that knows when it has called last.
    if (call) rte_vhost_vring_call(vid, vring);
    return moved;
}

uint16_t VhostRing::Turn::receive(rte_mempool* pool, rte_mbuf** packets, uint16_t n) {
    return ring_.pass(n, left_, [&](uint16_t most) { return ring_.take(pool, packets, most); });
}

uint16_t VhostRing::Turn::send(rte_mbuf* const* packets, uint16_t n) {
    return ring_.pass(n, left_, [&](uint16_t most) { return ring_.give(packets, most); });
}

// The nth of the packets that wait, if it stands in one buffer, with these flags.
bool VhostRing::find(uint16_t nth, uint16_t flags, Buffer& buffer) const {
    buffer.head = load(&available_[2 + ((next_ + nth) & mask_)], __ATOMIC_RELAXED);
    if (buffer.head > mask_) return false;
    const Descriptor& descriptor = descriptors_[buffer.head];
    const uint64_t rest = load(&descriptor.rest, __ATOMIC_RELAXED);
    buffer.bytes = static_cast<uint32_t>(rest);
    if (static_cast<uint16_t>(rest >> 32) != flags || buffer.bytes <= kHeader) return false;
    buffer.at = memory_.at(load(&descriptor.address, __ATOMIC_RELAXED), buffer.bytes);
    return buffer.at != nullptr;
}

uint16_t VhostRing::take(rte_mempool* pool, rte_mbuf** packets, uint16_t n) {
    std::array<Buffer, kBurstSize> buffers;
    uint16_t count = 0;
    for (; count < n && find(count, kReadable, buffers[count]); ++count) {
        rte_prefetch0(buffers[count].at);
        rte_prefetch0(buffers[count].at + kCacheLine);
    }
    if (count == 0 || rte_pktmbuf_alloc_bulk(pool, packets, count) != 0) return 0;
    uint16_t taken = 0;
    for (; taken < count; ++taken) {
        const Buffer& buffer = buffers[taken];
        rte_mbuf* packet = packets[taken];
        const uint32_t bytes = buffer.bytes - kHeader;
        uint16_t requests;  // flags and kind of segments, the header's first two bytes
        std::memcpy(&requests, buffer.at, sizeof requests);
        if (requests != 0 || bytes > rte_pktmbuf_tailroom(packet)) break;
        packet->pkt_len = bytes;
        packet->data_len = static_cast<uint16_t>(bytes);
        rte_memcpy(rte_pktmbuf_mtod(packet, void*), buffer.at + kHeader, bytes);
        used_entries_[(used_ + taken) & mask_] = {buffer.head, 0};
    }
    if (taken != count) rte_pktmbuf_free_bulk(packets + taken, count - taken);
    return taken;
}

uint16_t VhostRing::give(rte_mbuf* const* packets, uint16_t n) {
    std::array<Buffer, kBurstSize> buffers;
    uint16_t count = 0;
    // A guest's driver aligns the frame to lines, so that the header has one of its own before it.
    for (; count < n && find(count, kWritable, buffers[count]); ++count) {
        rte_prefetch0_write(buffers[count].at);
        rte_prefetch0_write(buffers[count].at + kCacheLine);
    }
    uint16_t given = 0;
    for (; given < count; ++given) {
        const Buffer& buffer = buffers[given];
        const rte_mbuf* packet = packets[given];
        const uint32_t bytes = kHeader + packet->data_len;
        if (packet->nb_segs != 1 || (packet->ol_flags & kOffloads) != 0 || bytes > buffer.bytes)
            break;
        std::memcpy(buffer.at, &kPlain, kHeader);
        rte_memcpy(buffer.at + kHeader, rte_pktmbuf_mtod(packet, const void*), packet->data_len);
        used_entries_[(used_ + given) & mask_] = {buffer.head, bytes};
    }
    return given;
}

}  // namespace slash32
