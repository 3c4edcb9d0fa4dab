// SPDX-License-Identifier: Apache-2.0
// s32-frontend stream: one port sends to another at a set rate, and every gap is measured.
//
// Meant to run while something happens to the daemon or to other ports. What is sent while no
// backend is there waits in the ring until it is full, and is then counted as blocked, not as sent.
// Commands: "report" (so far), "mark" (report, and start the gap measurement anew), "quit".
#include "tests/frontend/fleet.h"

#include <algorithm>

namespace slash32::frontend {

namespace {

class Stream {
  public:
    Stream(const ToolOptions& tool, const StreamOptions& options)
        : options_(options), fleet_(tool), commands_(fleet_.loop()) {}

    int run();

  private:
    void receive();
    void send_due();
    void report(const char* event);

    StreamOptions options_;
    Fleet fleet_;
    CommandReader commands_;
    std::vector<uint8_t> frame_;
    std::vector<bool> seen_;
    uint64_t started_ns_ = 0;
    uint64_t due_ = 0;  // frames that the rate has asked for
    uint64_t sent_ = 0;
    uint64_t blocked_ = 0;
    uint64_t arrived_ = 0;  // different ones
    uint64_t duplicated_ = 0;
    uint64_t reordered_ = 0;
    uint64_t other_ = 0;
    uint64_t highest_ = 0;
    uint64_t last_ns_ = 0;  // of the last arrival
    uint64_t gap_ns_ = 0;
    uint64_t gap_start_ns_ = 0;
    uint64_t latency_max_ns_ = 0;
    uint64_t resumed_for_ = 0;  // the running_at_ns of the pair that was reported
};

void Stream::receive() {
    fleet_.at(1).receive_all([this](const RxFrame& frame) {
        const auto probe = parse_probe(frame.data);
        if (!probe || probe->source != options_.from || probe->target != options_.to) {
            other_++;
            return;
        }
        const uint64_t now = now_ns();
        if (last_ns_ != 0 && now - last_ns_ > gap_ns_) {
            gap_ns_ = now - last_ns_;
            gap_start_ns_ = last_ns_;
        }
        last_ns_ = now;
        if (probe->sent_ns <= now)
            latency_max_ns_ = std::max(latency_max_ns_, now - probe->sent_ns);
        if (probe->sequence >= seen_.size() || seen_[probe->sequence]) {
            duplicated_++;
        } else {
            seen_[probe->sequence] = true;
            arrived_++;
        }
        if (probe->sequence < highest_) reordered_++;
        highest_ = std::max<uint64_t>(highest_, probe->sequence);
        if (!fleet_.ready()) return;
        const uint64_t runs = std::max(fleet_.at(0).running_at_ns(), fleet_.at(1).running_at_ns());
        if (runs == resumed_for_) return;
        resumed_for_ = runs;
        const uint64_t connected =
            std::max(fleet_.at(0).connected_at_ns(), fleet_.at(1).connected_at_ns());
        emit({{"event", "served"},
              {"mono_ns", now},
              {"connected_ns", connected},
              {"running_ns", runs},
              {"after_connect_ms", static_cast<double>(now - connected) / 1e6},
              {"after_running_ms", static_cast<double>(now - runs) / 1e6}});
    });
}

void Stream::send_due() {
    const double elapsed_s = static_cast<double>(now_ns() - started_ns_) / 1e9;
    const uint64_t due = static_cast<uint64_t>(elapsed_s * options_.rate);
    while (due_ < due) {
        due_++;
        build_probe({1, static_cast<uint16_t>(options_.from), static_cast<uint16_t>(options_.to),
                     static_cast<uint32_t>(sent_), now_ns()},
                    fleet_.options().gateway, options_.bytes, frame_);
        if (fleet_.at(0).send(frame_)) {
            sent_++;
            seen_.push_back(false);
        } else {
            blocked_++;
        }
    }
}

void Stream::report(const char* event) {
    // A gap that has not ended yet counts as far as it goes.
    const uint64_t open_gap = last_ns_ != 0 && fleet_.at(1).ready() ? now_ns() - last_ns_ : 0;
    const uint64_t waiting = fleet_.at(0).tx().ring().in_flight();
    emit({{"event", event},
          {"sent", sent_},
          {"arrived", arrived_},
          {"waiting", waiting},
          {"lost", sent_ - std::min(sent_, arrived_ + waiting)},
          {"blocked", blocked_},
          {"duplicated", duplicated_},
          {"reordered", reordered_},
          {"other", other_},
          {"longest_gap_ms", static_cast<double>(std::max(gap_ns_, open_gap)) / 1e6},
          {"gap_start_ns", open_gap > gap_ns_ ? last_ns_ : gap_start_ns_},
          {"max_latency_ms", static_cast<double>(latency_max_ns_) / 1e6},
          {"connections", fleet_.at(0).connections() + fleet_.at(1).connections()},
          {"malformed", fleet_.at(0).malformed() + fleet_.at(1).malformed()}});
}

int Stream::run() {
    fleet_.on_receive = [this](size_t i) {
        if (i == 1) receive();
    };
    if (!fleet_.open({options_.from, options_.to})) return 1;
    emit({{"event", "listening"}, {"ports", 2}});
    if (!fleet_.wait_ready()) return 1;
    started_ns_ = now_ns();
    bool quit = false;
    while (!quit) {
        send_due();
        fleet_.loop().run_once(1);
        receive();
        if (options_.duration_s > 0) {
            quit = now_ns() - started_ns_ > static_cast<uint64_t>(options_.duration_s * 1e9);
        }
        if (!commands_.has_command()) continue;
        const std::string command = commands_.take();
        if (command == "quit") {
            // With a duration, the end of an empty input does not end the run.
            if (options_.duration_s == 0) quit = true;
        } else if (command == "report") {
            report("report");
        } else if (command == "mark") {
            report("mark");
            gap_ns_ = latency_max_ns_ = 0;
        } else {
            emit({{"event", "error"}, {"message", "unknown command: " + command}});
        }
    }
    const uint64_t gap = gap_ns_;
    fleet_.loop().run_until(200, [this] {
        receive();
        return arrived_ == sent_;
    });
    gap_ns_ = gap;
    if (arrived_ == sent_) last_ns_ = now_ns();  // the end of sending is no gap
    report("final");
    return arrived_ == sent_ && duplicated_ == 0 ? 0 : 1;
}

}  // namespace

int run_stream(const ToolOptions& tool, const StreamOptions& options) {
    return Stream(tool, options).run();
}

}  // namespace slash32::frontend
