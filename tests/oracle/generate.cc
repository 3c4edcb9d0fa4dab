// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/generate.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace slash32::test {
namespace {

bool chance(Random& random, unsigned percent) {
    return random() % 100 < percent;
}
template <size_t N>
const char* pick(Random& random, const char* const (&from)[N]) {
    return from[random() % N];
}
const char* arrow(bool forward) {
    return forward ? "> " : "< ";
}
const char* kErrors[] = {"unreachable", "time_exceeded", "too_big"};

std::string error(Random& random, bool forward) {
    static const char* const kHow[] = {"", "", " forged", " cut"};
    return std::string(arrow(forward)) + "error " + kErrors[random() % std::size(kErrors)] +
           pick(random, kHow);
}

// A connection of two ends that both keep to RFC 9293, until noise comes in.
class TcpWalk {
  public:
    explicit TcpWalk(Random& random) : random_(random) {
        for (End& end : ends_) {
            // Also over the end of the sequence space.
            end.next = chance(random, 10) ? UINT32_MAX - random() % 3000 : random() % 100000;
            end.window = chance(random, 20) ? random() % 2000 : 10000 + random() % 50000;
            end.scale = chance(random, 50) ? static_cast<int>(random() % 8) : -1;
        }
        if (chance(random, 10)) phase_ = Phase::kOpen;  // picked up in its middle
    }

    std::vector<std::string> run(size_t length, unsigned noise) {
        while (steps_.size() < length)
            chance(random_, noise) ? disturb() : proceed();
        return std::move(steps_);
    }

  private:
    enum class Phase { kSyn, kSynAck, kAck, kOpen };
    struct End {
        uint32_t next = 0;   // what it sends next
        uint32_t heard = 0;  // the other's next that it has acknowledged
        uint32_t window = 0;
        int scale = -1;
        bool closed = false;
    };

    void say(bool forward, const std::string& flags, uint32_t seq, uint32_t ack, uint32_t length,
             uint32_t window) {
        steps_.push_back(std::string(arrow(forward)) + flags + " " + std::to_string(seq) + "," +
                         std::to_string(ack) + "," + std::to_string(length) + "," +
                         std::to_string(window));
    }
    std::string syn(const char* flags, const End& end) {
        return std::string(flags) + (end.scale < 0 ? "" : "/" + std::to_string(end.scale));
    }

    // What comes next if all goes well.
    void proceed() {
        End& client = ends_[0];
        End& server = ends_[1];
        switch (phase_) {
            case Phase::kSyn:
                say(true, syn("S", client), client.next, 0, 0, client.window);
                ++client.next;
                phase_ = Phase::kSynAck;
                return;
            case Phase::kSynAck:
                server.heard = client.next;
                say(false, syn("SA", server), server.next, server.heard, 0, server.window);
                ++server.next;
                phase_ = Phase::kAck;
                return;
            case Phase::kAck:
                client.heard = server.next;
                say(true, "A", client.next, client.heard, 0, client.window);
                phase_ = Phase::kOpen;
                return;
            case Phase::kOpen:
                converse();
        }
    }
    void converse() {
        const bool forward = chance(random_, 50);
        End& own = ends_[forward ? 0 : 1];
        End& other = ends_[forward ? 1 : 0];
        if (chance(random_, 60)) own.heard = other.next;
        const uint32_t length = own.closed || chance(random_, 40) ? 0 : random_() % 1000;
        const bool fin = !own.closed && chance(random_, 10);
        if (chance(random_, 3)) return say(forward, "RA", own.next, own.heard, 0, 0);
        say(forward,
            fin           ? "FA"
            : length != 0 ? "PA"
                          : "A",
            own.next, own.heard, length, own.window);
        own.next += length + (fin ? 1 : 0);
        own.closed = own.closed || fin;
        if (own.closed && other.closed && own.heard == other.next && chance(random_, 30))
            phase_ = Phase::kSyn;  // the same tuple again
    }

    void disturb() {
        const bool forward = chance(random_, 50);
        if (!steps_.empty() && chance(random_, 30)) {
            steps_.push_back(steps_[random_() % steps_.size()]);
            return;
        }
        const std::string prefix = arrow(!forward);
        const bool heard = std::any_of(steps_.begin(), steps_.end(), [&](const std::string& step) {
            return step.rfind(prefix, 0) == 0;
        });
        if (heard && chance(random_, 10)) return steps_.push_back(error(random_, forward));
        static const char* const kFlags[] = {
            "S", "SA", "A",  "PA", "FA", "R",  "RA",  "R",    "S",   "A",   "SA", "F", "SF",
            "-", "P",  "SR", "FR", "UA", "SU", "FUA", "FPUA", "SRA", "SFA", "RP", "AU"};
        const bool odd = chance(random_, 15);
        const char* flags = odd ? pick(random_, kFlags) : kFlags[random_() % 11];
        const End& own = ends_[forward ? 0 : 1];
        const End& other = ends_[forward ? 1 : 0];
        say(forward, flags, near(own.next, other.window), near(other.next, own.window),
            chance(random_, 30) ? random_() % 1000 : 0,
            chance(random_, 80) ? own.window : random_() % UINT16_MAX);
    }
    // At, just beside, or far from a number.
    uint32_t near(uint32_t number, uint32_t window) {
        const uint32_t steps[] = {0,          0,      0,          1,         10,
                                  window - 1, window, window + 1, 66000,     66001,
                                  70000,      500,    random_(),  1u << 30u, 0};
        const uint32_t step = steps[random_() % std::size(steps)];
        return chance(random_, 50) ? number + step : number - step;
    }

    Random& random_;
    End ends_[2];
    Phase phase_ = Phase::kSyn;
    std::vector<std::string> steps_;
};

std::vector<std::string> sctp_walk(Random& random, size_t length) {
    static const char* const kChunks[] = {"init",  "init_ack", "cookie_echo",  "cookie_ack",
                                          "data",  "sack",     "heartbeat",    "heartbeat_ack",
                                          "abort", "shutdown", "shutdown_ack", "shutdown_complete",
                                          "error"};
    // The client's tag is 11, the server's 22: each end is called by its own.
    std::vector<std::string> proper = {"> sctp init 0,11", "< sctp init_ack 11,22",
                                       "> sctp cookie_echo 22", "< sctp cookie_ack 11"};
    std::vector<std::string> steps;
    size_t next = 0;
    while (steps.size() < length) {
        if (next < proper.size() && chance(random, 80)) {
            steps.push_back(proper[next++]);
            continue;
        }
        const bool forward = chance(random, 50);
        const std::string chunk = pick(random, kChunks);
        uint32_t tag = forward ? 22 : 11;
        if (chunk == "init") tag = 0;
        if (chance(random, 10)) tag = std::array<uint32_t, 4>{0, 11, 22, 33}[random() % 4];
        steps.push_back(std::string(arrow(forward)) + "sctp " + chunk + " " + std::to_string(tag) +
                        "," + std::to_string(forward ? 11 : 22));
    }
    return steps;
}

// No connections: queries and answers, datagrams, and errors about them.
std::vector<std::string> datagram_walk(Random& random, size_t length) {
    static const char* const kKinds[] = {"udp", "udp", "echo 1", "echo 2", "reply 1", "reply 2"};
    std::vector<std::string> steps;
    bool sent[2] = {false, false};
    while (steps.size() < length) {
        const bool forward = chance(random, 50);
        if (sent[forward ? 1 : 0] && chance(random, 25)) {
            steps.push_back(error(random, forward));
            continue;
        }
        steps.push_back(std::string(arrow(forward)) + pick(random, kKinds));
        sent[forward ? 0 : 1] = true;
    }
    return steps;
}

}  // namespace

Sequence generate(Random& random) {
    const size_t length = 3 + random() % 22;
    const unsigned kind = random() % 10;
    if (kind == 0) return {.name = "datagrams", .steps = datagram_walk(random, length)};
    if (kind == 1) return {.name = "SCTP", .steps = sctp_walk(random, length)};
    const unsigned noise[] = {0, 5, 15, 30, 60};
    const unsigned level = noise[random() % std::size(noise)];
    return {.name = "TCP, noise " + std::to_string(level),
            .steps = TcpWalk(random).run(length, level)};
}

}  // namespace slash32::test
