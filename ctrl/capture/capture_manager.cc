// SPDX-License-Identifier: Apache-2.0
#include "ctrl/capture/capture_manager.h"

#include <fmt/format.h>
#include <pcap/pcap.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <chrono>
#include <string_view>

namespace slash32 {
namespace {

// A notification with more would stand in the way of replies.
constexpr size_t kPacketsPerNotification = 64;

std::string base64(const uint8_t* data, size_t size) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((size + 2) / 3 * 4);
    for (size_t i = 0; i < size; i += 3) {
        const size_t have = std::min<size_t>(3, size - i);
        uint32_t group = 0;
        for (size_t k = 0; k < 3; ++k)
            group = group << 8 | (k < have ? data[i + k] : 0u);
        for (size_t k = 0; k < 4; ++k)
            text += k <= have ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
    return text;
}

// TSC stamps to time since 1970, by the clocks now: captures are read within milliseconds.
int64_t unix_ns(uint64_t tsc) {
    using namespace std::chrono;
    const auto now = duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
    const auto age = static_cast<double>(rte_rdtsc() - tsc) / static_cast<double>(rte_get_tsc_hz());
    return now - static_cast<int64_t>(age * 1e9);
}

uint8_t direction_bits(CaptureQuery::Direction direction) {
    constexpr auto kIn = static_cast<uint8_t>(CaptureDirection::kIn);
    constexpr auto kOut = static_cast<uint8_t>(CaptureDirection::kOut);
    switch (direction) {
        case CaptureQuery::Direction::kIn:
            return kIn;
        case CaptureQuery::Direction::kOut:
            return kOut;
        case CaptureQuery::Direction::kBoth:
            return kIn | kOut;
        case CaptureQuery::Direction::kDropped:
            break;
    }
    return static_cast<uint8_t>(CaptureDirection::kDropped);
}

struct PcapHandle {
    pcap_t* pcap;
    explicit PcapHandle(int snap) : pcap(pcap_open_dead(DLT_EN10MB, snap)) {}
    PcapHandle(const PcapHandle&) = delete;
    PcapHandle& operator=(const PcapHandle&) = delete;
    ~PcapHandle() { pcap_close(pcap); }
};

}  // namespace

struct CaptureManager::Running {
    Running() = default;
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() { pcap_freecode(&program); }

    uint64_t number = 0;
    rpc::Session* session = nullptr;  // nullptr once its connection has gone
    uint64_t session_id = 0;
    bpf_program program{};
    Capture capture;
    rpc::Json pending = rpc::Json::array();
    uint64_t packets_max = 0;
    uint64_t packets = 0;       // given to the client
    uint64_t lost_pending = 0;  // that the client did not take
    uint64_t lost() const { return lost_pending + capture.missed.load(std::memory_order_relaxed); }
};

CaptureManager::CaptureManager(Publisher& publisher) : publisher_(publisher) {}

CaptureManager::~CaptureManager() = default;

Result<uint64_t> CaptureManager::start(rpc::Session& session, const CaptureQuery& query) {
    if (by_port_.contains(query.port))
        return fail(ErrorCode::kConflict, "port", "the port is already being captured");
    auto running = std::make_unique<Running>();
    if (!query.filter.empty()) {
        const PcapHandle handle(static_cast<int>(query.snap_bytes));
        if (pcap_compile(handle.pcap, &running->program, query.filter.c_str(), 1,
                         PCAP_NETMASK_UNKNOWN) != 0)
            return fail(ErrorCode::kInvalid, "filter",
                        fmt::format("not a tcpdump expression: {}", pcap_geterr(handle.pcap)));
        running->capture.filter = running->program.bf_insns;
    }
    const uint64_t number = next_number_++;
    running->number = number;
    running->session = &session;
    running->session_id = session.id();
    running->packets_max = query.packets_max;
    running->capture.port = query.port;
    running->capture.directions = direction_bits(query.direction);
    running->capture.snap_length = query.snap_bytes;
    publisher_.broadcast(Command::set_capture(query.port, &running->capture));
    by_port_[query.port] = number;
    running_[number] = std::move(running);
    session.on_close([this, number] {
        if (const auto found = running_.find(number); found != running_.end()) {
            found->second->session = nullptr;
            finish(number);
        }
    });
    return number;
}

Result<CaptureService::Totals> CaptureManager::stop(const rpc::Session& session, uint64_t number) {
    const auto found = running_.find(number);
    if (found == running_.end() || found->second->session_id != session.id())
        return fail(ErrorCode::kNotFound, "capture", "there is no such capture");
    flush();
    // flush() may have ended it at its limit.
    const auto still = running_.find(number);
    if (still == running_.end()) return Totals{};
    const Totals totals{still->second->packets, still->second->lost()};
    finish(number);
    return totals;
}

void CaptureManager::end_port(PortId port) {
    const auto found = by_port_.find(port);
    if (found == by_port_.end()) return;
    const uint64_t number = found->second;
    send(*running_.at(number), true);
    finish(number);
}

// The object itself goes when no worker can be writing to it any more.
void CaptureManager::finish(uint64_t number) {
    auto node = running_.extract(number);
    const std::shared_ptr<Running> running = std::move(node.mapped());
    by_port_.erase(running->capture.port);
    publisher_.broadcast(Command::set_capture(running->capture.port, nullptr));
    publisher_.when_acknowledged([running] {});
}

void CaptureManager::take(rte_mbuf& copy) {
    const auto& info = *static_cast<const PuntInfo*>(rte_mbuf_to_priv(&copy));
    const auto found = by_port_.find(info.port);
    if (found == by_port_.end()) return;  // of a capture that has ended
    Running& running = *running_.at(found->second);
    if (running.packets_max > 0 && running.packets + running.pending.size() >= running.packets_max)
        return;
    rpc::Json packet = {
        {"time_ns", unix_ns(info.tsc)},
        {"direction", info.direction == CaptureDirection::kOut ? "out" : "in"},
        {"length", info.original_length},
        {"data", base64(rte_pktmbuf_mtod(&copy, const uint8_t*), rte_pktmbuf_data_len(&copy))}};
    if (info.direction == CaptureDirection::kDropped)
        packet["reason"] = drop_reason_name(info.drop_reason);
    running.pending.push_back(std::move(packet));
    if (running.pending.size() >= kPacketsPerNotification) send(running, false);
}

void CaptureManager::flush() {
    std::vector<uint64_t> ended;
    for (const auto& [number, running] : running_) {
        const bool full = running->packets_max > 0 &&
                          running->packets + running->pending.size() >= running->packets_max;
        if (full || !running->pending.empty()) send(*running, full);
        if (full) ended.push_back(number);
    }
    for (const uint64_t number : ended)
        finish(number);
}

void CaptureManager::send(Running& running, bool ended) {
    if (running.session == nullptr) return;
    const size_t count = running.pending.size();
    rpc::Json params = {{"capture", running.number},
                        {"lost", running.lost()},
                        {"packets", std::exchange(running.pending, rpc::Json::array())}};
    if (ended) params["ended"] = true;
    if (running.session->notify(rpc::make_notification("capture.packets", params)))
        running.packets += count;
    else
        running.lost_pending += count;
}

}  // namespace slash32
