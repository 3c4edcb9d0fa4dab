// SPDX-License-Identifier: Apache-2.0
// s32-frontend echo, ping and frames: one port as a small IPv4 host, or as a pipe of raw frames.
//
// echo answers ARP for its own address, ICMP echo, and UDP (payload sent back). ping resolves its
// target by ARP (a router answers for everything) and sends ICMP echo requests. frames takes lines
// {"send": HEX, "header": {...}} and prints what it receives in the same form.
#include "tests/frontend/fleet.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace slash32::frontend {

namespace {

using Frame = std::vector<uint8_t>;

constexpr size_t kIcmpAt = 34;
constexpr uint16_t kPingId = 0x5332;

void put16(uint8_t* at, uint16_t host) {
    const Be16 value(host);
    std::memcpy(at, &value, 2);
}
uint16_t get16(const uint8_t* at) {
    return static_cast<uint16_t>(at[0] << 8 | at[1]);
}

class SmallHost {
  public:
    SmallHost(const ToolOptions& tool, const HostOptions& options)
        : options_(options), fleet_(tool), commands_(fleet_.loop()), self_(host_of(options.port)) {}

    bool start();
    int echo();
    int ping();
    int frames();

  private:
    void answer(std::span<const uint8_t> frame);
    void arp_reply(const Frame& request);
    void ip_reply(Frame frame);
    void take_reply(std::span<const uint8_t> frame);
    Frame arp_request() const;
    Frame echo_request(uint16_t sequence) const;
    void send_line(const std::string& line);
    bool is_ours(const uint8_t* ip) const { return std::memcmp(ip, &self_.ip, 4) == 0; }

    HostOptions options_;
    Fleet fleet_;
    CommandReader commands_;
    Host self_;
    Ip4 target_;
    std::optional<Mac> target_mac_;
    std::optional<uint16_t> reply_;  // sequence of the last echo reply
    uint8_t reply_ttl_ = 0;
    uint64_t answered_ = 0;
};

bool SmallHost::start() {
    if (!options_.mac.empty()) {
        const auto mac = parse_mac(options_.mac);
        if (mac) self_.mac = *mac;
    }
    if (!options_.ip.empty()) {
        const auto ip = parse_ip(options_.ip);
        if (ip && ip->is_ipv4()) self_.ip = ip->ipv4();
    }
    return fleet_.open({options_.port}) && fleet_.wait_ready();
}

void SmallHost::arp_reply(const Frame& request) {
    if (get16(&request[20]) != 1 || !is_ours(&request[38])) return;
    Frame reply(request.begin(), request.begin() + 42);
    std::memcpy(&reply[0], &request[6], 6);
    std::memcpy(&reply[6], self_.mac.bytes.data(), 6);
    put16(&reply[20], 2);
    std::memcpy(&reply[22], self_.mac.bytes.data(), 6);
    std::memcpy(&reply[28], &self_.ip, 4);
    std::memcpy(&reply[32], &request[22], 10);  // the asker's MAC and address
    fleet_.at(0).send(reply);
    answered_++;
}

// Turns a request round in place. Sums survive the swap of source and destination.
void SmallHost::ip_reply(Frame frame) {
    if (!is_ours(&frame[30]) || frame[14] != 0x45) return;
    if (frame[23] == 1 && frame[kIcmpAt] == 8) {
        frame[kIcmpAt] = 0;
        // RFC 1624: the type fell by 8 in the high byte, so the sum's complement grows by as much.
        const uint32_t sum = get16(&frame[kIcmpAt + 2]) + 0x0800u;
        put16(&frame[kIcmpAt + 2], static_cast<uint16_t>((sum & 0xffff) + (sum >> 16)));
    } else if (frame[23] == 17) {
        std::swap_ranges(&frame[34], &frame[36], &frame[36]);
    } else {
        return;
    }
    std::swap_ranges(&frame[26], &frame[30], &frame[30]);
    std::memcpy(&frame[0], &frame[6], 6);
    std::memcpy(&frame[6], self_.mac.bytes.data(), 6);
    fleet_.at(0).send(frame);
    answered_++;
}

void SmallHost::answer(std::span<const uint8_t> frame) {
    if (frame.size() < 42) return;
    const Frame copy(frame.begin(), frame.end());
    const uint16_t type = get16(&copy[12]);
    if (type == 0x0806) arp_reply(copy);
    if (type == 0x0800) ip_reply(copy);
}

void SmallHost::take_reply(std::span<const uint8_t> frame) {
    if (frame.size() < 42) return;
    const uint8_t* p = frame.data();
    if (get16(p + 12) == 0x0806 && get16(p + 20) == 2 && std::memcmp(p + 28, &target_, 4) == 0) {
        target_mac_.emplace();
        std::memcpy(target_mac_->bytes.data(), p + 22, 6);
    }
    if (get16(p + 12) == 0x0800 && p[14] == 0x45 && p[23] == 1 && p[kIcmpAt] == 0 &&
        get16(p + kIcmpAt + 4) == kPingId && std::memcmp(p + 26, &target_, 4) == 0) {
        reply_ = get16(p + kIcmpAt + 6);
        reply_ttl_ = p[22];
    }
}

Frame SmallHost::arp_request() const {
    Frame f(42, 0);
    std::memset(&f[0], 0xff, 6);
    std::memcpy(&f[6], self_.mac.bytes.data(), 6);
    put16(&f[12], 0x0806);
    put16(&f[14], 1);
    put16(&f[16], 0x0800);
    f[18] = 6;
    f[19] = 4;
    put16(&f[20], 1);
    std::memcpy(&f[22], self_.mac.bytes.data(), 6);
    std::memcpy(&f[28], &self_.ip, 4);
    std::memcpy(&f[38], &target_, 4);
    return f;
}

Frame SmallHost::echo_request(uint16_t sequence) const {
    Frame f(98, 0);
    std::memcpy(&f[0], target_mac_->bytes.data(), 6);
    std::memcpy(&f[6], self_.mac.bytes.data(), 6);
    put16(&f[12], 0x0800);
    f[14] = 0x45;
    put16(&f[16], static_cast<uint16_t>(f.size() - 14));
    f[22] = 64;
    f[23] = 1;
    std::memcpy(&f[26], &self_.ip, 4);
    std::memcpy(&f[30], &target_, 4);
    put16(&f[24], static_cast<uint16_t>(~ones_sum({&f[14], 20})));
    f[kIcmpAt] = 8;
    put16(&f[kIcmpAt + 4], kPingId);
    put16(&f[kIcmpAt + 6], sequence);
    for (size_t i = kIcmpAt + 8; i < f.size(); i++)
        f[i] = static_cast<uint8_t>(i);
    put16(&f[kIcmpAt + 2],
          static_cast<uint16_t>(~ones_sum(std::span<const uint8_t>(f).subspan(kIcmpAt))));
    return f;
}

int SmallHost::echo() {
    fleet_.on_receive = [this](size_t) {
        fleet_.at(0).receive_all([this](const RxFrame& frame) { answer(frame.data); });
    };
    if (!start()) return 1;
    for (;;) {
        fleet_.loop().run_once(1000);
        if (commands_.has_command() && commands_.take() == "quit") break;
    }
    emit({{"event", "final"}, {"answered", answered_}});
    return 0;
}

int SmallHost::ping() {
    const auto target = parse_ip(options_.target);
    if (!target || !target->is_ipv4()) {
        emit({{"event", "error"}, {"message", "--target is no IPv4 address"}});
        return 1;
    }
    target_ = target->ipv4();
    fleet_.on_receive = [this](size_t) {
        fleet_.at(0).receive_all([this](const RxFrame& frame) { take_reply(frame.data); });
    };
    if (!start()) return 1;
    for (int tries = 0; tries < 5 && !target_mac_; tries++) {
        fleet_.at(0).send(arp_request());
        fleet_.loop().run_until(options_.timeout_ms, [this] { return target_mac_.has_value(); });
    }
    if (!target_mac_) {
        emit({{"event", "final"}, {"ok", false}, {"arp", nullptr}, {"received", 0}});
        return 1;
    }
    uint32_t received = 0;
    for (uint32_t i = 0; i < options_.count; i++) {
        const uint16_t sequence = static_cast<uint16_t>(i);
        const uint64_t start_ns = now_ns();
        fleet_.at(0).send(echo_request(sequence));
        const bool answered = fleet_.loop().run_until(
            options_.timeout_ms, [&] { return reply_ == std::optional(sequence); });
        received += answered ? 1 : 0;
        emit({{"event", "reply"},
              {"sequence", i},
              {"answered", answered},
              {"ttl", answered ? reply_ttl_ : 0},
              {"rtt_us", static_cast<double>(now_ns() - start_ns) / 1e3}});
        if (i + 1 < options_.count) {
            fleet_.loop().run_until(options_.interval_ms, [] { return false; });
        }
    }
    emit({{"event", "final"},
          {"ok", received == options_.count},
          {"arp", to_string(*target_mac_)},
          {"sent", options_.count},
          {"received", received}});
    return received == options_.count ? 0 : 1;
}

std::string to_hex(std::span<const uint8_t> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const uint8_t b : bytes) {
        text += kDigits[b >> 4];
        text += kDigits[b & 15];
    }
    return text;
}

std::optional<Frame> from_hex(const std::string& text) {
    if (text.size() % 2 != 0) return std::nullopt;
    Frame bytes;
    for (size_t i = 0; i < text.size(); i += 2) {
        const std::string pair = text.substr(i, 2);
        if (pair.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return {};
        bytes.push_back(static_cast<uint8_t>(std::stoi(pair, nullptr, 16)));
    }
    return bytes;
}

void SmallHost::send_line(const std::string& line) {
    const auto request = nlohmann::json::parse(line, nullptr, false);
    std::optional<Frame> bytes;
    if (request.is_object() && request.contains("send") && request["send"].is_string()) {
        bytes = from_hex(request["send"].get<std::string>());
    }
    if (!bytes || bytes->size() > fleet_.options().frontend("").tx.max_frame_bytes) {
        emit({{"event", "error"}, {"message", "wanted {\"send\": HEX} of a frame that fits"}});
        return;
    }
    const nlohmann::json h = request.value("header", nlohmann::json::object());
    NetHeader header{};
    header.flags = h.value("flags", uint8_t{0});
    header.gso_type = h.value("gso_type", uint8_t{0});
    header.header_bytes = h.value("header_bytes", uint16_t{0});
    header.gso_bytes = h.value("gso_bytes", uint16_t{0});
    header.csum_start = h.value("csum_start", uint16_t{0});
    header.csum_offset = h.value("csum_offset", uint16_t{0});
    if (!fleet_.at(0).send(*bytes, header)) {
        emit({{"event", "error"}, {"message", "the transmit queue is full"}});
    }
}

int SmallHost::frames() {
    fleet_.on_receive = [this](size_t) {
        fleet_.at(0).receive_all([](const RxFrame& frame) {
            emit({{"event", "frame"},
                  {"hex", to_hex(frame.data)},
                  {"header",
                   {{"flags", frame.header.flags},
                    {"gso_type", frame.header.gso_type},
                    {"header_bytes", frame.header.header_bytes},
                    {"gso_bytes", frame.header.gso_bytes},
                    {"csum_start", frame.header.csum_start},
                    {"csum_offset", frame.header.csum_offset},
                    {"num_buffers", frame.header.num_buffers}}}});
        });
    };
    if (!start()) return 1;
    for (;;) {
        fleet_.loop().run_once(1000);
        while (commands_.has_command()) {
            const std::string line = commands_.take();
            if (line == "quit") return 0;
            send_line(line);
        }
    }
}

}  // namespace

int run_echo(const ToolOptions& tool, const HostOptions& options) {
    return SmallHost(tool, options).echo();
}
int run_ping(const ToolOptions& tool, const HostOptions& options) {
    return SmallHost(tool, options).ping();
}
int run_frames(const ToolOptions& tool, const HostOptions& options) {
    return SmallHost(tool, options).frames();
}

}  // namespace slash32::frontend
