// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/engine.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <algorithm>
#include <random>

namespace slash32::pktgen {

namespace {

// Large segments: as many bytes a turn as a guest's TCP would hand over.
constexpr uint16_t kSegmentBurst = 4;
constexpr double kDrainSeconds = 0.05;  // of silence
constexpr double kDrainMaxSeconds = 1;
constexpr double kArpSeconds = 3;
constexpr double kWindowSeconds = 0.02;
constexpr unsigned kPauseUs = 100;
// Below this share of cut-short turns the router took whatever was sent.
constexpr double kRefusedPercent = 5;
constexpr double kBusyPercent = 95;

uint64_t seconds_to_cycles(double seconds, uint64_t hz) {
    return static_cast<uint64_t>(seconds * static_cast<double>(hz));
}

}  // namespace

Engine::Engine(const Options& options, const Devices& devices)
    : options_(options), hz_(rte_get_tsc_hz()) {
    const auto run = static_cast<uint16_t>(std::random_device()());
    const uint32_t count = static_cast<uint32_t>(devices.all().size());
    ports_.reserve(count);
    for (uint32_t i = 0; i < count; i++) {
        // A single device hears itself.
        const auto peer = static_cast<uint16_t>(count == 1 ? 0 : i ^ 1);
        ports_.push_back(
            Port{.device = devices.all()[i],
                 .index = i,
                 .maker = FrameMaker(options, options.devices[i], i, run),
                 .counter = FrameCounter(options, peer, run),
                 .tcp = options.tcp ? std::optional<TcpEnd>(std::in_place, options,
                                                            options.devices[i], i % 2 == 0, run)
                                    : std::nullopt,
                 .sends = sends(options, i),
                 .peer = peer});
    }
}

Result<void> Engine::resolve_gateways() {
    if (!options_.gateway) return {};
    for (size_t i = 0; i < ports_.size(); i++) {
        Port& port = ports_[i];
        const uint64_t end = rte_rdtsc() + seconds_to_cycles(kArpSeconds, hz_);
        bool known = false;
        while (!known && rte_rdtsc() < end) {
            rte_mbuf* request = rte_pktmbuf_alloc(port.device.send_pool);
            if (request == nullptr) break;
            const size_t bytes = write_arp_request(
                rte_pktmbuf_mtod(request, uint8_t*), options_.devices[i].source_mac,
                options_.devices[i].source_ip.ipv4(), *options_.gateway);
            request->pkt_len = request->data_len = static_cast<uint16_t>(bytes);
            if (rte_eth_tx_burst(port.device.port, 0, &request, 1) == 0) rte_pktmbuf_free(request);
            const uint64_t again = rte_rdtsc() + seconds_to_cycles(0.2, hz_);
            while (!known && rte_rdtsc() < again) {
                rte_mbuf* received[kBurst];
                const uint16_t n = rte_eth_rx_burst(port.device.port, 0, received, kBurst);
                Mac mac;
                for (uint16_t k = 0; k < n; k++) {
                    if (!read_arp_reply(received[k], *options_.gateway, mac)) continue;
                    port.maker.set_destination_mac(mac);
                    if (port.tcp) port.tcp->set_destination_mac(mac);
                    known = true;
                }
                rte_pktmbuf_free_bulk(received, n);
                if (n == 0) usleep(100);
            }
        }
        if (!known)
            return fail(ErrorCode::kUnavailable, fmt::format("device {}", i),
                        fmt::format("no ARP reply from {} within {:g} s",
                                    to_string(IpAddress(*options_.gateway)), kArpSeconds));
    }
    return {};
}

Result<Measurement> Engine::run(const std::atomic<bool>& stop,
                                const std::function<void()>& measuring) {
    set_rate(options_.rate);
    run_until(rate_tsc_ + seconds_to_cycles(options_.warmup_seconds, hz_), stop);
    measuring();
    for (Port& port : ports_)
        port.latency().clear();
    const Snapshot from = snapshot();
    run_until(from.tsc + seconds_to_cycles(options_.measure_seconds, hz_), stop);
    const Snapshot to = snapshot();
    drain();
    if (stop) return fail(ErrorCode::kUnavailable, "run", "stopped by a signal");
    if (auto arrived = check_arrivals(); !arrived) return tl::unexpected<Error>(arrived.error());
    return difference(from, to);
}

Result<RateSearch> Engine::search(const std::atomic<bool>& stop,
                                  const std::function<void(const Trial&)>& done) {
    set_rate(options_.rate);
    run_until(rate_tsc_ + seconds_to_cycles(options_.warmup_seconds, hz_), stop);
    drain();
    const double highest = options_.rate != 0 ? options_.rate : try_rate(0, stop).offered;
    RateSearch search(options_.goal, highest);
    while (const auto rate = search.next()) {
        const Trial trial = try_rate(*rate, stop);
        if (stop) return fail(ErrorCode::kUnavailable, "search", "stopped by a signal");
        if (auto arrived = check_arrivals(); !arrived)
            return tl::unexpected<Error>(arrived.error());
        search.add(trial);
        done(trial);
    }
    return search;
}

// One trial, with nothing under way before and after.
Trial Engine::try_rate(double rate, const std::atomic<bool>& stop) {
    const uint64_t sent = total_sent();
    const uint64_t received = total_received();
    set_rate(rate);
    run_until(rate_tsc_ + seconds_to_cycles(options_.trial_seconds, hz_), stop);
    const double seconds = static_cast<double>(rte_rdtsc() - rate_tsc_) / static_cast<double>(hz_);
    drain();
    const auto offered = static_cast<double>(total_sent() - sent);
    const auto arrived = static_cast<double>(total_received() - received);
    return {.wanted = rate,
            .offered = offered / seconds / static_cast<double>(senders()),
            .loss = offered > 0 ? std::max(0.0, 1 - arrived / offered) : 1};
}

void Engine::set_rate(double rate) {
    rate_ = rate;
    rate_tsc_ = rte_rdtsc();
    for (Port& port : ports_)
        port.first_sequence = port.next_sequence;
}

size_t Engine::senders() const {
    return static_cast<size_t>(std::ranges::count(ports_, true, &Port::sends));
}

Result<void> Engine::check_arrivals() const {
    for (size_t i = 0; i < ports_.size(); i++) {
        const size_t peer = ports_.size() == 1 ? 0 : i ^ 1;
        if (!ports_[peer].sends || ports_[i].counts().packets != 0) continue;
        return fail(ErrorCode::kUnavailable, fmt::format("device {}", i),
                    fmt::format("nothing arrives of the {} packets that device {} sent",
                                ports_[peer].sent, peer));
    }
    return {};
}

void Engine::tell_progress(uint64_t now) {
    if (begun_tsc_ == 0) begun_tsc_ = told_tsc_ = now;
    if (now - told_tsc_ < hz_) return;
    const uint64_t received = total_received();
    const auto cycles_to_seconds = [&](uint64_t cycles) {
        return static_cast<double>(cycles) / static_cast<double>(hz_);
    };
    progress_({.seconds = cycles_to_seconds(now - begun_tsc_),
               .received_pps = static_cast<double>(received - told_received_) /
                               cycles_to_seconds(now - told_tsc_)});
    told_tsc_ = now;
    told_received_ = received;
}

void Engine::run_until(uint64_t end, const std::atomic<bool>& stop) {
    uint64_t now = rte_rdtsc();
    while (now < end && !stop.load(std::memory_order_relaxed)) {
        uint32_t moved = 0;
        for (Port& port : ports_) {
            moved += receive(port);
            moved += send(port, now);
        }
        // Who paces the packets has time, and leaves the core to the router's control thread.
        if (moved == 0 && rate_ != 0 && !options_.latency && !options_.search) usleep(kPauseUs);
        const uint64_t after = rte_rdtsc();
        if (moved != 0) busy_ += after - now;
        now = after;
        if (progress_) tell_progress(now);
    }
}

uint16_t Engine::receive(Port& port) {
    // Answers that wait for room leave none for others.
    if (port.pending_end - port.pending_first > kBurst) return 0;
    rte_mbuf* packets[kBurst];
    const uint16_t n = rte_eth_rx_burst(port.device.port, 0, packets, kBurst);
    if (n == 0) return 0;
    if (port.tcp) {
        std::move(port.pending + port.pending_first, port.pending + port.pending_end, port.pending);
        port.pending_end = static_cast<uint16_t>(port.pending_end - port.pending_first);
        port.pending_first = 0;
        const uint64_t now = rte_rdtsc();
        for (uint16_t i = 0; i < n; i++)
            answer(port, packets[i], now);
        return n;
    }
    const uint64_t others = port.counter.counts().other;
    port.counter.count(packets, n, options_.latency ? rte_rdtsc() : 0);
    if (port.counter.counts().other != others) {
        for (uint16_t i = 0; i < n; i++)
            answer_arp(port, packets[i]);
    }
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

// The frame's own buffer carries the first answer. A second one that finds no buffer is lost, as
// its connection then is.
void Engine::answer(Port& port, rte_mbuf* packet, uint64_t now) {
    rte_mbuf* second = rte_pktmbuf_alloc(port.device.send_pool);
    uint8_t unsent[kTcpFrameBytes6];
    uint8_t* frame = rte_pktmbuf_mtod(packet, uint8_t*);
    const unsigned n =
        port.tcp->answer(frame, packet->data_len, now,
                         {frame, second != nullptr ? rte_pktmbuf_mtod(second, uint8_t*) : unsent});
    if (n == 2 && second != nullptr) {
        second->data_len = static_cast<uint16_t>(port.tcp->frame_bytes());
        second->pkt_len = second->data_len;
    } else {
        rte_pktmbuf_free(second);
    }
    if (n == 0) {
        answer_arp(port, packet);
        rte_pktmbuf_free(packet);
        return;
    }
    packet->data_len = static_cast<uint16_t>(port.tcp->frame_bytes());
    packet->pkt_len = packet->data_len;
    port.pending[port.pending_end++] = packet;
    if (n == 2 && second != nullptr) port.pending[port.pending_end++] = second;
}

// Of a router that asks who has an address of ours.
void Engine::answer_arp(Port& port, const rte_mbuf* packet) {
    const auto request = read_arp_request(packet);
    if (!request || !has_address(port, request->wanted)) return;
    rte_mbuf* reply = rte_pktmbuf_alloc(port.device.send_pool);
    if (reply == nullptr) return;
    const size_t bytes = write_arp_reply(rte_pktmbuf_mtod(reply, uint8_t*),
                                         options_.devices[port.index].source_mac, *request);
    reply->pkt_len = reply->data_len = static_cast<uint16_t>(bytes);
    if (rte_eth_tx_burst(port.device.port, 0, &reply, 1) == 0) rte_pktmbuf_free(reply);
}

// The device's own, and where it answers, those that its peer sends to.
bool Engine::has_address(const Port& port, Ip4 address) const {
    if (options_.devices[port.index].source_ip == IpAddress(address)) return true;
    if (!(options_.two_way || options_.tcp) || port.index % 2 == 0 || is_ipv6(options_))
        return false;
    const uint32_t first = options_.devices[port.peer].destination_ip.ipv4().value.to_host();
    return address.value.to_host() - first < options_.destinations;
}

uint16_t Engine::due(Port& port, uint64_t now) {
    if (!port.sends) return 0;
    uint64_t n = options_.tso ? kSegmentBurst : kBurst;
    if (options_.window != 0)
        n = std::min(n, port.tcp ? connections_left(port, now) : window_left(port, now));
    if (rate_ == 0) return static_cast<uint16_t>(n);
    const double should = static_cast<double>(now - rate_tsc_) / static_cast<double>(hz_) * rate_;
    const auto made = static_cast<double>(port.next_sequence - port.first_sequence);
    if (should <= made) return 0;
    return static_cast<uint16_t>(std::min(should - made + 1, static_cast<double>(n)));
}

uint64_t Engine::window_left(Port& port, uint64_t now) {
    const uint64_t arrived = ports_[port.peer].counter.counts().expected;
    if (arrived > port.arrived) {
        port.arrived = arrived;
        port.progress_tsc = now;
    } else if (now - port.progress_tsc > seconds_to_cycles(kWindowSeconds, hz_)) {
        port.arrived = port.next_sequence;  // what has not come by now is lost
        port.progress_tsc = now;
    }
    const uint64_t under_way = port.next_sequence - port.arrived;
    return under_way < options_.window ? options_.window - under_way : 0;
}

uint64_t Engine::connections_left(Port& port, uint64_t now) {
    const uint64_t closed = ports_[port.peer].tcp->connections().closed;
    if (closed > port.arrived) {
        port.arrived = closed;
        port.progress_tsc = now;
    }
    const uint64_t ended = closed + port.given_up;
    uint64_t under_way = port.next_sequence > ended ? port.next_sequence - ended : 0;
    if (under_way == 0) port.progress_tsc = now;
    if (now - port.progress_tsc > seconds_to_cycles(kWindowSeconds, hz_)) {
        port.given_up += under_way;
        port.progress_tsc = now;
        under_way = 0;
    }
    return under_way < options_.window ? options_.window - under_way : 0;
}

uint16_t Engine::send(Port& port, uint64_t now) {
    if (port.pending_first == port.pending_end) {
        const uint16_t n = due(port, now);
        if (n == 0 || !fill_pending(port, n)) return 0;
    }
    const uint16_t wanted = static_cast<uint16_t>(port.pending_end - port.pending_first);
    const uint16_t n =
        rte_eth_tx_burst(port.device.port, 0, port.pending + port.pending_first, wanted);
    port.turns++;
    if (n < wanted) port.refused++;
    port.pending_first = static_cast<uint16_t>(port.pending_first + n);
    port.sent += n;
    if (port.pending_first == port.pending_end) port.pending_first = port.pending_end = 0;
    return n;
}

bool Engine::fill_pending(Port& port, uint16_t n) {
    if (options_.tso) {
        while (port.pending_end < n && fill_segment(port)) {
        }
        return port.pending_end != 0;
    }
    if (rte_pktmbuf_alloc_bulk(port.device.send_pool, port.pending, n) != 0) return false;
    const uint64_t now = options_.latency || options_.tcp ? rte_rdtsc() : 0;
    for (uint16_t i = 0; i < n; i++) {
        rte_mbuf* packet = port.pending[i];
        uint8_t* data = rte_pktmbuf_mtod(packet, uint8_t*);
        const uint64_t sequence = port.next_sequence++;
        packet->data_len = static_cast<uint16_t>(port.tcp ? port.tcp->open(data, now)
                                                          : port.maker.fill(data, sequence, now));
        packet->pkt_len = packet->data_len;
    }
    port.pending_end = n;
    return true;
}

bool Engine::fill_segment(Port& port) {
    rte_mbuf* chain[4] = {};
    const uint32_t bytes = static_cast<uint32_t>(options_.frame_bytes);
    const uint32_t room = port.device.send_buffer;
    const uint32_t buffers = (bytes + room - 1) / room;
    if (rte_pktmbuf_alloc_bulk(port.device.send_pool, chain, buffers) != 0) return false;
    uint32_t left = bytes;
    for (uint32_t i = 0; i < buffers; i++) {
        chain[i]->data_len = static_cast<uint16_t>(std::min(left, room));
        chain[i]->next = i + 1 < buffers ? chain[i + 1] : nullptr;
        left -= chain[i]->data_len;
    }
    chain[0]->nb_segs = static_cast<uint16_t>(buffers);
    chain[0]->pkt_len = bytes;
    port.maker.fill(rte_pktmbuf_mtod(chain[0], uint8_t*), port.next_sequence++,
                    options_.latency ? rte_rdtsc() : 0);
    port.maker.describe(chain[0]);
    port.pending[port.pending_end++] = chain[0];
    return true;
}

void Engine::drop_pending(Port& port) {
    while (port.pending_first < port.pending_end)
        rte_pktmbuf_free(port.pending[port.pending_first++]);
    port.pending_first = port.pending_end = 0;
}

void Engine::drain() {
    for (Port& port : ports_) {
        if (!port.tcp) drop_pending(port);
    }
    const uint64_t start = rte_rdtsc();
    uint64_t last = start;
    uint64_t now = start;
    while (now - last < seconds_to_cycles(kDrainSeconds, hz_) &&
           now - start < seconds_to_cycles(kDrainMaxSeconds, hz_)) {
        for (Port& port : ports_) {
            if (receive(port) != 0) last = now;
            // Connections that are under way come to their end.
            if (port.pending_first != port.pending_end) send(port, now);
            // Lets the driver take back what has been sent.
            rte_eth_tx_done_cleanup(port.device.port, 0, 0);
        }
        now = rte_rdtsc();
    }
}

uint64_t Engine::total_received() const {
    uint64_t total = 0;
    for (const Port& port : ports_)
        total += port.counts().packets;
    return total;
}

Connections Engine::total_connections() const {
    Connections total;
    for (const Port& port : ports_) {
        if (port.tcp) total += port.tcp->connections();
    }
    return total;
}

uint64_t Engine::total_sent() const {
    uint64_t total = 0;
    for (const Port& port : ports_)
        total += port.sent;
    return total;
}

Engine::Snapshot Engine::snapshot() const {
    Snapshot s;
    s.tsc = rte_rdtsc();
    s.busy = busy_;
    for (const Port& port : ports_) {
        s.sent.push_back(port.sent);
        s.received.push_back(port.counts());
        s.turns += port.turns;
        s.refused += port.refused;
    }
    s.connections = total_connections();
    return s;
}

Measurement Engine::difference(const Snapshot& from, const Snapshot& to) const {
    Measurement m;
    const double cycles = static_cast<double>(to.tsc - from.tsc);
    m.seconds = cycles / static_cast<double>(hz_);
    uint64_t moved = 0;
    for (size_t i = 0; i < ports_.size(); i++) {
        const FrameCounter::Counts& a = from.received[i];
        const FrameCounter::Counts& b = to.received[i];
        DeviceResult d;
        d.sent = to.sent[i] - from.sent[i];
        d.received = b.packets - a.packets;
        d.received_bytes = b.bytes - a.bytes;
        const uint64_t expected = b.expected - a.expected;
        d.lost = expected > d.received ? expected - d.received : 0;
        d.cut = b.cut - a.cut;
        d.reordered = b.reordered - a.reordered;
        d.duplicated = b.duplicated - a.duplicated;
        d.other = b.other - a.other;
        moved += d.sent + d.received;
        m.devices.push_back(d);
        m.latency.add(ports_[i].latency());
        m.total_sent += ports_[i].sent;
    }
    m.total_received = total_received();
    m.connections = to.connections - from.connections;
    m.total_connections = total_connections();
    const double busy = static_cast<double>(to.busy - from.busy);
    m.busy_percent = 100 * busy / cycles;
    if (moved != 0) {
        m.cycles_per_packet = busy / static_cast<double>(moved);
        m.ceiling_pps = static_cast<double>(hz_) / (2 * m.cycles_per_packet);
    }
    const uint64_t turns = to.turns - from.turns;
    if (turns != 0)
        m.refused_percent =
            100 * static_cast<double>(to.refused - from.refused) / static_cast<double>(turns);
    m.bounded_by_generator = m.busy_percent > kBusyPercent && m.refused_percent < kRefusedPercent;
    return m;
}

}  // namespace slash32::pktgen
