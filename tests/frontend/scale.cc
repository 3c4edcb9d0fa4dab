// SPDX-License-Identifier: Apache-2.0
// s32-frontend scale: many ports, each sending to another, every packet accounted for.
//
// A round sends a number of probes from every port and ends when all have arrived or nothing has
// for a while. Commands on standard input: "go" (a round), "probe" (each port sends until its
// target has heard it: how soon is everyone served), "flood SECONDS" (as fast as it goes, for
// rates), "quit". The backend may die and come back between and during all of them.
#include "dp/base/assert.h"
#include "tests/frontend/fleet.h"

#include <algorithm>
#include <sstream>

namespace slash32::frontend {

namespace {

class Scale {
  public:
    Scale(const ToolOptions& tool, const ScaleOptions& options)
        : options_(options), fleet_(tool), commands_(fleet_.loop()), flows_(options.count) {}

    int run();

  private:
    // What port i sends, and what has arrived of it.
    struct Flow {
        uint32_t sent = 0;
        uint32_t arrived = 0;  // different ones
        std::vector<bool> seen;
        uint64_t first_arrival_ns = 0;
    };

    uint32_t target_of(uint32_t i) const {
        return options_.pattern == "pairs" ? i ^ 1 : (i + 1) % options_.count;
    }
    uint32_t senders() const {
        return options_.active == 0 ? options_.count : std::min(options_.active, options_.count);
    }
    void begin(uint32_t packets);
    void receive(size_t i);
    bool send_one(uint32_t i);
    bool round();
    void probe();
    void flood(double seconds);

    ScaleOptions options_;
    Fleet fleet_;
    CommandReader commands_;
    std::vector<Flow> flows_;
    std::vector<uint8_t> frame_;
    uint16_t run_ = 0;
    bool counting_only_ = false;
    uint64_t counted_ = 0;
    uint64_t received_ = 0;
    uint64_t duplicated_ = 0;
    uint64_t stale_ = 0;  // probes of an earlier run
    uint64_t other_ = 0;  // no probes, or damaged ones
    uint64_t misrouted_ = 0;
    uint64_t last_arrival_ns_ = 0;
};

void Scale::begin(uint32_t packets) {
    for (size_t i = 0; i < fleet_.size(); i++)
        receive(i);  // leftovers count for the run before
    run_++;
    for (Flow& flow : flows_) {
        flow = Flow();
        flow.seen.assign(packets, false);
    }
    received_ = duplicated_ = stale_ = other_ = misrouted_ = last_arrival_ns_ = 0;
}

void Scale::receive(size_t i) {
    if (!fleet_.at(i).ready()) return;
    fleet_.at(i).receive_all(
        [&](const RxFrame& frame) {
            if (counting_only_) {
                counted_++;
                return;
            }
            const auto probe = parse_probe(frame.data);
            if (!probe) {
                other_++;
                return;
            }
            if (probe->run != run_) {
                stale_++;
                return;
            }
            if (probe->target != i || probe->source >= flows_.size()) {
                misrouted_++;
                return;
            }
            received_++;
            Flow& flow = flows_[probe->source];
            if (probe->sequence >= flow.seen.size() || flow.seen[probe->sequence]) {
                duplicated_++;
                return;
            }
            flow.seen[probe->sequence] = true;
            flow.arrived++;
            last_arrival_ns_ = now_ns();
            if (flow.first_arrival_ns == 0) flow.first_arrival_ns = last_arrival_ns_;
        },
        counting_only_ ? 256 : SIZE_MAX);
}

bool Scale::send_one(uint32_t i) {
    Flow& flow = flows_[i];
    const Probe probe{run_, static_cast<uint16_t>(i), static_cast<uint16_t>(target_of(i)),
                      flow.sent, now_ns()};
    build_probe(probe, fleet_.options().gateway, options_.bytes, frame_);
    Frontend& port = fleet_.at(i);
    if (!port.send(frame_, {}, static_cast<uint16_t>(flow.sent % port.queue_pairs()))) return false;
    flow.sent++;
    return true;
}

bool Scale::round() {
    if (!fleet_.wait_ready()) return false;
    begin(options_.packets);
    const uint64_t start = now_ns();
    uint64_t progress = start;
    uint64_t arrived_before = 0;
    uint64_t sent = 0;
    const uint64_t wanted = uint64_t{senders()} * options_.packets;
    for (;;) {
        uint64_t arrived = 0;
        bool pushed = false;
        for (uint32_t i = 0; i < senders(); i++) {
            Flow& flow = flows_[i];
            arrived += flow.arrived;
            while (flow.sent < options_.packets && flow.sent - flow.arrived < options_.window) {
                if (!send_one(i)) break;
                sent++;
                pushed = true;
            }
        }
        if (arrived == wanted) break;
        if (pushed || arrived != arrived_before) progress = now_ns();
        arrived_before = arrived;
        if (now_ns() - progress > options_.timeout_ms * 1'000'000) break;
        fleet_.loop().run_once(pushed ? 0 : 5);
    }
    const uint64_t took = now_ns() - start;
    fleet_.loop().run_until(50, [] { return false; });  // a duplicate would come now
    uint64_t arrived = 0;
    size_t incomplete = 0;
    nlohmann::json examples = nlohmann::json::array();
    for (uint32_t i = 0; i < senders(); i++) {
        arrived += flows_[i].arrived;
        if (flows_[i].arrived == options_.packets) continue;
        incomplete++;
        if (examples.size() < 10) {
            examples.push_back({{"source", i},
                                {"target", target_of(i)},
                                {"sent", flows_[i].sent},
                                {"arrived", flows_[i].arrived}});
        }
    }
    const bool ok = arrived == wanted && duplicated_ == 0 && misrouted_ == 0;
    emit({{"event", "round"},
          {"run", run_},
          {"ok", ok},
          {"ports", options_.count},
          {"sent", sent},
          {"arrived", arrived},
          {"lost", sent - arrived},
          {"unsent", wanted - sent},
          {"duplicated", duplicated_},
          {"misrouted", misrouted_},
          {"stale", stale_},
          {"other", other_},
          {"incomplete_ports", incomplete},
          {"incomplete", examples},
          {"took_ms", static_cast<double>(took) / 1e6},
          {"pps", static_cast<double>(arrived) * 1e9 / static_cast<double>(took)}});
    return ok;
}

// Every port sends every 20 ms until its target has heard it.
void Scale::probe() {
    begin(65536);
    const uint64_t start = now_ns();
    uint64_t next_send = start;
    size_t served = 0;
    const auto all = [&] {
        served = static_cast<size_t>(std::count_if(flows_.begin(), flows_.begin() + senders(),
                                                   [](const Flow& f) { return f.arrived != 0; }));
        return served == senders();
    };
    while (!all() && now_ns() - start < fleet_.options().wait_ms * 1'000'000) {
        if (now_ns() >= next_send) {
            next_send = now_ns() + 20'000'000;
            for (uint32_t i = 0; i < senders(); i++) {
                Frontend& port = fleet_.at(i);
                if (flows_[i].arrived != 0 || !port.ready()) continue;
                // What waits in the ring already is enough of a probe.
                if (port.tx().ring().in_flight() < 4 && flows_[i].sent < 65536) send_one(i);
            }
        }
        fleet_.loop().run_once(2);
    }
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;
    nlohmann::json unserved = nlohmann::json::array();
    for (uint32_t i = 0; i < senders(); i++) {
        const uint64_t at = flows_[i].first_arrival_ns;
        if (at == 0) {
            if (unserved.size() < 10) unserved.push_back(i);
            continue;
        }
        first = std::min(first, at);
        last = std::max(last, at);
    }
    emit({{"event", "probe"},
          {"ok", served == senders()},
          {"started_ns", start},
          {"served", served},
          {"ports", senders()},
          {"first_ns", served == 0 ? 0 : first},
          {"last_ns", last},
          {"unserved", unserved}});
}

void Scale::flood(double seconds) {
    if (!fleet_.wait_ready()) return;
    begin(0);
    // 32 frames a port, built once.
    std::vector<std::vector<std::vector<uint8_t>>> frames(senders());
    std::vector<std::vector<TxFrame>> bursts(senders());
    for (uint32_t i = 0; i < senders(); i++) {
        frames[i].resize(32);
        for (uint32_t k = 0; k < 32; k++) {
            build_probe({run_, static_cast<uint16_t>(i), static_cast<uint16_t>(target_of(i)), k, 0},
                        fleet_.options().gateway, options_.bytes, frames[i][k]);
            bursts[i].push_back({frames[i][k], {}});
        }
        fleet_.at(target_of(i)).set_polling(true);
    }
    counting_only_ = true;
    counted_ = 0;
    uint64_t sent = 0;
    const uint64_t start = now_ns();
    const uint64_t end = start + static_cast<uint64_t>(seconds * 1e9);
    uint64_t turns = 0;
    while (now_ns() < end) {
        for (uint32_t i = 0; i < senders(); i++) {
            sent += fleet_.at(i).send(bursts[i]);
            receive(target_of(i));
        }
        if (++turns % 256 == 0) fleet_.loop().run_once(0);
    }
    const uint64_t took = now_ns() - start;
    emit({{"event", "flood"},
          {"sent", sent},
          {"received", counted_},
          {"seconds", static_cast<double>(took) / 1e9},
          {"pps", static_cast<double>(counted_) * 1e9 / static_cast<double>(took)}});
    fleet_.loop().run_until(50, [] { return false; });
    for (uint32_t i = 0; i < senders(); i++) {
        fleet_.at(target_of(i)).set_polling(false);
        receive(target_of(i));
    }
    counting_only_ = false;
}

int Scale::run() {
    std::vector<uint32_t> ports(options_.count);
    for (uint32_t i = 0; i < options_.count; i++)
        ports[i] = i;
    fleet_.on_receive = [this](size_t i) { receive(i); };
    if (!fleet_.open(ports)) return 1;
    emit({{"event", "listening"}, {"ports", options_.count}});
    if (!fleet_.wait_ready()) return 1;
    bool ok = true;
    if (!options_.manual) {
        probe();  // a backend may enable its ports one by one: what comes too early is lost
        ok = round();
    }
    for (;;) {
        fleet_.loop().run_until(1000, [this] { return commands_.has_command(); });
        if (!commands_.has_command()) continue;
        std::istringstream line(commands_.take());
        std::string word;
        line >> word;
        if (word == "quit") return ok ? 0 : 1;
        if (word == "go") {
            ok = round() && ok;
        } else if (word == "probe") {
            probe();
        } else if (word == "flood") {
            double seconds = 1;
            line >> seconds;
            flood(seconds);
        } else {
            emit({{"event", "error"}, {"message", "unknown command: " + word}});
        }
    }
}

}  // namespace

int run_scale(const ToolOptions& tool, const ScaleOptions& options) {
    return Scale(tool, options).run();
}

}  // namespace slash32::frontend
