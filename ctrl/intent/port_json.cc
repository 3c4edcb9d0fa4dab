// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/port_json.h"

#include "ctrl/rpc/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Length;
using rpc::Name;
using rpc::Path;
using rpc::Range;

namespace {

constexpr size_t kPortNameMax = 15;
constexpr size_t kSocketPathMax = 107;  // sockaddr_un, with its terminator

constexpr rpc::OneOf kKinds{std::pair{std::string_view("vhost"), PortKind::kVhost},
                            std::pair{std::string_view("tap"), PortKind::kTap}};
constexpr rpc::OneOf kSocketModes{std::pair{std::string_view("client"), SocketMode::kClient},
                                  std::pair{std::string_view("server"), SocketMode::kServer}};
constexpr rpc::OneOf kAnnounces{std::pair{std::string_view("auto"), Announce::kAuto},
                                std::pair{std::string_view("hold"), Announce::kHold},
                                std::pair{std::string_view("withdrawn"), Announce::kWithdrawn}};

template <typename Rule, typename Enum>
std::string name_in(const Rule& rule, Enum value) {
    for (const auto& [name, known] : rule.names) {
        if (known == value) return std::string(name);
    }
    return "";
}

template <typename T>
Result<void> check_unique(const std::vector<T>& list, const Path& path) {
    std::vector<size_t> order(list.size());
    for (size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return list[a] < list[b]; });
    for (size_t i = 1; i < order.size(); ++i) {
        if (list[order[i]] == list[order[i - 1]]) {
            return rpc::invalid(Path(path, order[i]), "is there twice");
        }
    }
    return {};
}

}  // namespace

const char* unfit_address(const IpAddress& address) {
    if (address.is_ipv4()) {
        // RFC 6890: 0/8 and 127/8; RFC 5771: 224/4; RFC 919: the limited broadcast, and 240/4.
        const uint8_t first = address.bytes[0];
        if (first == 0 || first == 127) return "must not be unspecified or loopback";
        return first >= 224 ? "must be a unicast address" : nullptr;
    }
    const Ip6 v6 = address.ipv6();
    Ip6 one;
    one.bytes[15] = 1;
    if (v6.is_unspecified() || v6 == one) return "must not be unspecified or loopback";
    return v6.is_multicast() ? "must be a unicast address" : nullptr;
}

Result<void> check_unicast(const Mac& mac, const Path& path) {
    if (!mac.is_multicast() && !mac.is_zero()) return {};
    return rpc::invalid(path, "must be a unicast MAC address");
}

std::string_view kind_name(PortKind kind) {
    switch (kind) {
        case PortKind::kVhost:
            return "vhost";
        case PortKind::kTap:
            return "tap";
        case PortKind::kUplink:
            return "uplink";
        case PortKind::kHost:
            return "host";
    }
    return "";
}

// Found by argument-dependent lookup from rpc::decode of a vector.
Result<void> decode(const Json& json, const Path& path, FixedAddress& out) {
    const auto* text = json.get_ptr<const std::string*>();
    constexpr const char* kMessage = "must be an address such as 10.0.0.11/24 or 10.0.0.11";
    if (text == nullptr) return rpc::invalid(path, kMessage);
    const size_t slash = text->find('/');
    const auto address = parse_ip(std::string_view(*text).substr(0, slash));
    if (!address) return rpc::invalid(path, kMessage);
    out = {*address, address->bits()};
    if (slash != std::string::npos) {
        const std::string_view digits = std::string_view(*text).substr(slash + 1);
        const char* last = digits.data() + digits.size();
        const auto [end, error] = std::from_chars(digits.data(), last, out.length);
        if (error != std::errc{} || end != last || digits[0] == '0' ||
            out.length > address->bits()) {
            return rpc::invalid(path, kMessage);
        }
    }
    if (const char* why = unfit_address(*address)) return rpc::invalid(path, why);
    if (!address->is_ipv4() && address->ipv6().is_link_local()) {
        return rpc::invalid(path, "must not be link-local: every VM has one, and none is routed");
    }
    return {};
}

Result<void> decode(const Json& json, const Path& path, AllowedPair& out) {
    Fields fields(json, path);
    fields.required("prefix", out.prefix).optional("mac", out.mac);
    if (auto ok = fields.done(); !ok) return ok;
    return out.mac ? check_unicast(*out.mac, Path(path, "mac")) : Result<void>{};
}

namespace {

Result<void> check_members(const PortIntent& port, const Path& path) {
    if (auto ok = check_unicast(port.mac, Path(path, "mac")); !ok) return ok;
    const Path addresses(path, "addresses");
    std::vector<IpAddress> plain;
    for (const FixedAddress& fixed : port.addresses)
        plain.push_back(fixed.address);
    if (auto ok = check_unique(plain, addresses); !ok) return ok;
    const Path pairs(path, "allowed_pairs");
    if (auto ok = check_unique(port.allowed_pairs, pairs); !ok) return ok;
    if (port.addresses.size() + port.allowed_pairs.size() > kMaxAddressesPerPort) {
        return rpc::invalid(pairs,
                            fmt::format("at most {} with the addresses", kMaxAddressesPerPort));
    }
    const Path gateways(path, "gateways");
    for (size_t i = 0; i < port.gateways.size(); ++i) {
        const Path at(gateways, i);
        if (const char* why = unfit_address(port.gateways[i])) return rpc::invalid(at, why);
        if (std::ranges::count(plain, port.gateways[i]) != 0) {
            return rpc::invalid(at, "is an address of the VM itself");
        }
    }
    if (auto ok = check_unique(port.gateways, gateways); !ok) return ok;
    return check_unique(port.groups, Path(path, "groups"));
}

Result<void> check_device(const Json& json, const PortIntent& port, const Path& path) {
    if (port.kind == PortKind::kTap) {
        for (const char* key : {"socket", "socket_mode"}) {
            if (json.contains(key)) return rpc::invalid(Path(path, key), "not for a TAP port");
        }
        return {};
    }
    if (json.contains("tap")) return rpc::invalid(Path(path, "tap"), "not for a vhost-user port");
    const Path socket(path, "socket");
    if (port.socket.empty()) return rpc::invalid(socket, "is required");
    if (port.socket[0] != '/') return rpc::invalid(socket, "must be an absolute path");
    if (port.socket.back() == '/') return rpc::invalid(socket, "must name a file");
    return {};
}

}  // namespace

Json to_json(const PortIntent& port) {
    Json out = {{"name", port.name},
                {"owner", port.owner},
                {"kind", std::string(kind_name(port.kind))},
                {"mac", to_string(port.mac)},
                {"vrf", port.vrf.value()},
                {"mtu", port.mtu},
                {"queues", port.queues},
                {"groups", port.groups},
                {"port_security", port.port_security},
                {"log_denied", port.log_denied},
                {"announce", name_in(kAnnounces, port.announce)},
                {"announce_table", port.announce_table},
                {"announce_metric", port.announce_metric},
                {"withdraw_delay_ms", port.withdraw_delay_ms},
                {"labels", port.labels}};
    if (port.kind == PortKind::kTap) {
        out["tap"] = port.tap;
    } else {
        out["socket"] = port.socket;
        out["socket_mode"] = name_in(kSocketModes, port.socket_mode);
    }
    Json& addresses = out["addresses"] = Json::array();
    for (const FixedAddress& fixed : port.addresses) {
        addresses.push_back(fmt::format("{}/{}", to_string(fixed.address), fixed.length));
    }
    Json& pairs = out["allowed_pairs"] = Json::array();
    for (const AllowedPair& pair : port.allowed_pairs) {
        Json one = {{"prefix", to_string(pair.prefix)}};
        if (pair.mac) one["mac"] = to_string(*pair.mac);
        pairs.push_back(std::move(one));
    }
    Json& gateways = out["gateways"] = Json::array();
    for (const IpAddress& gateway : port.gateways)
        gateways.push_back(to_string(gateway));
    return out;
}

void read_port(Fields& fields, PortIntent& out) {
    uint16_t vrf = 0;
    fields.required("name", out.name, Name{kPortNameMax})
        .optional("kind", out.kind, kKinds)
        .optional("socket", out.socket, Length{1, kSocketPathMax})
        .optional("socket_mode", out.socket_mode, kSocketModes)
        .optional("tap", out.tap, Name{kPortNameMax})
        .required("mac", out.mac)
        .optional("addresses", out.addresses, Count{0, kMaxAddressesPerPort})
        .optional("allowed_pairs", out.allowed_pairs, Count{0, kMaxAddressesPerPort})
        .optional("gateways", out.gateways, Count{0, kMaxGatewaysPerPort})
        .optional("vrf", vrf, Range{0, kMaxVrfs - 1})
        .optional("mtu", out.mtu, Range{kMinMtu, kMaxMtu})
        .optional("queues", out.queues, Range{1, kMaxQueuePairs})
        .optional("groups", out.groups, Count{0, kMaxGroupsPerPort}, Name{kGroupNameMax})
        .optional("port_security", out.port_security)
        .optional("log_denied", out.log_denied)
        .optional("announce", out.announce, kAnnounces)
        .optional("announce_table", out.announce_table, Range{0, UINT32_MAX})
        .optional("announce_metric", out.announce_metric, Range{0, UINT32_MAX})
        .optional("withdraw_delay_ms", out.withdraw_delay_ms, Range{0, kMaxWithdrawDelayMs})
        .optional("labels", out.labels, Count{0, kMaxLabels})
        .optional("owner", out.owner, Name{});
    out.vrf = VrfId{vrf};
}

Result<void> finish_port(const Json& json, const Path& path, PortIntent& out) {
    if (out.kind == PortKind::kTap && out.tap.empty()) out.tap = out.name;
    if (auto ok = check_device(json, out, path); !ok) return ok;
    for (AllowedPair& pair : out.allowed_pairs) {
        if (pair.mac == out.mac) pair.mac.reset();
    }
    return check_members(out, path);
}

Result<PortIntent> parse_port(const std::string& text) {
    const Result<Json> json = rpc::parse_json(text);
    if (!json) return tl::unexpected(json.error());
    const Path path("$");
    Fields fields(*json, path);
    PortIntent port;
    read_port(fields, port);
    if (auto ok = fields.done(); !ok) return tl::unexpected(ok.error());
    if (auto ok = finish_port(*json, path, port); !ok) return tl::unexpected(ok.error());
    canonicalize(port);
    return port;
}

}  // namespace slash32
