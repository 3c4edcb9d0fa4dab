// SPDX-License-Identifier: Apache-2.0
// s32-frontend hostile: runs one attack on a backend and reports what became of it.
//
// Port 0 is hostile, port 1 receives its probes; with three ports, 1 sends to 2 at a steady rate
// all the while. After the attack the case asks: did the backend close the connection; does the
// port still pass packets on it; what reached the witness; and, with port 0 started anew as an
// honest VM, is it served again, and did the others lose anything.
#include "tests/frontend/hostile.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace slash32::frontend {

uint16_t Attack::top(size_t i) const {
    return static_cast<uint16_t>(port.tx().ring().size() - 1 - i);
}

Descriptor Attack::buffer(size_t segment, uint32_t bytes, uint16_t flags, uint16_t next) const {
    // The last segments, which honest sending takes last.
    const uint16_t s = static_cast<uint16_t>(port.tx().ring().size() - 1 - segment);
    return {port.memory().guest_address(port.tx().segment_at(s)), bytes, flags, next};
}

void Attack::publish(uint16_t head) {
    port.tx().ring().stage_unchecked(head);
    port.tx().ring().publish();
    port.kick(1);
}

void Attack::send_chain(std::vector<Descriptor> chain) {
    for (size_t i = 0; i < chain.size(); i++) {
        if ((chain[i].flags & kDescNext) != 0) chain[i].next = top(chain[i].next);
        port.tx().ring().descriptor(top(i)) = chain[i];
    }
    publish(top(0));
}

void Attack::send_header(const NetHeader& header) {
    port.send(frame, header);
}

void Attack::spoil_receive(const std::function<void(uint16_t, Descriptor&)>& change) {
    for (uint16_t i = 0; i < port.rx().ring().size(); i++) {
        change(i, port.rx().ring().descriptor(i));
    }
    attract();
}

void Attack::attract(size_t n) {
    for (size_t i = 0; i < n; i++) {
        while (!witness.send(to_us))
            loop.run_once(1);
        if (i % 16 == 15) loop.run_once(1);
    }
    loop.run_until(50, [] { return false; });
}

void Attack::message(Request request, std::span<const uint8_t> payload, std::span<const int> fds) {
    port.channel().send(request, 0, payload, fds);
}

bool Attack::fresh_connection() {
    port.set_handshake(false);
    port.disconnect();
    const bool open = loop.run_until(3000, [this] { return port.channel().is_open(); });
    connections = port.connections();
    return open;
}

void Attack::pause(uint64_t ms) {
    loop.run_until(ms, [] { return false; });
}

namespace {

class Hostile {
  public:
    Hostile(const ToolOptions& tool, const HostileOptions& options)
        : options_(options), fleet_(tool) {}

    int run();

  private:
    bool run_case(const HostileCase& c);
    // Sends probes 0 → 1 until one arrives.
    bool passes(uint64_t timeout_ms);
    void receive_witness(const RxFrame& frame);
    void stream();
    std::vector<const HostileCase*> cases() const;

    // The steady stream 1 → 2, sent from a tick of the loop, whatever the case is doing.
    class Ticker : public EventLoop::Handler {
      public:
        explicit Ticker(Hostile& owner) : owner_(owner) {}
        void on_event(int, uint32_t) override {}
        void on_tick() override { owner_.stream(); }

      private:
        Hostile& owner_;
    };

    HostileOptions options_;
    Fleet fleet_;
    Ticker ticker_{*this};
    uint32_t sequence_ = 0;
    bool heard_ = false;
    uint32_t waiting_for_ = 0;
    uint64_t at_witness_ = 0;
    nlohmann::json examples_ = nlohmann::json::array();
    uint64_t stream_sent_ = 0;   // the next sequence number
    uint64_t stream_first_ = 0;  // of this case
    uint64_t stream_arrived_ = 0;
    uint64_t stream_due_ns_ = 0;
};

void Hostile::receive_witness(const RxFrame& frame) {
    const auto probe = parse_probe(frame.data);
    if (probe && probe->source == 0 && probe->run == 2 && probe->sequence >= waiting_for_) {
        heard_ = true;
        return;
    }
    at_witness_++;
    if (examples_.size() < 3) {
        examples_.push_back({{"bytes", frame.data.size()},
                             {"flags", frame.header.flags},
                             {"gso_type", frame.header.gso_type},
                             {"gso_bytes", frame.header.gso_bytes},
                             {"csum_start", frame.header.csum_start},
                             {"csum_offset", frame.header.csum_offset},
                             {"probe", probe.has_value()}});
    }
}

void Hostile::stream() {
    if (options_.count < 3 || !fleet_.at(1).ready()) return;
    const uint64_t step = static_cast<uint64_t>(1e9 / options_.rate);
    const uint64_t now = now_ns();
    if (now - stream_due_ns_ > 1'000'000'000) stream_due_ns_ = now;
    std::vector<uint8_t> frame;
    for (; stream_due_ns_ <= now; stream_due_ns_ += step) {
        build_probe({3, 1, 2, static_cast<uint32_t>(stream_sent_), now}, fleet_.options().gateway,
                    100, frame);
        if (!fleet_.at(1).send(frame)) break;
        stream_sent_++;
    }
}

bool Hostile::passes(uint64_t timeout_ms) {
    if (!fleet_.at(0).ready()) return false;
    heard_ = false;
    waiting_for_ = sequence_;
    const uint64_t end = now_ns() + timeout_ms * 1'000'000;
    std::vector<uint8_t> frame;
    while (!heard_ && now_ns() < end) {
        build_probe({2, 0, 1, sequence_++, now_ns()}, fleet_.options().gateway, 100, frame);
        fleet_.at(0).send(frame);
        fleet_.loop().run_until(20, [this] { return heard_; });
    }
    return heard_;
}

bool Hostile::run_case(const HostileCase& c) {
    Frontend& port = fleet_.at(0);
    const auto drain = [](Frontend& f) {
        if (f.ready()) f.receive_all([](const RxFrame&) {});
    };
    const auto saved_call = port.on_call;
    if (!fleet_.wait_ready() || !passes(3000)) {
        emit({{"event", "case"}, {"case", c.name}, {"error", "no traffic before the attack"}});
        return false;
    }
    fleet_.loop().run_until(100, [] { return false; });
    at_witness_ = 0;
    examples_ = nlohmann::json::array();
    stream_first_ = stream_sent_;  // what is under way belongs to the case before
    stream_arrived_ = 0;
    Attack attack{port, fleet_.at(1), fleet_.options(), fleet_.loop(), {}, {}, port.connections()};
    build_probe({1, 0, 1, 0, now_ns()}, fleet_.options().gateway, 120, attack.frame);
    build_probe({1, 1, 0, 0, now_ns()}, fleet_.options().gateway, 120, attack.to_us);
    const uint64_t witness_connections = fleet_.at(1).connections();
    port.set_handshake(false);  // a reconnect is seen, and left alone for now
    c.run(attack);
    fleet_.loop().run_until(options_.observe_ms, [] { return false; });
    const bool closed = port.connections() != attack.connections || !port.channel().is_open();
    const uint64_t reached = at_witness_;
    const nlohmann::json examples = examples_;
    const bool gone = std::strcmp(c.name, "mem-truncated") == 0;  // touching it would be fatal
    const bool serves = !closed && !gone && passes(500);

    const uint64_t restart = now_ns();
    port.close();
    port.set_handshake(true);
    port.on_call = saved_call;
    bool served_again = port.open().has_value();
    served_again = served_again && port.wait_running(6000);
    const uint64_t ran = now_ns();
    served_again = served_again && passes(3000);
    const uint64_t served_ns = now_ns();
    drain(port);
    fleet_.loop().run_until(200,
                            [this] { return stream_arrived_ == stream_sent_ - stream_first_; });
    nlohmann::json result{
        {"event", "case"},
        {"case", c.name},
        {"what", c.what},
        {"backend", attack.left ? "left" : (closed ? "closed" : "stayed")},
        {"still_serves", serves},
        {"reached_witness", reached},
        {"examples", examples},
        {"served_again", served_again},
        {"running_after_ms", static_cast<double>(ran - restart) / 1e6},
        {"served_after_ms", static_cast<double>(served_ns - restart) / 1e6},
        {"witness_reconnected", fleet_.at(1).connections() != witness_connections}};
    if (options_.count == 3) {
        result["stream_sent"] = stream_sent_ - stream_first_;
        result["stream_lost"] = stream_sent_ - stream_first_ - stream_arrived_;
    }
    const bool ok = served_again && fleet_.at(1).connections() == witness_connections &&
                    stream_sent_ - stream_first_ == stream_arrived_;
    result["ok"] = ok;
    emit(result);
    return ok;
}

std::vector<const HostileCase*> Hostile::cases() const {
    std::vector<const HostileCase*> chosen;
    for (const auto table : {ring_cases(), header_cases(), protocol_cases()}) {
        for (const HostileCase& c : table) {
            // "tx-*" and the like choose by prefix; "all" leaves out what no guest can do and no
            // backend without seals survives.
            const std::string& want = options_.name;
            const bool prefix = want.ends_with("*") &&
                                std::string(c.name).starts_with(want.substr(0, want.size() - 1));
            if (want == c.name || want == "list" || prefix ||
                (want == "all" && std::strcmp(c.name, "mem-truncated") != 0)) {
                chosen.push_back(&c);
            }
        }
    }
    return chosen;
}

int Hostile::run() {
    const auto chosen = cases();
    if (options_.name == "list") {
        for (const HostileCase* c : chosen)
            emit({{"case", c->name}, {"what", c->what}});
        return 0;
    }
    if (chosen.empty()) {
        emit({{"event", "error"}, {"message", "no such case: " + options_.name}});
        return 2;
    }
    fleet_.set_quiet(true);
    fleet_.on_receive = [this](size_t i) {
        if (i == 0) fleet_.at(0).receive_all([](const RxFrame&) {});
        if (i == 1) fleet_.at(1).receive_all([this](const RxFrame& f) { receive_witness(f); });
        if (i == 2) {
            fleet_.at(2).receive_all([this](const RxFrame& f) {
                const auto probe = parse_probe(f.data);
                if (probe && probe->run == 3 && probe->sequence >= stream_first_ &&
                    probe->sequence < stream_sent_) {
                    stream_arrived_++;
                }
            });
        }
    };
    std::vector<uint32_t> ports{0, 1};
    if (options_.count == 3) ports.push_back(2);
    if (!fleet_.open(ports)) return 1;
    fleet_.loop().add_ticker(&ticker_);
    bool ok = true;
    for (const HostileCase* c : chosen)
        ok = run_case(*c) && ok;
    fleet_.loop().remove_ticker(&ticker_);
    return ok ? 0 : 1;
}

}  // namespace

int run_hostile(const ToolOptions& tool, const HostileOptions& options) {
    return Hostile(tool, options).run();
}

}  // namespace slash32::frontend
