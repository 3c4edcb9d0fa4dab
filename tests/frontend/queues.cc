// SPDX-License-Identifier: Apache-2.0
#include "tests/frontend/queues.h"

#include "dp/base/assert.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace slash32::frontend {

namespace {

constexpr size_t kBufferAlign = 64;

// Descriptors of one frame at most: its pieces, and one for a separate header.
uint16_t chain_for(size_t frame_bytes, size_t piece_bytes) {
    const size_t pieces = (frame_bytes + sizeof(NetHeader) + piece_bytes - 1) / piece_bytes;
    return static_cast<uint16_t>(pieces + 1);
}

void link(Descriptor& d, uint64_t address, size_t bytes, uint16_t flags, bool last, uint16_t next) {
    d.address = address;
    d.bytes = static_cast<uint32_t>(bytes);
    d.flags = static_cast<uint16_t>(flags | (last ? 0 : kDescNext));
    d.next = last ? uint16_t{0} : next;
}

}  // namespace

size_t TxQueue::bytes(const Geometry& g) {
    const size_t chain = chain_for(g.max_frame_bytes, g.segment_bytes);
    return SplitRing::bytes(g.ring_size) + g.segments * g.segment_bytes +
           g.ring_size * chain * sizeof(Descriptor) + 2 * kBufferAlign;
}

TxQueue::TxQueue(GuestMemory& memory, const Geometry& geometry)
    : memory_(&memory),
      geometry_(geometry),
      max_chain_(chain_for(geometry.max_frame_bytes, geometry.segment_bytes)),
      ring_(memory, geometry.ring_size),
      segments_at_(memory.allocate(geometry.segments * geometry.segment_bytes, kBufferAlign)),
      indirect_at_(memory.allocate(size_t{geometry.ring_size} * max_chain_ * sizeof(Descriptor),
                                   kBufferAlign)),
      flights_(geometry.ring_size) {
    reset({});
}

size_t TxQueue::indirect_at(uint16_t head) const {
    return indirect_at_ + size_t{head} * max_chain_ * sizeof(Descriptor);
}

void TxQueue::reset(const QueueMode& mode) {
    mode_ = mode;
    ring_.reset();
    ring_.set_event_index(mode.event_index);
    ring_.disable_calls();  // transmit buffers are taken back when the next frame goes out
    free_segments_.resize(geometry_.segments);
    std::iota(free_segments_.rbegin(), free_segments_.rend(), uint16_t{0});
    free_descriptors_.resize(geometry_.ring_size);
    std::iota(free_descriptors_.rbegin(), free_descriptors_.rend(), uint16_t{0});
    for (Flight& flight : flights_) {
        flight.segments.clear();
        flight.descriptors.clear();
    }
}

void TxQueue::reclaim() {
    for (uint16_t n = ring_.used_count(); n > 0; n--) {
        SplitRing::Used used{};
        const bool ours = ring_.peek_used(0, used);
        ring_.pop_used(1);
        if (!ours) continue;
        Flight& flight = flights_[used.head];
        free_segments_.insert(free_segments_.end(), flight.segments.begin(), flight.segments.end());
        free_descriptors_.insert(free_descriptors_.end(), flight.descriptors.begin(),
                                 flight.descriptors.end());
        flight.segments.clear();
        flight.descriptors.clear();
    }
}

size_t TxQueue::send(std::span<const TxFrame> frames, bool& kick) {
    reclaim();
    size_t sent = 0;
    while (sent < frames.size() && send_one(frames[sent]))
        sent++;
    if (ring_.publish()) kick = true;
    return sent;
}

// Copies header and frame into segments, then builds the chain over them.
bool TxQueue::send_one(const TxFrame& frame) {
    const size_t header = mode_.header_bytes;
    const size_t segment = geometry_.segment_bytes;
    S32_ASSERT(frame.data.size() <= geometry_.max_frame_bytes);
    const size_t first_room = mode_.separate_header ? 0 : segment - header;
    const size_t rest = frame.data.size() - std::min(first_room, frame.data.size());
    const size_t pieces = 1 + (rest + segment - 1) / segment;
    const bool indirect = mode_.indirect && pieces > 1;
    if (free_segments_.size() < pieces) return false;
    if (free_descriptors_.size() < (indirect ? 1 : pieces)) return false;

    pieces_.clear();
    size_t copied = 0;
    for (size_t i = 0; i < pieces; i++) {
        const uint16_t s = free_segments_.back();
        free_segments_.pop_back();
        uint8_t* to = memory_->at(segment_at(s));
        size_t room = segment;
        size_t filled = 0;
        if (i == 0) {
            std::memcpy(to, &frame.header, header);
            filled = header;
            room = first_room;
        }
        const size_t n = std::min(room, frame.data.size() - copied);
        std::copy_n(frame.data.begin() + static_cast<ptrdiff_t>(copied), n, to + filled);
        copied += n;
        pieces_.push_back({s, static_cast<uint32_t>(filled + n)});
    }
    S32_ASSERT(copied == frame.data.size());

    const uint16_t head = free_descriptors_.back();
    Flight& flight = flights_[head];
    for (const Piece& p : pieces_)
        flight.segments.push_back(p.segment);
    if (indirect) {
        free_descriptors_.pop_back();
        flight.descriptors.push_back(head);
        auto* table = reinterpret_cast<Descriptor*>(memory_->at(indirect_at(head)));
        for (size_t i = 0; i < pieces; i++) {
            link(table[i], memory_->guest_address(segment_at(pieces_[i].segment)), pieces_[i].bytes,
                 0, i + 1 == pieces, static_cast<uint16_t>(i + 1));
        }
        link(ring_.descriptor(head), memory_->guest_address(indirect_at(head)),
             pieces * sizeof(Descriptor), kDescIndirect, true, 0);
    } else {
        for (size_t i = 0; i < pieces; i++) {
            flight.descriptors.push_back(free_descriptors_.back());
            free_descriptors_.pop_back();
        }
        for (size_t i = 0; i < pieces; i++) {
            const bool last = i + 1 == pieces;
            link(ring_.descriptor(flight.descriptors[i]),
                 memory_->guest_address(segment_at(pieces_[i].segment)), pieces_[i].bytes, 0, last,
                 last ? uint16_t{0} : flight.descriptors[i + 1]);
        }
    }
    ring_.stage(head);
    return true;
}

size_t RxQueue::bytes(const Geometry& g) {
    return SplitRing::bytes(g.ring_size) + g.ring_size * (g.buffer_bytes + sizeof(Descriptor)) +
           2 * kBufferAlign;
}

RxQueue::RxQueue(GuestMemory& memory, const Geometry& geometry)
    : memory_(&memory),
      geometry_(geometry),
      ring_(memory, geometry.ring_size),
      buffers_at_(memory.allocate(geometry.ring_size * geometry.buffer_bytes, kBufferAlign)),
      indirect_at_(memory.allocate(geometry.ring_size * sizeof(Descriptor), kBufferAlign)) {}

// Chains are fixed: chain i is the buffers [i * chain_, (i + 1) * chain_), so taking a chain back
// and making it available again touches no descriptor.
bool RxQueue::reset(const QueueMode& mode) {
    mode_ = mode;
    ring_.reset();
    ring_.set_event_index(mode.event_index);
    const size_t largest = mode.header_bytes + mode.max_rx_frame_bytes;
    chain_ = 1;
    if (!mode.mergeable) {
        chain_ =
            static_cast<uint16_t>((largest + geometry_.buffer_bytes - 1) / geometry_.buffer_bytes);
    }
    if (chain_ > geometry_.ring_size) return false;
    scratch_.resize(std::max(largest, size_t{kMaxFrameBytes} + sizeof(NetHeader)));
    for (uint16_t i = 0; (i + 1) * chain_ <= geometry_.ring_size; i++) {
        const uint16_t first = static_cast<uint16_t>(i * chain_);
        const bool indirect = mode.indirect && chain_ > 1;
        auto* table = reinterpret_cast<Descriptor*>(memory_->at(indirect_at_)) + first;
        for (uint16_t k = 0; k < chain_; k++) {
            const uint16_t d = static_cast<uint16_t>(first + k);
            link(indirect ? table[k] : ring_.descriptor(d), memory_->guest_address(buffer_at(d)),
                 geometry_.buffer_bytes, kDescWrite, k + 1 == chain_,
                 static_cast<uint16_t>(indirect ? k + 1 : d + 1));
        }
        if (indirect) {
            link(ring_.descriptor(first),
                 memory_->guest_address(indirect_at_ + size_t{first} * sizeof(Descriptor)),
                 chain_ * sizeof(Descriptor), kDescIndirect, true, 0);
        }
        ring_.stage(first);
    }
    ring_.publish();
    return true;
}

// Appends `bytes` of a returned chain to the scratch area, without its first `skip`.
void RxQueue::gather(uint16_t head, size_t bytes, size_t skip) {
    for (uint16_t k = 0; k < chain_ && bytes > 0; k++) {
        const size_t n = std::min(bytes, geometry_.buffer_bytes);
        const uint8_t* from = memory_->at(buffer_at(static_cast<uint16_t>(head + k)));
        const size_t skipped = std::min(skip, n);
        scratch_.insert(scratch_.end(), from + skipped, from + n);
        skip -= skipped;
        bytes -= n;
    }
}

size_t RxQueue::receive(size_t max, const std::function<void(const RxFrame&)>& callback,
                        bool& kick) {
    size_t received = 0;
    const size_t chain_bytes = chain_ * geometry_.buffer_bytes;
    std::vector<uint16_t> heads;
    while (received < max) {
        const uint16_t returned = ring_.used_count();
        if (returned == 0) break;
        SplitRing::Used first{};
        if (!ring_.peek_used(0, first)) {
            ring_.pop_used(1);
            malformed_++;
            continue;
        }
        const uint8_t* start = memory_->at(buffer_at(first.head));
        RxFrame frame{};
        std::memcpy(&frame.header, start, mode_.header_bytes);
        const uint16_t buffers = mode_.mergeable ? frame.header.num_buffers : uint16_t{1};
        if (buffers > returned) {
            // The rest of a merged frame may be a moment away; more than the ring never comes.
            if (buffers <= ring_.size()) break;
        }
        bool good = buffers != 0 && buffers <= returned && first.bytes >= mode_.header_bytes;
        if (good && buffers == 1 && first.bytes <= geometry_.buffer_bytes) {
            frame.data = {start + mode_.header_bytes, first.bytes - mode_.header_bytes};
        } else if (good) {
            scratch_.clear();
            for (uint16_t i = 0; i < buffers && good; i++) {
                SplitRing::Used part{};
                good = ring_.peek_used(i, part) && part.bytes <= chain_bytes;
                if (good) gather(part.head, part.bytes, i == 0 ? mode_.header_bytes : 0);
            }
            frame.data = scratch_;
        }
        if (good) {
            received++;
            callback(frame);
        } else {
            malformed_++;
        }
        const uint16_t taken = good ? buffers : uint16_t{1};
        heads.clear();
        for (uint16_t i = 0; i < taken; i++) {
            SplitRing::Used part{};
            if (ring_.peek_used(i, part)) heads.push_back(part.head);
        }
        ring_.pop_used(taken);
        for (const uint16_t head : heads)
            ring_.stage(head);
    }
    if (ring_.publish()) kick = true;
    return received;
}

}  // namespace slash32::frontend
