// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/neighbors.h"

#include "ctrl/punt/unresolved.h"

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

constexpr uint16_t kAnswers = NUD_PERMANENT | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
constexpr size_t kHeldPerNeighbor = 4;
constexpr size_t kHeldMax = 1024;
// Found by packets to them, which anybody may send: a scan of a large link must not fill the
// tables.
constexpr size_t kFoundMax = 4096;
constexpr auto kTick = 1s;
// What has gone stale in the kernel is looked for again after this many ticks at most, in use as it
// is here without the kernel's knowing.
constexpr uint32_t kRefreshTicks = 10;
// For how long packets to a neighbour that does not answer are refused at once.
constexpr auto kFailedFor = 3s;

std::optional<LearnedNeighbor> learned(uint16_t state, const std::optional<Mac>& mac) {
    if ((state & kAnswers) != 0 && mac) return LearnedNeighbor{mac};
    if ((state & NUD_FAILED) != 0) return LearnedNeighbor{};
    return std::nullopt;
}

constexpr size_t kRequestBytes = 128;
constexpr size_t kAnswerBytes = 1024;

nlmsghdr* header_of(std::array<char, kRequestBytes>& request) {
    return reinterpret_cast<nlmsghdr*>(request.data());
}

void put_request(std::array<char, kRequestBytes>& buffer, uint16_t type, uint16_t flags,
                 uint8_t neighbor_flags, uint32_t interface, const IpAddress& address) {
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = type;
    request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    auto* head = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)));
    head->ndm_family = address.is_ipv4() ? AF_INET : AF_INET6;
    head->ndm_ifindex = static_cast<int>(interface);
    head->ndm_flags = neighbor_flags;
    mnl_attr_put(request, NDA_DST, address.bits() / 8u, address.bytes.data());
}

}  // namespace

Neighbors::Neighbors(asio::io_context& io, ForwardingPlane& plane, HopSets& sets,
                     KernelRoutes& routes)
    : plane_(plane), sets_(sets), routes_(routes), timer_(io) {}

Result<std::unique_ptr<Neighbors>> Neighbors::open(asio::io_context& io, ForwardingPlane& plane,
                                                   HopSets& sets, KernelRoutes& routes) {
    std::unique_ptr<Neighbors> made(new Neighbors(io, plane, sets, routes));
    auto socket = open_netlink(0, 0);
    if (!socket) return tl::unexpected<Error>(socket.error());
    made->socket_ = std::move(*socket);
    if (auto usable = made->packets_.usable(); !usable)
        return tl::unexpected<Error>(usable.error());
    made->wait();
    return made;
}

void Neighbors::take(const NeighborMessage& message, bool gone) {
    const auto port = sets_.port_of(message.interface);
    if (!port) return;
    const Key key{*port, message.address};
    const auto found = neighbors_.find(key);
    if (gone) {
        if (found != neighbors_.end()) forget(key, found->second);
        return;
    }
    if (found == neighbors_.end() && !learned(message.state, message.mac)) return;
    Neighbor& neighbor = neighbors_[key];
    neighbor.state = message.state;
    neighbor.epoch = epoch_;
    neighbor.mac = message.mac;
    learn(key, neighbor);
}

void Neighbors::learn(const Key& key, Neighbor& neighbor) {
    const auto known = learned(neighbor.state, neighbor.mac);
    if (known && known->mac) {
        neighbor.failed = {};
        plane_.learn_neighbor(key.first, key.second, known);
        sets_.set_failed(key.first, key.second, false);
        return release(key, neighbor);
    }
    // The kernel asks; of one that has failed nothing is expected until it answers.
    if (!known && !neighbor.has_failed()) {
        plane_.learn_neighbor(key.first, key.second, std::nullopt);
    } else if (known) {
        neighbor.failed = Clock::now();
        plane_.learn_neighbor(key.first, key.second, known);
        lose(neighbor);
        sets_.set_failed(key.first, key.second, true);
    }
}

// The kernel knows nothing of it any more.
void Neighbors::forget(const Key& key, Neighbor& neighbor) {
    neighbor.state = NUD_NONE;
    neighbor.mac.reset();
    if (in_use(neighbor)) {
        if (!neighbor.has_failed()) plane_.learn_neighbor(key.first, key.second, std::nullopt);
        return solicit(key);
    }
    plane_.learn_neighbor(key.first, key.second, std::nullopt);
    sets_.set_failed(key.first, key.second, false);
    lose(neighbor);
    neighbors_.erase(key);
}

void Neighbors::end_dump() {
    std::vector<Key> gone;
    for (const auto& [key, neighbor] : neighbors_)
        if (neighbor.state != NUD_NONE && neighbor.epoch != epoch_) gone.push_back(key);
    for (const Key& key : gone)
        forget(key, neighbors_.at(key));
}

void Neighbors::want(PortId port, const IpAddress& address, bool wanted) {
    const Key key{port, address};
    if (!wanted) {
        const auto found = neighbors_.find(key);
        if (found == neighbors_.end()) return;
        found->second.wanted = false;
        return;
    }
    Neighbor& neighbor = neighbors_[key];
    neighbor.wanted = true;
    if (!learned(neighbor.state, neighbor.mac)) solicit(key);
}

void Neighbors::hold(std::span<const uint8_t> frame) {
    const auto packet = read_unresolved(frame);
    if (!packet) return;
    const Adjacency* adjacency = plane_.next_hops().find(packet->hop);
    if (adjacency == nullptr || !leads_out(*adjacency)) {
        ++lost_;  // the route has gone meanwhile
        return;
    }
    const NextHopSpec& spec = plane_.next_hops().spec(packet->hop);
    const IpAddress address = spec.via.value_or(packet->destination);
    const Key key{spec.port, address};
    Neighbor& neighbor = neighbors_[key];
    if (!spec.via && !neighbor.found && found_ < kFoundMax) {
        neighbor.found = true;
        ++found_;
        routes_.add_neighbor(vrf_of(spec.port), sets_.interface_of(spec.port), address);
    }
    if (held_ >= kHeldMax || neighbor.held.size() >= kHeldPerNeighbor) {
        ++lost_;
    } else {
        neighbor.held.emplace_back(frame.begin(), frame.end());
        ++held_;
    }
    const auto known = learned(neighbor.state, neighbor.mac);
    if (known && known->mac)
        release(key, neighbor);
    else if (neighbor.held.size() == 1)
        solicit(key);
}

// As if the host had a packet for it (NTF_USE): the kernel asks, and its answer is a notification.
// An entry that an operator has made for good would be so no more, so that is looked up before.
void Neighbors::solicit(const Key& key) {
    const uint32_t interface = sets_.interface_of(key.first);
    if (interface == 0) return;
    if (const auto present = look_up(interface, key.second);
        present && (present->state & NUD_PERMANENT) != 0) {
        take(*present, false);
        return;
    }
    std::array<char, kRequestBytes> request{};
    put_request(request, RTM_NEWNEIGH, NLM_F_CREATE, NTF_USE, interface, key.second);
    mnl_socket_sendto(socket_.get(), request.data(), header_of(request)->nlmsg_len);
}

std::optional<NeighborMessage> Neighbors::look_up(uint32_t interface, const IpAddress& address) {
    std::array<char, kRequestBytes> request{};
    put_request(request, RTM_GETNEIGH, 0, 0, interface, address);
    if (mnl_socket_sendto(socket_.get(), request.data(), header_of(request)->nlmsg_len) < 0)
        return std::nullopt;
    // One message, of the neighbour or of an error.
    std::array<char, kAnswerBytes> answer{};
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
    if (received < 0) return std::nullopt;
    const auto* message = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (!mnl_nlmsg_ok(message, static_cast<int>(received)) || message->nlmsg_type != RTM_NEWNEIGH)
        return std::nullopt;
    return read_neighbor(message);
}

// By the host's view, from where it goes out of the wire as all that the host sends.
void Neighbors::release(const Key& key, Neighbor& neighbor) {
    if (neighbor.held.empty() || !neighbor.mac) return;
    const uint32_t interface = sets_.interface_of(key.first);
    for (std::vector<uint8_t>& frame : neighbor.held) {
        std::memcpy(frame.data(), neighbor.mac->bytes.data(), sizeof(Mac));
        ++(packets_.send(interface, frame) ? released_ : lost_);
    }
    held_ -= neighbor.held.size();
    neighbor.held.clear();
}

void Neighbors::lose(Neighbor& neighbor) {
    held_ -= neighbor.held.size();
    lost_ += neighbor.held.size();
    neighbor.held.clear();
}

void Neighbors::look_after_all() {
    const bool refresh = ++ticks_ % kRefreshTicks == 0;
    const auto now = Clock::now();
    for (auto at = neighbors_.begin(); at != neighbors_.end();) {
        const Key& key = at->first;
        Neighbor& neighbor = at->second;
        if (neighbor.has_failed() && now - neighbor.failed >= kFailedFor) {
            drop_route(key, neighbor);
            // Packets may ask for it again.
            plane_.learn_neighbor(key.first, key.second, std::nullopt);
        }
        const bool answers = neighbor.mac && (neighbor.state & kAnswers) != 0;
        if (in_use(neighbor) && (!answers || (refresh && (neighbor.state & NUD_STALE) != 0)))
            solicit(key);
        if (!answers && !in_use(neighbor)) {
            lose(neighbor);
            sets_.set_failed(key.first, key.second, false);
            at = neighbors_.erase(at);
        } else {
            ++at;
        }
    }
}

void Neighbors::drop_route(const Key& key, Neighbor& neighbor) {
    if (!neighbor.found) return;
    neighbor.found = false;
    --found_;
    routes_.remove_neighbor(vrf_of(key.first), key.second);
}

VrfId Neighbors::vrf_of(PortId port) const {
    return plane_.config(port)->vrf;
}

void Neighbors::wait() {
    timer_.expires_after(kTick);
    timer_.async_wait([this](const asio::error_code& error) {
        if (error) return;
        look_after_all();
        wait();
    });
}

NeighborStats Neighbors::stats() const {
    NeighborStats stats{.held = held_, .released = released_, .lost = lost_};
    for (const auto& [key, neighbor] : neighbors_) {
        const auto known = learned(neighbor.state, neighbor.mac);
        stats.known += known && known->mac;
        stats.failed += neighbor.has_failed();
    }
    return stats;
}

}  // namespace slash32
