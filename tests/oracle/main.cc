// SPDX-License-Identifier: Apache-2.0
// Sends the same packets through the router's pipeline and through this network namespace's kernel,
// and prints where they do not agree. Usage:
//
//   conntrack_oracle [--generate COUNT SEED] [FILE...]
//
// The policy of both: the client (vm1) may begin anything, the server (vm2) may only answer. The
// kernel's is nftables', by `ct state`; tests/e2e/test_conntrack_oracle.py sets it up.
//
// Behind the first packet of a sequence on which they differ, the two know different things, so the
// rest of the sequence is left out. Each difference is a line "difference: KIND", and behind it the
// packets that led to it; the last line counts.
#include "dp/table/track.h"
#include "tests/oracle/generate.h"
#include "tests/oracle/kernel_router.h"
#include "tests/oracle/sequence.h"
#include "tests/support/lab.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace slash32::test {
namespace {

class Oracle {
  public:
    Oracle() {
        const auto both_families = [](PolicyDirection direction) {
            return std::vector{any(direction, Family::kIpv4), any(direction, Family::kIpv6)};
        };
        lab_.set_policy(kVm1, both_families(PolicyDirection::kEgress));
        lab_.set_policy(kVm2, both_families(PolicyDirection::kIngress));
        await_devices();
    }

    void compare(const Sequence& sequence, bool ipv6) {
        ++sequences_;
        Connection connection{ipv6, next_port()};
        std::string history;
        for (const std::string& step : sequence.steps) {
            const bool forward = Connection::is_forward(step);
            const Bytes frame = connection.frame(step);
            const std::string before = state();
            const bool kernel = kernel_.passes(forward, frame);
            const std::string own = outcome(forward, frame);
            ++packets_;
            history.append("  ").append(step).append("   (").append(before).append(")\n");
            if (kernel == (own == "passes")) {
                if (!kernel && misleads(step)) break;
                continue;
            }
            ++differences_;
            std::printf("difference: Linux %s, slash32 %s: %s %s\n  # %s, IPv%d\n%s",
                        kernel ? "passes" : "drops", own.c_str(), before.c_str(),
                        kind_of(step).c_str(), sequence.name.c_str(), ipv6 ? 6 : 4,
                        history.c_str());
            break;
        }
        lab_.end_flows();
    }

    int finish() const {
        std::printf("%zu packets of %zu sequences, %zu differences\n", packets_, sequences_,
                    differences_);
        return packets_ != 0 ? 0 : 1;
    }

  private:
    // The kernel brings a device up some time after it has been taken.
    void await_devices() {
        for (const bool ipv6 : {false, true}) {
            Connection connection{ipv6, next_port()};
            for (const char* step : {"> udp", "< udp"}) {
                const Bytes frame = connection.frame(step);
                for (int tries = 0; !kernel_.passes(Connection::is_forward(step), frame); ++tries) {
                    if (tries == 500) {
                        std::fprintf(stderr, "the kernel does not forward\n");
                        std::exit(1);
                    }
                    usleep(10'000);
                }
            }
            for (const char* step : {"> udp", "< udp"})
                kernel_.set_marker(Connection::is_forward(step), connection.frame(step));
        }
    }

    // Each sequence has a tuple of its own, and two more ICMP identifiers, as the kernel's flows
    // stay.
    uint16_t next_port() {
        if (port_ > UINT16_MAX - 6) {
            std::fprintf(stderr, "more sequences than a namespace has ports for\n");
            std::exit(1);
        }
        return port_ = static_cast<uint16_t>(port_ + 3);
    }

    std::string outcome(bool forward, const Bytes& frame) {
        const RunResult result = lab_.run(forward ? kVm1 : kVm2, frame);
        if (!result.drops.empty())
            return std::string(drop_reason_name(result.drops.begin()->first));
        return result.outputs.size() == 1 ? "passes" : "does nothing";
    }

    // "tcp_established", "none", or several.
    std::string state() {
        const FlowTables& tables = lab_.flow_tables();
        std::string text;
        for (uint32_t i = 0; i < tables.fresh.load(); ++i) {
            if (tables.summaries[i].expires.load() == 0) continue;
            const FlowStatus status = tables.entries[i].first.status.load();
            if (is_over(status.phase)) continue;
            text += (text.empty() ? "" : "+") + name_of(status.state);
        }
        return text.empty() ? "none" : text;
    }
    static std::string name_of(FlowState state) {
        static const std::string kPrefix = "tcp_timeout_";
        std::string name = flow_timeout(state).name;
        return name.rfind(kPrefix, 0) == 0 ? name.substr(kPrefix.size()) : name;
    }

    // Linux takes windows from a SYN ACK, an RST or a FIN that it refuses, and is misled from there
    // on.
    static bool misleads(const std::string& step) {
        const std::string kind = kind_of(step).substr(2);
        if (kind.find_first_not_of("FSRPAU") != std::string::npos) return false;
        return kind.find_first_of("RF") != std::string::npos || kind.find("SA") == 0;
    }

    // The step without its numbers: "< SA".
    static std::string kind_of(const std::string& step) {
        const size_t end = step.find_first_of("/0123456789", 2);
        std::string kind = step.substr(0, end);
        while (!kind.empty() && kind.back() == ' ')
            kind.pop_back();
        return kind;
    }

    Lab lab_;
    KernelRouter kernel_;
    uint16_t port_ = 1024;
    size_t sequences_ = 0;
    size_t packets_ = 0;
    size_t differences_ = 0;
};

int run(int argc, char** argv) {
    Oracle oracle;
    for (int i = 1; i < argc; ++i) {
        if (std::string(argv[i]) != "--generate") {
            for (const Sequence& sequence : read_sequences(argv[i])) {
                oracle.compare(sequence, false);
                if (!sequence.is_recorded()) oracle.compare(sequence, true);
            }
            continue;
        }
        if (i + 2 >= argc) {
            std::fprintf(stderr, "--generate COUNT SEED\n");
            return 2;
        }
        const unsigned long count = std::stoul(argv[++i]);
        Random random{static_cast<uint32_t>(std::stoul(argv[++i]))};
        for (unsigned long n = 0; n < count; ++n)
            oracle.compare(generate(random), n % 2 != 0);
    }
    return oracle.finish();
}

}  // namespace
}  // namespace slash32::test

int main(int argc, char** argv) {
    return slash32::test::run(argc, argv);
}
