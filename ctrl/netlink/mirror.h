// SPDX-License-Identifier: Apache-2.0
// Follows the kernel's links, addresses, neighbours, next-hop objects and routes.
//
// At the start, and whenever the kernel had more to tell than there was room for, everything is
// dumped; notifications that come meanwhile are taken after the dump, which they may repeat but
// never contradict. What a dump does not confirm is the listener's to forget.
//
// Thread safety: the event loop's thread. A turn of the loop takes a bounded number of messages.
#pragma once

#include "ctrl/netlink/messages.h"
#include "ctrl/netlink/socket.h"
#include "dp/base/result.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

namespace slash32 {

class KernelListener {
  public:
    KernelListener() = default;
    KernelListener(const KernelListener&) = delete;
    KernelListener& operator=(const KernelListener&) = delete;
    virtual ~KernelListener() = default;

    virtual void link(const LinkMessage&, bool gone) = 0;
    virtual void address(const AddressMessage&, bool gone) = 0;
    virtual void neighbor(const NeighborMessage&, bool gone) = 0;
    virtual void next_hop(const NextHopMessage&, bool gone) = 0;
    // `appended`: it stands behind one of the same prefix and metric.
    virtual void route(const RouteMessage&, bool gone, bool appended) = 0;
    // All that stands in the kernel follows, then dump_ends().
    virtual void dump_begins() = 0;
    virtual void dump_ends() = 0;
    // A turn's messages have been told.
    virtual void settled() = 0;
};

struct MirrorStats {
    uint64_t messages = 0;
    uint64_t dumps = 0;     // begun
    uint64_t overruns = 0;  // the kernel had more to tell than there was room for
    uint64_t unknown = 0;   // messages of types or contents that we do not know
    bool complete = false;  // the first dump has ended
};

class KernelMirror {
  public:
    // In the network namespace of this thread. `listener` outlives the mirror. Errors:
    // kUnavailable.
    static Result<std::unique_ptr<KernelMirror>> start(asio::io_context& io,
                                                       KernelListener& listener);
    ~KernelMirror();
    KernelMirror(const KernelMirror&) = delete;
    KernelMirror& operator=(const KernelMirror&) = delete;

    // Reads everything anew when the present messages have been told.
    void resync_soon() { resync_wanted_ = true; }

    const MirrorStats& stats() const { return stats_; }

  private:
    KernelMirror(asio::io_context& io, KernelListener& listener);
    Result<void> open();
    void resync();
    void ask_for_dump();
    void wait_for_dump();
    void read_dump();
    bool take_dump(size_t bytes);
    void dump_part_done(int error);
    void wait_for_events();
    void read_events();
    void take(const nlmsghdr* message);

    KernelListener& listener_;
    NetlinkSocket events_;
    NetlinkSocket dump_;
    asio::posix::stream_descriptor events_readable_;
    asio::posix::stream_descriptor dump_readable_;
    asio::steady_timer retry_;
    std::vector<char> buffer_;
    MirrorStats stats_;
    size_t part_ = 0;  // of the dump that goes on
    uint32_t sequence_ = 0;
    int attempts_ = 0;  // at the part
    bool interrupted_ = false;
    bool resync_wanted_ = false;
    std::set<uint16_t> unknown_types_;  // that have been logged
};

}  // namespace slash32
