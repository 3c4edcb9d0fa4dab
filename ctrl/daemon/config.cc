// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/config.h"

#include "ctrl/daemon/segment_routing.h"
#include "dp/abi/vlan.h"
#include "dp/table/track.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <toml++/toml.h>

namespace slash32 {
namespace {

template <typename... F>
struct Overloaded : F... {
    using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

std::string where(const std::string& file, const toml::node& node) {
    return fmt::format("{}:{}", file, node.source().begin.line);
}

tl::unexpected<Error> bad(const std::string& at, const std::string& message) {
    return fail(ErrorCode::kInvalid, at, message);
}

template <typename T>
std::optional<std::vector<T>> read_array(const toml::node& node) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return std::nullopt;
    std::vector<T> values;
    for (const toml::node& element : *array) {
        const std::optional<T> value = element.value_exact<T>();
        if (!value) return std::nullopt;
        values.push_back(*value);
    }
    return values;
}

// Stores a node into an option; nullptr, or what kind of value it must be.
const char* store(const toml::node& node, const ConfigOption& option, Config& config) {
    return std::visit(Overloaded{
                          [&](std::string Config::*member) -> const char* {
                              const auto value = node.value_exact<std::string>();
                              if (!value) return "a string";
                              config.*member = *value;
                              return nullptr;
                          },
                          [&](bool Config::*member) -> const char* {
                              const auto value = node.value_exact<bool>();
                              if (!value) return "true or false";
                              config.*member = *value;
                              return nullptr;
                          },
                          [&](int64_t Config::*member) -> const char* {
                              const auto value = node.value_exact<int64_t>();
                              if (!value) return "an integer";
                              config.*member = *value;
                              return nullptr;
                          },
                          [&](std::vector<int64_t> Config::*member) -> const char* {
                              auto value = read_array<int64_t>(node);
                              if (!value) return "an array of integers";
                              config.*member = std::move(*value);
                              return nullptr;
                          },
                          [&](std::vector<std::string> Config::*member) -> const char* {
                              auto value = read_array<std::string>(node);
                              if (!value) return "an array of strings";
                              config.*member = std::move(*value);
                              return nullptr;
                          },
                      },
                      option.target);
}

Result<void> set_uplink_member(UplinkSpec& uplink, std::string_view key, const std::string& text) {
    const auto invalid = [&](const char* what) {
        return bad(fmt::format("uplink.{}", key), fmt::format("\"{}\" is not {}", text, what));
    };
    const auto number = [&](auto& out, unsigned min, unsigned max) {
        unsigned value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size() || value < min || value > max)
            return false;
        out = static_cast<std::remove_reference_t<decltype(out)>>(value);
        return true;
    };
    if (key == "name") {
        uplink.name = text;
    } else if (key == "devargs") {
        uplink.devargs = text;
    } else if (key == "bond") {
        const auto* found =
            std::ranges::find(kBondModes, text, &std::pair<std::string_view, BondMode>::first);
        if (found == std::end(kBondModes))
            return invalid("\"active-backup\", \"balance\" or \"lacp\"");
        uplink.bond = found->second;
    } else if (key == "member") {
        uplink.members.push_back(text);
    } else if (key == "parent") {
        uplink.parent = text;
    } else if (key == "vlan") {
        if (!number(uplink.vlan, 1, kMaxVlan)) return invalid("a VLAN id from 1 to 4094");
    } else if (key == "damping" || key == "offload") {
        if (text != "true" && text != "false") return invalid("true or false");
        (key == "damping" ? uplink.damping : uplink.offload) = text == "true";
    } else if (key == "mac") {
        uplink.mac = parse_mac(text);
        if (!uplink.mac) return invalid("a MAC address");
    } else if (key == "mtu") {
        if (!number(uplink.mtu, kMinMtu, kMaxMtu)) return invalid("an MTU from 1280 to 9216");
    } else if (key == "queues") {
        if (!number(uplink.queues, 1, kMaxWorkers))
            return invalid("a number of queues from 1 to 32");
    } else if (key == "vrf") {
        uint16_t vrf = 0;
        if (!number(vrf, 0, kMaxVrfs - 1)) return invalid("a VRF id from 0 to 4095");
        uplink.vrf = VrfId{vrf};
    } else if (key == "mode") {
        if (text != "l3" && text != "l2") return invalid("\"l3\" or \"l2\"");
        uplink.l2 = text == "l2";
    } else if (key == "address") {
        const auto address = parse_ip(text);
        if (!address) return invalid("an IP address");
        if (uplink.addresses.size() == kMaxGatewaysPerPort)
            return invalid("accepted: an uplink has at most 8 addresses");
        uplink.addresses.push_back(*address);
    } else {
        return bad(fmt::format("uplink.{}", key), "there is no such option");
    }
    return {};
}

// Of a VLAN, which shares the device of `parent`.
Result<void> validate_vlan(const UplinkSpec& uplink, const UplinkSpec& parent) {
    if (uplink.mac || uplink.queues != 1 || !uplink.devargs.empty())
        return bad("uplink.vlan",
                   fmt::format("uplink {} is a VLAN: devargs, mac and queues are those of {}",
                               uplink.name, parent.name));
    if (parent.is_vlan())
        return bad("uplink.parent", fmt::format("uplink {} cannot be a VLAN of the VLAN {}",
                                                uplink.name, parent.name));
    if (uplink.mtu > parent.mtu)
        return bad("uplink.mtu", fmt::format("uplink {} cannot have more than the {} of {}",
                                             uplink.name, parent.mtu, parent.name));
    return {};
}

// What the uplink is: a device, a bond of some, or a VLAN of one of those before it.
Result<void> validate_device(const UplinkSpec& uplink, std::span<const UplinkSpec> before) {
    const bool bond = uplink.bond != BondMode::kNone;
    if (uplink.is_vlan() != !uplink.parent.empty())
        return bad(uplink.is_vlan() ? "uplink.parent" : "uplink.vlan",
                   fmt::format("uplink {}: parent and vlan are given together", uplink.name));
    if (bond != !uplink.members.empty())
        return bad(bond ? "uplink.members" : "uplink.bond",
                   fmt::format("uplink {}: bond and members are given together", uplink.name));
    if (uplink.is_vlan()) {
        const auto parent = std::ranges::find(before, uplink.parent, &UplinkSpec::name);
        if (parent == before.end() || bond)
            return bad("uplink.parent",
                       fmt::format("uplink {}: there is no uplink \"{}\" before it", uplink.name,
                                   uplink.parent));
        for (const UplinkSpec& other : before) {
            if (other.parent == uplink.parent && other.vlan == uplink.vlan)
                return bad("uplink.vlan",
                           fmt::format("{} and {} are the same VLAN {} of {}", other.name,
                                       uplink.name, uplink.vlan, uplink.parent));
        }
        return validate_vlan(uplink, *parent);
    }
    if (bond != uplink.devargs.empty())
        return bad(
            "uplink.devargs",
            bond ? fmt::format("uplink {} is a bond: its devices are its members", uplink.name)
                 : fmt::format("uplink {} names no device", uplink.name));
    return {};
}

Result<UplinkSpec> read_uplink(const std::string& file, const toml::table& table) {
    UplinkSpec uplink;
    for (const auto& [key, node] : table) {
        std::vector<std::string> values;
        std::string member(key.str());
        if (const auto text = node.value_exact<std::string>()) {
            values.push_back(*text);
        } else if (const auto number = node.value_exact<int64_t>()) {
            values.push_back(fmt::format("{}", *number));
        } else if (const auto flag = node.value_exact<bool>()) {
            values.emplace_back(*flag ? "true" : "false");
        } else if (auto list = read_array<std::string>(node);
                   list && (member == "addresses" || member == "members")) {
            values = std::move(*list);
            member = member == "addresses" ? "address" : "member";
        } else {
            return bad(where(file, node), fmt::format("uplink.{} has the wrong type", member));
        }
        for (const std::string& value : values) {
            if (auto set = set_uplink_member(uplink, member, value); !set)
                return bad(where(file, node),
                           fmt::format("{}: {}", set.error().path, set.error().message));
        }
    }
    return uplink;
}

bool is_one_of(const std::string& value, std::initializer_list<std::string_view> allowed) {
    return std::ranges::find(allowed, value) != allowed.end();
}

bool is_mode(const std::string& text) {
    return text.size() >= 3 && text.size() <= 4 &&
           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '7'; });
}

bool is_level(const std::string& level) {
    return is_one_of(level, {"trace", "debug", "info", "warning", "error", "off"});
}

bool is_unicast(const std::optional<Mac>& mac) {
    return mac && !mac->is_multicast() && !mac->is_zero();
}

// The host's link.
Result<void> check_host(const Config& config) {
    if (config.host_namespace.find('/') != std::string::npos)
        return bad("host.namespace",
                   fmt::format("\"{}\" is no name as ip netns takes it", config.host_namespace));
    if (config.host_interface.size() > 15)
        return bad("host.interface", "must be 1 to 15 characters");
    const auto mac = parse_mac(config.host_mac);
    if (!is_unicast(mac) || mac == parse_mac(config.router_mac))
        return bad("host.mac", "must be a unicast MAC address, and not the router's");
    if (config.host_addresses.size() > kMaxAddressesPerPort) {
        return bad("host.addresses", fmt::format("at most {}", kMaxAddressesPerPort));
    }
    for (const std::string& address : config.host_addresses) {
        if (!parse_ip(address))
            return bad("host.addresses", fmt::format("\"{}\" is not an IP address", address));
    }
    for (const std::string& item : config.host_tables) {
        if (!parse_table(item))
            return bad("host.tables", fmt::format("\"{}\" is not table=vrf", item));
    }
    for (const std::string& item : config.host_limits) {
        if (!parse_host_limit(item))
            return bad("host.limits",
                       fmt::format("\"{}\" is not class=packets of a known class", item));
    }
    return {};
}

}  // namespace

std::string ConfigOption::flag() const {
    std::string name = fmt::format("--{}-{}", section, key);
    std::ranges::replace(name, '_', '-');
    return name;
}

const std::vector<ConfigOption>& config_options() {
    using C = Config;
    static const std::vector<ConfigOption> options = {
        {"daemon", "run_dir", &C::run_dir, "directory of the control socket and the lock"},
        {"daemon", "state_dir", &C::state_dir,
         "directory of the stored intent; empty: keep nothing"},
        {"daemon", "volatile_owners", &C::volatile_owners, "owners whose routes are not stored"},
        {"workers", "cores", &C::worker_cores,
         "CPU cores of the workers; default: all but the first", 0, 1023},
        {"workers", "control_core", &C::control_core,
         "CPU core of the control thread; -1: the first of the process's", -1, 1023},
        {"workers", "poll", &C::poll, "\"sleep\" when idle, or \"busy\": poll for ever"},
        {"memory", "huge", &C::huge, "hugepages: \"auto\", \"always\" or \"never\""},
        {"memory", "size_mb", &C::memory_mb, "memory given to DPDK, MiB", 64, 1 << 20},
        {"memory", "mbufs", &C::mbufs, "packet buffers", 1024, 1 << 22},
        {"memory", "prefix", &C::eal_prefix, "name of this instance's shared memory"},
        {"memory", "eal_args", &C::eal_args, "further arguments for DPDK's EAL"},
        {"socket", "path", &C::socket_path, "control socket; default: run_dir/slash32.sock"},
        {"socket", "mode", &C::socket_mode, "its file mode, octal"},
        {"socket", "group", &C::socket_group, "its group"},
        {"socket", "read_write_uids", &C::read_write_uids, "users that may change things"},
        {"socket", "read_write_gids", &C::read_write_gids, "groups that may change things"},
        {"socket", "read_only_uids", &C::read_only_uids, "users that may only look"},
        {"socket", "read_only_gids", &C::read_only_gids, "groups that may only look"},
        {"socket", "max_clients", &C::max_clients, "clients at a time", 1, 1024},
        {"socket", "max_frame_mb", &C::max_frame_mb, "largest request, MiB", 1, 256},
        {"router", "mac", &C::router_mac,
         "the gateway's MAC address, the same on every hypervisor"},
        {"router", "gateway4", &C::gateway4,
         "source of ICMP errors to ports without an IPv4 gateway"},
        {"router", "gateway6", &C::gateway6, "the same for IPv6"},
        {"router", "icmp_errors_per_second", &C::icmp_errors_per_second, "limit per worker", 1,
         1'000'000},
        {"router", "punts_per_second", &C::punts_per_second, "limit per worker", 1, 1'000'000},
        {"conntrack", "flows", &C::conntrack_flows, "connections at a time", 1, kMaxFlows},
        {"conntrack", "flows_per_port", &C::conntrack_flows_per_port,
         "of one port; 0: a quarter of all", 0, kMaxFlows},
        {"conntrack", "half_open_per_port", &C::conntrack_half_open_per_port,
         "not yet answered ones of one port; 0: a sixteenth of all", 0, kMaxFlows},
        {"conntrack", "half_open", &C::conntrack_half_open, "not yet answered ones; 0: half of all",
         0, kMaxFlows},
        {"conntrack", "tcp_loose", &C::conntrack_tcp_loose,
         "pick connections up in their middle, as after a restart"},
        {"conntrack", "tcp_liberal", &C::conntrack_tcp_liberal,
         "only resets outside the window are invalid"},
        {"conntrack", "timeouts", &C::conntrack_timeouts,
         "timeouts by Linux's names: \"udp_timeout=60\""},
        {"host", "interface", &C::host_interface,
         "TAP interface between the host and its VMs, which announced routes lead to"},
        {"host", "namespace", &C::host_namespace,
         "network namespace of the host's interfaces and routes, as ip netns calls it"},
        {"host", "mac", &C::host_mac, "its MAC address"},
        {"host", "addresses", &C::host_addresses, "addresses of the host that VMs may reach"},
        {"host", "table", &C::host_table, "kernel table of the VMs' routes", 1, UINT32_MAX},
        {"host", "metric", &C::host_metric, "their metric", 1, UINT32_MAX},
        {"host", "protocol", &C::host_protocol, "their protocol number, of nobody else's routes", 5,
         255},
        {"host", "hold_seconds", &C::host_hold_seconds,
         "how long after a start routes from before it are left standing", 0, 3600},
        {"host", "tables", &C::host_tables,
         "kernel tables whose routes are followed, and the VRF of each: \"254=0\""},
        {"host", "limits", &C::host_limits,
         "packets a second that uplinks give the host, by class and worker: \"icmp=500\""},
        {"srv6", "locator", &C::srv6_locator, "IPv6 prefix of this node's segments"},
        {"srv6", "source", &C::srv6_source,
         "source address of tunnels; without one the locator's first"},
        {"srv6", "locators", &C::srv6_locators,
         "where the SR domain's segments are: closed to VMs; without any the own locator"},
        {"srv6", "sources", &C::srv6_sources,
         "from where uplinks accept SRv6; without any the locators"},
        {"srv6", "hop_limit", &C::srv6_hop_limit, "of tunnels; 0: that of the inner packet", 0,
         255},
        {"srv6", "dscp", &C::srv6_dscp, "of tunnels: \"copy\" or a number"},
        {"srv6", "hmac_keys", &C::srv6_hmac_keys,
         "keys of routing headers' HMACs: \"id=1;file=/etc/slash32/1.key\""},
        {"srv6", "hmac_sign", &C::srv6_hmac_sign, "id of the key of the node's tunnels; 0: none", 0,
         UINT32_MAX},
        {"srv6", "hmac_require", &C::srv6_hmac_require,
         "refuse what comes to a segment without an HMAC"},
        {"vhost", "socket_mode", &C::vhost_socket_mode,
         "file mode of sockets that slash32 listens on"},
        {"vhost", "socket_group", &C::vhost_socket_group, "their group"},
        {"vhost", "packed", &C::vhost_packed, "offer packed rings"},
        {"log", "to", &C::log_to, "\"stderr\", \"journal\" or a file"},
        {"log", "format", &C::log_format, "\"text\" or \"json\""},
        {"log", "level", &C::log_level, "trace, debug, info, warning, error or off"},
        {"log", "levels", &C::log_levels, "levels of single modules: \"vhost=debug\""},
    };
    return options;
}

static std::vector<ConfigOption>::const_iterator find_option(std::string_view section,
                                                             std::string_view key) {
    return std::ranges::find_if(config_options(), [&](const ConfigOption& option) {
        return section == option.section && key == option.key;
    });
}

Result<void> read_config_file(const std::string& path, Config& config) {
    toml::table root;
    try {
        root = toml::parse_file(path);
    } catch (const toml::parse_error& error) {
        const auto line = error.source().begin.line;
        return bad(line == 0 ? path : fmt::format("{}:{}", path, line),
                   std::string(error.description()));
    }
    for (const auto& [section, node] : root) {
        if (section == "uplink") {
            const toml::array* uplinks = node.as_array();
            if (uplinks == nullptr || !uplinks->is_homogeneous<toml::table>())
                return bad(where(path, node), "uplinks are written as [[uplink]] tables");
            for (const toml::node& element : *uplinks) {
                auto uplink = read_uplink(path, *element.as_table());
                if (!uplink) return tl::unexpected<Error>(uplink.error());
                config.uplinks.push_back(std::move(*uplink));
            }
            continue;
        }
        const toml::table* table = node.as_table();
        if (table == nullptr)
            return bad(where(path, node), fmt::format("\"{}\" is not a section", section.str()));
        for (const auto& [key, value] : *table) {
            const auto option = find_option(section.str(), key.str());
            if (option == config_options().end())
                return bad(where(path, value),
                           fmt::format("there is no option {}.{}", section.str(), key.str()));
            if (const char* wanted = store(value, *option, config); wanted != nullptr)
                return bad(where(path, value),
                           fmt::format("{}.{} must be {}", section.str(), key.str(), wanted));
        }
    }
    return {};
}

Result<UplinkSpec> parse_uplink_flag(const std::string& text) {
    UplinkSpec uplink;
    std::string_view rest = text;
    while (!rest.empty()) {
        const std::string_view item = rest.substr(0, rest.find(';'));
        rest.remove_prefix(std::min(rest.size(), item.size() + 1));
        const size_t equals = item.find('=');
        if (equals == std::string_view::npos)
            return bad("uplink", fmt::format("\"{}\" is not key=value", item));
        auto set =
            set_uplink_member(uplink, item.substr(0, equals), std::string(item.substr(equals + 1)));
        if (!set) return tl::unexpected<Error>(set.error());
    }
    return uplink;
}

Result<void> check_config(const Config& config) {
    for (const ConfigOption& option : config_options()) {
        const std::string name = fmt::format("{}.{}", option.section, option.key);
        const auto in_range = [&](int64_t value) {
            return value >= option.min && value <= option.max;
        };
        bool good = true;
        if (const auto* one = std::get_if<int64_t Config::*>(&option.target))
            good = in_range(config.**one);
        if (const auto* many = std::get_if<std::vector<int64_t> Config::*>(&option.target))
            good = std::ranges::all_of(config.**many, in_range);
        if (!good) return bad(name, fmt::format("must be from {} to {}", option.min, option.max));
    }
    if (config.worker_cores.size() > kMaxWorkers)
        return bad("workers.cores", fmt::format("at most {} workers", kMaxWorkers));
    if (std::set(config.worker_cores.begin(), config.worker_cores.end()).size() !=
        config.worker_cores.size())
        return bad("workers.cores", "a core is named twice");
    if (!is_one_of(config.poll, {"sleep", "busy"}))
        return bad("workers.poll", "must be \"sleep\" or \"busy\"");
    if (!is_one_of(config.huge, {"auto", "always", "never"}))
        return bad("memory.huge", "must be \"auto\", \"always\" or \"never\"");
    if (!is_mode(config.socket_mode)) return bad("socket.mode", "must be an octal mode like 0660");
    if (!is_mode(config.vhost_socket_mode))
        return bad("vhost.socket_mode", "must be an octal mode like 0660");
    if (!is_unicast(parse_mac(config.router_mac)))
        return bad("router.mac", "must be a unicast MAC address");
    const auto gateway4 = parse_ip(config.gateway4);
    if (!gateway4 || !gateway4->is_ipv4()) return bad("router.gateway4", "must be an IPv4 address");
    const auto gateway6 = parse_ip(config.gateway6);
    if (!gateway6 || gateway6->is_ipv4()) return bad("router.gateway6", "must be an IPv6 address");
    if (auto host = check_host(config); !host) return host;
    if (auto srv6 = read_segment_routing(config); !srv6) return tl::unexpected<Error>(srv6.error());
    if (config.control_socket().size() > 107)
        return bad("socket.path", "is longer than the 107 bytes a Unix socket can have");
    if (!is_one_of(config.log_format, {"text", "json"}))
        return bad("log.format", "must be \"text\" or \"json\"");
    if (!is_level(config.log_level))
        return bad("log.level", "must be trace, debug, info, warning, error or off");
    for (const std::string& item : config.log_levels) {
        const size_t equals = item.find('=');
        if (equals == std::string::npos || !is_level(item.substr(equals + 1)))
            return bad("log.levels", fmt::format("\"{}\" is not module=level", item));
    }
    for (const std::string& item : config.conntrack_timeouts) {
        if (parse_timeout(item)) continue;
        return bad("conntrack.timeouts",
                   fmt::format("\"{}\" is not timeout=seconds of a known timeout", item));
    }
    std::set<std::string> names;
    for (size_t i = 0; i < config.uplinks.size(); ++i) {
        const UplinkSpec& uplink = config.uplinks[i];
        if (uplink.name.empty() || uplink.name.size() > 15)
            return bad("uplink.name", "an uplink needs a name of 1 to 15 characters");
        if (auto ok = validate_device(uplink, std::span(config.uplinks).first(i)); !ok) return ok;
        if (uplink.l2 && !uplink.has_host_view())
            return bad("uplink.mode",
                       fmt::format("uplink {} in L2 mode takes no addresses: they are the "
                                   "host's",
                                   uplink.name));
        if (!names.insert(uplink.name).second)
            return bad("uplink.name", fmt::format("two uplinks are named {}", uplink.name));
    }
    return {};
}

namespace {

std::optional<uint32_t> parse_number(std::string_view text) {
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// "name=number".
std::optional<std::pair<std::string, uint32_t>> parse_item(const std::string& text) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) return std::nullopt;
    const auto number = parse_number(std::string_view(text).substr(equals + 1));
    if (!number) return std::nullopt;
    return std::pair(text.substr(0, equals), *number);
}

}  // namespace

std::optional<std::pair<std::string, uint32_t>> parse_timeout(const std::string& text) {
    auto item = parse_item(text);
    if (item && item->second == 0) return std::nullopt;
    for (size_t state = 0; item && state < kFlowStateCount; ++state) {
        if (item->first == flow_timeout(static_cast<FlowState>(state)).name) return item;
    }
    return std::nullopt;
}

std::optional<std::pair<uint32_t, VrfId>> parse_table(const std::string& text) {
    const auto item = parse_item(text);
    if (!item || item->second >= kMaxVrfs) return std::nullopt;
    const auto table = parse_number(item->first);
    if (!table || *table == 0) return std::nullopt;
    return std::pair(*table, VrfId{static_cast<uint16_t>(item->second)});
}

std::optional<std::pair<HostClass, uint32_t>> parse_host_limit(const std::string& text) {
    const auto item = parse_item(text);
    if (item && item->second == 0) return std::nullopt;
    for (size_t i = 0; item && i < kHostClasses.size(); ++i) {
        if (item->first == kHostClasses[i].name)
            return std::pair(static_cast<HostClass>(i), item->second);
    }
    return std::nullopt;
}

unsigned parse_mode(const std::string& text) {
    return static_cast<unsigned>(std::stoul(text, nullptr, 8));
}

}  // namespace slash32
