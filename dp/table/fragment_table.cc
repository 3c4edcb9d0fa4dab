// SPDX-License-Identifier: Apache-2.0
#include "dp/table/fragment_table.h"

#include "dp/base/assert.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <utility>

namespace slash32 {
namespace {

// Uplinks bring the packets of many machines.
size_t share_of(const PortConfig& port, size_t all, size_t per_port) {
    return port.kind == PortKind::kUplink ? all / 2 : per_port;
}

}  // namespace

FragmentTable::~FragmentTable() {
    for (uint16_t index = by_age_.oldest; index != 0; index = by_age_.oldest)
        remove(index, DropReason::kFragmentTimeout);
    for (const Queue& queue : {released_, refused_}) {
        for (uint16_t slot = queue.first; slot != 0; slot = waiting_[slot].next)
            rte_pktmbuf_free(waiting_[slot].packet);
    }
}

bool FragmentTable::open(const FlowSeed& seed, uint64_t timeout) {
    seed_ = seed;
    timeout_ = timeout;
    buckets_ = PageArray<uint16_t>(kBuckets);
    waiting_ = PageArray<Waiting>(kMaxWaitingBuffers + 1);
    shares_ = PageArray<Share>(kMaxPorts);
    if (buckets_.empty() || waiting_.empty() || shares_.empty()) return false;
    entries_ = PageArray<Entry>(kMaxFragmented + 1);
    return enabled();
}

void FragmentTable::first(const FragmentIn& in, const FragmentHead& head, uint64_t now) {
    uint16_t index = find(in.key);
    if (index == 0) index = make(in, now);
    Entry& entry = entries_[index];
    entry.head = head;
    entry.has_head = true;
    entry.spoiled = false;
    entry.total = 0;
    entry.range_count = 1;
    entry.ranges[0] = {in.part.begin, in.part.end};
    for (uint16_t slot = std::exchange(entry.waiting, 0); slot != 0;) {
        const uint16_t next = waiting_[slot].next;
        append(released_, slot);
        slot = next;
    }
}

FragmentTable::Later FragmentTable::later(const FragmentIn& in, FragmentHead& head, DropReason& why,
                                          uint64_t now) {
    uint16_t index = find(in.key);
    if (index == 0) index = make(in, now);
    Entry& entry = entries_[index];
    if (!entry.has_head) return wait(index, in, why);
    if (!pass(entry, in.part, why)) return Later::kRefused;
    head = entry.head;
    // The whole packet has passed: whatever has its id now is another one.
    if (entry.total != 0 && entry.range_count == 1 && entry.ranges[0].end == entry.total)
        remove(index, DropReason::kFragmentDuplicate);
    return Later::kPasses;
}

// Notes that the part passes, unless another that has passed stands in its way.
bool FragmentTable::pass(Entry& entry, const FragmentPart& part, DropReason& why) {
    Range* const begin = entry.ranges.data();
    Range* const end = begin + entry.range_count;
    // The first range that does not end before the part.
    Range* at = std::find_if(begin, end, [&](const Range& r) { return r.end >= part.begin; });
    if (at != end && at->begin <= part.begin && part.end <= at->end) {
        why = DropReason::kFragmentDuplicate;
        return false;
    }
    const bool overlaps = std::any_of(
        at, end, [&](const Range& r) { return r.begin < part.end && part.begin < r.end; });
    const bool beyond = part.last ? entry.total != 0 || end[-1].end > part.end
                                  : entry.total != 0 && part.end > entry.total;
    if (entry.spoiled || overlaps || beyond) {
        entry.spoiled = true;
        why = DropReason::kFragmentOverlap;
        return false;
    }
    const bool joins_left = at != end && at->end == part.begin;
    Range* const right = joins_left ? at + 1 : at;
    const bool joins_right = right != end && right->begin == part.end;
    if (joins_left && joins_right) {
        at->end = right->end;
        std::copy(right + 1, end, right);
        --entry.range_count;
    } else if (joins_left) {
        at->end = part.end;
    } else if (joins_right) {
        right->begin = part.begin;
    } else {
        if (entry.range_count == kRanges) {
            why = DropReason::kFragmentLimit;
            return false;
        }
        std::copy_backward(at, end, end + 1);
        *at = {part.begin, part.end};
        ++entry.range_count;
    }
    if (part.last) entry.total = part.end;
    return true;
}

// Those that wait stand in the order of their place, so that they leave few gaps when they pass.
FragmentTable::Later FragmentTable::wait(uint16_t index, const FragmentIn& in, DropReason& why) {
    Share& share = shares_[in.port.id.value()];
    const size_t buffers = in.packet->nb_segs;
    if (share.buffers + buffers >
            share_of(in.port, kMaxWaitingBuffers, kMaxWaitingBuffersPerPort) ||
        buffers_ + buffers > kMaxWaitingBuffers) {
        why = DropReason::kFragmentLimit;
        return Later::kRefused;
    }
    uint16_t* link = &entries_[index].waiting;
    while (*link != 0 && waiting_[*link].part.begin < in.part.begin)
        link = &waiting_[*link].next;
    if (*link != 0 && waiting_[*link].part.begin == in.part.begin &&
        waiting_[*link].part.end == in.part.end) {
        why = DropReason::kFragmentDuplicate;
        return Later::kRefused;
    }
    uint16_t slot = free_waiting_;
    if (slot != 0)
        free_waiting_ = waiting_[slot].next;
    else
        slot = ++used_waiting_;
    waiting_[slot] = {.packet = in.packet,
                      .meta = in.meta,
                      .part = in.part,
                      .port = in.port.id,
                      .vrf = in.key.vrf(),
                      .why = {},
                      .next = *link};
    *link = slot;
    ++share.parts;
    share.buffers = static_cast<uint16_t>(share.buffers + buffers);
    buffers_ += static_cast<uint32_t>(buffers);
    return Later::kWaits;
}

uint16_t FragmentTable::find(const FlowKey& key) const {
    uint16_t index = buckets_[hash_key(key, seed_) & (kBuckets - 1)];
    while (index != 0 && entries_[index].key != key)
        index = entries_[index].chain;
    return index;
}

uint16_t FragmentTable::make(const FragmentIn& in, uint64_t now) {
    Share& share = shares_[in.port.id.value()];
    if (share.packets >= share_of(in.port, kMaxFragmented, kMaxFragmentedPerPort))
        remove(share.by_age.oldest, DropReason::kFragmentLimit);
    if (free_entry_ == 0 && used_entries_ == kMaxFragmented)
        remove(by_age_.oldest, DropReason::kFragmentLimit);
    uint16_t index = free_entry_;
    if (index != 0)
        free_entry_ = entries_[index].chain;
    else
        index = ++used_entries_;
    Entry& entry = entries_[index];
    entry = Entry{};
    entry.key = in.key;
    entry.deadline = now + timeout_;
    entry.port = in.port.id;
    uint16_t& head = bucket(in.key);
    entry.chain = head;
    head = index;
    append(by_age_, &Entry::age, index);
    append(share.by_age, &Entry::port_age, index);
    ++share.packets;
    return index;
}

// What waits for its first part is refused for the reason.
void FragmentTable::remove(uint16_t index, DropReason why) {
    Entry& entry = entries_[index];
    for (uint16_t slot = std::exchange(entry.waiting, 0); slot != 0;) {
        const uint16_t next = waiting_[slot].next;
        refuse(slot, why);
        slot = next;
    }
    uint16_t* link = &bucket(entry.key);
    while (*link != index)
        link = &entries_[*link].chain;
    *link = entry.chain;
    Share& share = shares_[entry.port.value()];
    unlink(by_age_, &Entry::age, index);
    unlink(share.by_age, &Entry::port_age, index);
    --share.packets;
    entry.chain = free_entry_;
    free_entry_ = index;
}

void FragmentTable::refuse(uint16_t slot, DropReason why) {
    waiting_[slot].why = why;
    append(refused_, slot);
}

void FragmentTable::expire_some(uint64_t now) {
    for (unsigned n = 0; n < kExpiredAtOnce; ++n) {
        const uint16_t oldest = by_age_.oldest;
        if (oldest == 0 || entries_[oldest].deadline > now) return;
        remove(oldest, DropReason::kFragmentTimeout);
    }
}

void FragmentTable::forget(PortId port) {
    if (!enabled()) return;
    const Share& share = shares_[port.value()];
    if (share.packets == 0 && share.parts == 0) return;
    for (uint16_t index = by_age_.oldest, newer = 0; index != 0; index = newer) {
        newer = entries_[index].age.newer;
        if (entries_[index].port == port)
            remove(index, DropReason::kPortGone);
        else
            refuse_waiting(entries_[index], port);
    }
}

// Where a packet's parts come by several uplinks, some may wait of one that goes.
void FragmentTable::refuse_waiting(Entry& entry, PortId port) {
    for (uint16_t* link = &entry.waiting; *link != 0;) {
        const uint16_t slot = *link;
        if (waiting_[slot].port != port) {
            link = &waiting_[slot].next;
            continue;
        }
        *link = waiting_[slot].next;
        refuse(slot, DropReason::kPortGone);
    }
}

PortId FragmentTable::take_released(Burst& burst) {
    if (released_.first == 0) return kNoPort;
    const PortId port = waiting_[released_.first].port;
    for (unsigned i = 0; i < kBurstSize; ++i) {
        const uint16_t slot = released_.first;
        if (slot == 0 || waiting_[slot].port != port) break;
        const uint32_t bit = 1u << i;
        burst.packets[i] = waiting_[slot].packet;
        burst.meta[i] = waiting_[slot].meta;
        burst.vrfs[i] = waiting_[slot].vrf;
        burst.live |= bit;
        (burst.meta[i].kind == PacketKind::kIpv4 ? burst.ipv4 : burst.ipv6) |= bit;
        if (burst.packets[i]->nb_segs > 1) burst.offload |= bit;
        released_.first = waiting_[slot].next;
        unwait(slot);
    }
    burst.fragments = burst.live;
    return port;
}

rte_mbuf* FragmentTable::take_refused(PortId& port, DropReason& why) {
    const uint16_t slot = refused_.first;
    if (slot == 0) return nullptr;
    port = waiting_[slot].port;
    why = waiting_[slot].why;
    rte_mbuf* packet = waiting_[slot].packet;
    refused_.first = waiting_[slot].next;
    unwait(slot);
    return packet;
}

void FragmentTable::unwait(uint16_t slot) {
    Waiting& waiting = waiting_[slot];
    const uint16_t buffers = waiting.packet->nb_segs;
    Share& share = shares_[waiting.port.value()];
    --share.parts;
    share.buffers = static_cast<uint16_t>(share.buffers - buffers);
    buffers_ -= buffers;
    waiting.next = free_waiting_;
    free_waiting_ = slot;
}

void FragmentTable::append(Queue& queue, uint16_t slot) {
    waiting_[slot].next = 0;
    if (queue.first == 0)
        queue.first = slot;
    else
        waiting_[queue.last].next = slot;
    queue.last = slot;
}

void FragmentTable::append(AgeList& list, Links Entry::*links, uint16_t index) {
    (entries_[index].*links) = {.older = list.newest, .newer = 0};
    if (list.newest == 0)
        list.oldest = index;
    else
        (entries_[list.newest].*links).newer = index;
    list.newest = index;
}

void FragmentTable::unlink(AgeList& list, Links Entry::*links, uint16_t index) {
    const Links own = entries_[index].*links;
    (own.older == 0 ? list.oldest : (entries_[own.older].*links).newer) = own.newer;
    (own.newer == 0 ? list.newest : (entries_[own.newer].*links).older) = own.older;
}

}  // namespace slash32
