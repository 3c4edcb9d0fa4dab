// SPDX-License-Identifier: Apache-2.0
#include "dp/worker/worker.h"

#include "dp/abi/flow_clock.h"
#include "dp/base/assert.h"
#include "dp/worker/pipeline.h"
#include "dp/worker/vlan.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <bit>

namespace slash32 {
namespace {

// A queue that gave nothing for this long leaves the poll list: long enough to catch the next
// packet of a request and its answer without a wake-up, short enough to cost nothing when idle.
constexpr uint64_t kQuietAfterUs = 100;
// With poll = "busy" the worker never sleeps, but queues nobody uses must not be swept either.
constexpr uint64_t kQuietAfterBusyUs = 1'000'000;
// How often a working worker looks for wake-ups of armed queues: bounds their latency.
constexpr uint64_t kWakeupCheckUs = 50;
// Devices without receive interrupts are looked at this often while everything is quiet.
constexpr int kTimerPollMs = 1;

constexpr uint32_t kDoorbellTag = UINT32_MAX;
constexpr int kWakeupBatch = 32;
constexpr uint32_t kIcmpBurst = 50;
constexpr uint32_t kPuntBurst = 100;
// A sleeper wakes this often while there are flows that may expire.
constexpr int kExpiryMs = 250;
// 2^32 over the golden ratio: multiples of it spread evenly.
constexpr uint32_t kGoldenRatio = 0x9e3779b9;
static_assert(std::has_single_bit(kStageSampling));

void drain_eventfd(int fd) {
    uint64_t value;
    [[maybe_unused]] const ssize_t n = read(fd, &value, sizeof value);
}

}  // namespace

Worker::Worker(const WorkerResources& r)
    : ring_(*r.ring),
      quiescent_(r.quiescent),
      doorbell_(r.doorbell),
      busy_(r.busy),
      slots_(kMaxRxQueuesPerWorker),
      polled_(kMaxRxQueuesPerWorker),
      ports_(kMaxPorts),
      adjacencies_(kMaxAdjacencies),
      groups_(kMaxNextHopGroups),
      captures_(kMaxPorts) {
    const uint64_t hz = rte_get_tsc_hz();
    context_.id = r.id;
    context_.tsc_hz = hz;
    context_.ports = ports_.data();
    context_.adjacencies = adjacencies_.data();
    context_.groups = groups_.data();
    context_.captures = captures_.data();
    context_.fib = r.fib;
    if (r.flows != nullptr) {
        context_.flows = FlowTable(r.flows, r.quiescent, r.id.value(), r.workers);
        if (!context_.fragments.open(r.flows->seed, kFragmentSeconds * hz)) return;
    }
    context_.sets = r.sets;
    context_.generations = r.sets.generations;
    context_.domain = r.domain;
    context_.hop_use = r.hop_use;
    context_.counters = r.counters;
    context_.pool = r.pool;
    context_.capture_pool = r.capture_pool;
    context_.punt_ring = r.punt_ring;
    context_.capture_ring = r.capture_ring;
    context_.control_doorbell = r.control_doorbell;
    context_.icmp_tokens = TokenBucket(r.icmp_errors_per_second, kIcmpBurst, hz);
    context_.punt_tokens = TokenBucket(r.punts_per_second, kPuntBurst, hz);
    context_.resolve_tokens = TokenBucket(r.punts_per_second, kPuntBurst, hz);
    for (size_t i = 0; i < kHostClasses.size(); ++i)
        context_.host_tokens[i] = TokenBucket(r.host_limits[i], r.host_limits[i] / 10 + 1, hz);
    context_.capture_tokens = TokenBucket(r.captures_per_second, r.captures_per_second / 10, hz);
    context_.denied_tokens =
        TokenBucket(r.denied_reports_per_second, r.denied_reports_per_second, hz);
    context_.miss_tokens = TokenBucket(r.punts_per_second, kPuntBurst, hz);

    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {.u32 = kDoorbellTag}};
    if (epoll_ >= 0 && epoll_ctl(epoll_, EPOLL_CTL_ADD, doorbell_, &event) != 0) {
        close(epoll_);
        epoll_ = -1;
    }
}

Worker::~Worker() {
    if (epoll_ >= 0) close(epoll_);
}

void Worker::stop() {
    stopping_.store(true, std::memory_order_release);
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(doorbell_, &one, sizeof one);
}

void Worker::run() {
    const unsigned id = context_.id.value();
    rte_rcu_qsbr_thread_register(quiescent_, id);
    rte_rcu_qsbr_thread_online(quiescent_, id);
    loop_start_ = rte_rdtsc();
    while (!stopping_.load(std::memory_order_acquire)) {
        rte_rcu_qsbr_quiescent(quiescent_, id);
        context_.now = loop_start_;  // reading the clock costs a tenth of a packet
        const unsigned received = poll();
        account(rte_rdtsc(), received > 0 || commands_done_);
        if (!busy_ && polled_count_ == quiet_count_ && sleep_limit_ms() != 0) sleep();
    }
    rte_rcu_qsbr_thread_offline(quiescent_, id);
    rte_rcu_qsbr_thread_unregister(quiescent_, id);
}

unsigned Worker::poll_once() {
    context_.now = rte_rdtsc();
    return poll();
}

unsigned Worker::poll() {
    drain_commands();
    keep_flows();
    if (armed_count_ > 0 &&
        context_.now - last_wakeup_check_ > kWakeupCheckUs * (context_.tsc_hz / 1'000'000)) {
        last_wakeup_check_ = context_.now;
        collect_wakeups(0);
    }
    unsigned received = 0;
    // Backwards, since a queue that is armed swaps places with the last one.
    for (uint32_t i = polled_count_; i-- > 0;)
        received += poll_queue(polled_[i]);
    if (context_.doorbell_due) ring_control();
    return received;
}

// The flow clock and the upkeep of the flow table.
void Worker::keep_flows() {
    if (context_.now >= next_second_) {
        context_.seconds = flow_clock(context_.now, context_.tsc_hz);
        next_second_ = context_.seconds * context_.tsc_hz;
    }
    if (context_.flows.enabled())
        context_.flows.maintain(context_.now, context_.tsc_hz, context_.seconds);
    context_.fragments.expire(context_.now);
    if (!context_.fragments.settled()) settle_fragments(context_);
}

// How long the worker may sleep without a wake-up: -1 is for ever, 0 not at all.
int Worker::sleep_limit_ms() const {
    if (context_.flows.enabled() && context_.flows.has_flows()) {
        if (context_.flows.behind(context_.now)) return 0;
        return polled_count_ > 0 ? kTimerPollMs : kExpiryMs;
    }
    if (polled_count_ > 0) return kTimerPollMs;
    return context_.fragments.waiting_buffers() > 0 ? kExpiryMs : -1;
}

void Worker::drain_commands() {
    commands_done_ = false;
    Command command;
    for (size_t n = 0; n < kCommandsPerDrain && ring_.pop(command); ++n) {
        S32_ASSERT(command.version == kCommandVersion);
        carry_out(command);
        ring_.acknowledge(command.sequence);
        context_.counters->worker.commands.add(1);
        commands_done_ = true;
    }
    if (commands_done_) context_.doorbell_due = true;  // control waits for acknowledgements
}

void Worker::carry_out(const Command& command) {
    const Command::Payload& p = command.payload;
    switch (command.opcode) {
        case Opcode::kBarrier:
            break;
        case Opcode::kSetPort: {
            const PortConfig*& current = ports_[p.port.port.value()];
            const auto has_policy = [](const PortConfig* port) {
                return port != nullptr && port->policy != nullptr;
            };
            context_.policy_ports -= has_policy(current);
            current = p.port.config;
            if (current == nullptr) context_.fragments.forget(p.port.port);
            context_.policy_ports += has_policy(current);
            break;
        }
        case Opcode::kAddRxQueue:
            add_rx_queue(p.rx_queue);
            break;
        case Opcode::kRemoveRxQueue:
            remove_rx_queue(p.rx_queue);
            break;
        case Opcode::kSetAdjacency:
            adjacencies_[p.adjacency.id.value()] = p.adjacency.adjacency;
            break;
        case Opcode::kSetGroup:
            groups_[group_index(p.group.id)] = p.group.group;
            break;
        case Opcode::kSetCapture: {
            Capture*& current = captures_[p.capture.port.value()];
            if ((current == nullptr) != (p.capture.capture == nullptr))
                context_.capture_count += current == nullptr ? 1 : UINT32_MAX;
            current = p.capture.capture;
            break;
        }
        case Opcode::kTransmit:
            transmit_made(context_, p.transmit.packet, p.transmit.port);
            break;
        case Opcode::kSetPollMode:
            busy_ = p.busy;
            break;
        case Opcode::kSetStageCycles:
            stage_cycles_ = p.stage_cycles;
            break;
    }
}

void Worker::add_rx_queue(RxQueue* queue) {
    uint32_t index = 0;
    while (index < slot_count_ && slots_[index].state != SlotState::kFree)
        ++index;
    S32_ASSERT(index < slots_.size());
    if (index == slot_count_) ++slot_count_;
    slots_[index] = Slot{.queue = queue,
                         .last_packet = context_.now,
                         .position = 0,
                         .state = SlotState::kArmed,
                         .quiet = false};
    ++armed_count_;
    if (queue->wake_fd >= 0) {
        // Disabled until the queue is armed; one event a time (EPOLLONESHOT).
        epoll_event event{.events = EPOLLONESHOT, .data = {.u32 = index}};
        epoll_ctl(epoll_, EPOLL_CTL_ADD, queue->wake_fd, &event);
    }
    start_polling(index);
}

void Worker::remove_rx_queue(RxQueue* queue) {
    for (uint32_t index = 0; index < slot_count_; ++index) {
        Slot& slot = slots_[index];
        if (slot.state == SlotState::kFree || slot.queue != queue) continue;
        if (slot.state == SlotState::kPolled)
            leave_polled(index);
        else
            --armed_count_;
        if (queue->wake_fd >= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, queue->wake_fd, nullptr);
        slot = Slot{};
        return;
    }
}

unsigned Worker::poll_queue(uint32_t index) {
    Slot& slot = slots_[index];
    const unsigned received = receive_burst(slot);
    if (received > 0) {
        slot.last_packet = context_.now;
        if (slot.quiet) {
            slot.quiet = false;
            --quiet_count_;
        }
    } else if (!slot.quiet) {
        consider_arming(index);
    }
    return received;
}

// One burst of each kStageSampling, and never at the same place among them twice in a row: where
// queues take turns, each has its share of what is measured.
bool Worker::measures_next_burst() const {
    if (!stage_cycles_) return false;
    const uint64_t burst = context_.counters->worker.bursts.get();
    const auto turn = static_cast<uint32_t>(burst / kStageSampling);
    return burst % kStageSampling ==
           turn * kGoldenRatio >> (32 - std::bit_width(kStageSampling - 1));
}

unsigned Worker::receive_burst(Slot& slot) {
    return measures_next_burst() ? receive_burst_as<true>(slot) : receive_burst_as<false>(slot);
}

template <bool kMeasured>
inline unsigned Worker::receive_burst_as(Slot& slot) {
    [[maybe_unused]] const uint64_t start = kMeasured ? rte_rdtsc() : 0;
    RxQueue& queue = *slot.queue;
    const uint16_t n = queue.receive(queue, burst_.packets.data(), kBurstSize);
    if (n == 0) return 0;
    const PortConfig* in = ports_[queue.port.value()];
    if (in == nullptr) [[unlikely]] {
        drop_of_gone_port(queue.port, n);
        return n;
    }
    if (context_.capture_count != 0) context_.now = rte_rdtsc();  // its packets show it
    if (in->vlans != nullptr) [[unlikely]] {
        run_by_vlan(*in, n);
    } else {
        burst_.in = in;
        burst_.live = n == 32 ? UINT32_MAX : (1u << n) - 1;
        if constexpr (kMeasured) {
            run_measured_pipeline(context_, burst_, start);
        } else {
            run_pipeline(context_, burst_);
        }
    }
    context_.counters->worker.packets.add(n);
    context_.counters->worker.bursts.add(1);
    return n;
}

// The first `n` packets of the burst, of a port that is being taken away.
void Worker::drop_of_gone_port(PortId port, uint16_t n) {
    PortCounters& counters = context_.port_counters(port);
    counters.rx_packets.add(n);
    counters.drops[static_cast<size_t>(DropReason::kPortGone)].add(n);
    rte_pktmbuf_free_bulk(burst_.packets.data(), n);
}

// A burst for each port. Its stages are not measured.
void Worker::run_by_vlan(const PortConfig& uplink, uint16_t n) {
    VlanSplit split(uplink, burst_.packets.data(), n);
    while (!split.empty()) {
        PortId port;
        const uint16_t count = split.take(port, burst_.packets.data());
        burst_.in = ports_[port.value()];
        burst_.live = count == 32 ? UINT32_MAX : (1u << count) - 1;
        if (burst_.in == nullptr) {
            drop_of_gone_port(port, count);
        } else {
            run_pipeline(context_, burst_);
        }
    }
}

// Called for a polled queue that gave nothing.
void Worker::consider_arming(uint32_t index) {
    Slot& slot = slots_[index];
    const uint64_t quiet_after = busy_ ? kQuietAfterBusyUs : kQuietAfterUs;
    if (context_.now - slot.last_packet < quiet_after * (context_.tsc_hz / 1'000'000)) return;
    RxQueue& queue = *slot.queue;
    if (queue.wake_fd < 0) {
        slot.quiet = true;  // stays on the list; the sleep gets a timer
        ++quiet_count_;
        return;
    }
    queue.arm(queue);
    // A packet that came before the request took effect signals nothing: look once more.
    if (receive_burst(slot) > 0) {
        queue.disarm(queue);
        slot.last_packet = context_.now;
        return;
    }
    leave_polled(index);
    slot.state = SlotState::kArmed;
    ++armed_count_;
    epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.u32 = index}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, queue.wake_fd, &event);
}

// REQUIRES: the slot is armed.
void Worker::start_polling(uint32_t index) {
    Slot& slot = slots_[index];
    --armed_count_;
    slot.state = SlotState::kPolled;
    slot.position = polled_count_;
    slot.last_packet = context_.now;
    slot.quiet = false;
    polled_[polled_count_++] = index;
    if (slot.queue->disarm != nullptr) slot.queue->disarm(*slot.queue);
}

void Worker::leave_polled(uint32_t index) {
    Slot& slot = slots_[index];
    if (slot.quiet) --quiet_count_;
    const uint32_t last = polled_[--polled_count_];
    polled_[slot.position] = last;
    slots_[last].position = slot.position;
}

void Worker::collect_wakeups(int timeout_ms) {
    epoll_event events[kWakeupBatch];
    const int n = epoll_wait(epoll_, events, kWakeupBatch, timeout_ms);
    for (int i = 0; i < n; ++i) {
        const uint32_t index = events[i].data.u32;
        if (index == kDoorbellTag) {
            drain_eventfd(doorbell_);
        } else if (slots_[index].state == SlotState::kArmed) {
            start_polling(index);
        }
    }
}

// Every queue is armed, or is quiet and has no interrupt.
void Worker::sleep() {
    if (!ring_.announce_sleep()) return;
    const unsigned id = context_.id.value();
    const uint64_t before = rte_rdtsc();
    rte_rcu_qsbr_thread_offline(quiescent_, id);
    if (!stopping_.load(std::memory_order_acquire)) collect_wakeups(sleep_limit_ms());
    rte_rcu_qsbr_thread_online(quiescent_, id);
    ring_.announce_awake();
    // The ring comes first: a command sent before a packet holds for that packet.
    context_.now = rte_rdtsc();
    last_wakeup_check_ = context_.now;
    context_.counters->worker.sleeps.add(1);
    context_.counters->worker.sleep_cycles.add(context_.now - before);
    loop_start_ = context_.now;
}

void Worker::ring_control() {
    context_.doorbell_due = false;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(context_.control_doorbell, &one, sizeof one);
}

void Worker::account(uint64_t now, bool moved) {
    WorkerCounters& counters = context_.counters->worker;
    counters.loops.add(1);
    (moved ? counters.busy_cycles : counters.idle_cycles).add(now - loop_start_);
    loop_start_ = now;
}

}  // namespace slash32
