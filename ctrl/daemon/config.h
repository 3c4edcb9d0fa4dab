// SPDX-License-Identifier: Apache-2.0
// The daemon's configuration: one TOML file, every option also a flag. docs/configuration.md
// describes each; a test keeps the two the same.
#pragma once

#include "ctrl/plane/plane.h"
#include "dp/abi/host_class.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace slash32 {

// Values as written; check() has the last word on ranges and turns text into what it means.
struct Config {
    std::string run_dir = "/run/slash32";
    std::string state_dir = "/var/lib/slash32";

    std::vector<int64_t> worker_cores;  // empty: all but the first
    int64_t control_core = -1;          // -1: the first of the process's
    std::string poll = "sleep";

    std::string huge = "auto";
    int64_t memory_mb = 256;
    int64_t mbufs = 32768;
    std::string eal_prefix = "slash32";
    std::vector<std::string> eal_args;

    std::string socket_path;  // empty: run_dir/slash32.sock
    std::string socket_mode = "0660";
    std::string socket_group;
    std::vector<int64_t> read_write_uids;
    std::vector<int64_t> read_write_gids;
    std::vector<int64_t> read_only_uids;
    std::vector<int64_t> read_only_gids;
    int64_t max_clients = 64;
    int64_t max_frame_mb = 16;

    std::string router_mac = "02:00:5e:00:01:01";
    std::string gateway4 = "169.254.0.1";
    std::string gateway6 = "fe80::1";
    int64_t icmp_errors_per_second = 1000;
    int64_t punts_per_second = 1000;

    int64_t conntrack_flows = kDefaultFlows;
    int64_t conntrack_flows_per_port = 0;      // 0: a quarter of all
    int64_t conntrack_half_open_per_port = 0;  // 0: a sixteenth of all
    int64_t conntrack_half_open = 0;           // 0: half of all
    bool conntrack_tcp_loose = true;
    bool conntrack_tcp_liberal = false;
    std::vector<std::string> conntrack_timeouts;  // "name=seconds"

    std::string host_namespace;  // empty: the daemon's own
    std::string host_interface;  // empty: none, and nothing is announced
    std::string host_mac = "02:00:5e:00:01:02";
    std::vector<std::string> host_addresses;
    int64_t host_table = 254;
    int64_t host_metric = 100;
    int64_t host_protocol = 132;
    int64_t host_hold_seconds = 30;
    std::vector<std::string> host_tables = {"254=0"};  // "table=vrf"
    std::vector<std::string> host_limits;              // "class=packets"

    std::string srv6_locator;                // empty: no segment routing
    std::string srv6_source;                 // empty: the locator's first address
    std::vector<std::string> srv6_locators;  // empty: the node's own
    std::vector<std::string> srv6_sources;   // empty: the locators
    int64_t srv6_hop_limit = 64;
    std::string srv6_dscp = "copy";
    std::vector<std::string> srv6_hmac_keys;  // "id=1;file=/path;form=linux"
    int64_t srv6_hmac_sign = 0;               // 0: nothing is signed
    bool srv6_hmac_require = false;

    std::string vhost_socket_mode = "0660";
    std::string vhost_socket_group;
    bool vhost_packed = false;

    std::vector<std::string> volatile_owners = {"routing"};

    std::string log_to = "stderr";
    std::string log_format = "text";
    std::string log_level = "info";
    std::vector<std::string> log_levels;  // "module=level"

    std::vector<UplinkSpec> uplinks;

    std::string control_socket() const {
        return socket_path.empty() ? run_dir + "/slash32.sock" : socket_path;
    }
};

// One option, for the parsers, `--help`, and the test of the reference.
struct ConfigOption {
    using Target = std::variant<std::string Config::*, bool Config::*, int64_t Config::*,
                                std::vector<int64_t> Config::*, std::vector<std::string> Config::*>;
    const char* section;
    const char* key;
    Target target;
    const char* help;
    int64_t min = 0;  // of numbers
    int64_t max = INT64_MAX;

    // "--section-key" with dashes.
    std::string flag() const;
};
const std::vector<ConfigOption>& config_options();

// Reads a file into `config`. The error's path is "file:line", its message one sentence that names
// the option.
Result<void> read_config_file(const std::string& path, Config& config);

// Parses "name=up0;devargs=net_tap0,iface=tap0;mtu=1500" as the flag --uplink takes it.
Result<UplinkSpec> parse_uplink_flag(const std::string& text);

// Ranges and relations; the error's path is "section.key".
Result<void> check_config(const Config& config);

// "udp_timeout=60" as conntrack.timeouts takes it; std::nullopt if it is not such, or no such
// timeout.
std::optional<std::pair<std::string, uint32_t>> parse_timeout(const std::string& text);

// "254=0" as host.tables takes it, a table of the kernel and a VRF; std::nullopt if it is not such.
std::optional<std::pair<uint32_t, VrfId>> parse_table(const std::string& text);

// "icmp=500" as host.limits takes it; std::nullopt if it is not such, or no such class.
std::optional<std::pair<HostClass, uint32_t>> parse_host_limit(const std::string& text);

// An octal mode as written, "0660". REQUIRES: checked.
unsigned parse_mode(const std::string& text);

}  // namespace slash32
