// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <sstream>

namespace slash32::pktgen {

namespace {

// Connections under way, unless said else: enough for full bursts, too few to fill a ring.
constexpr uint64_t kTcpWindow = 128;

struct Raw {
    std::vector<std::string> devices;
    std::vector<std::string> source_macs;
    std::vector<std::string> source_ips;
    std::vector<std::string> destination_macs;
    std::vector<std::string> destination_ips;
    std::vector<std::string> sids;
    std::vector<std::string> encapsulation_sources;
    std::string check = "burst";
    std::string gateway;
    std::string search;
    std::string mix;
    bool has_mix = false;
    bool has_bytes = false;
    double loss_percent = 0.5;
    double width_percent = 1;
};

tl::unexpected<Error> invalid(const std::string& option, const std::string& message) {
    return fail(ErrorCode::kInvalid, option, message);
}

Result<Ip4> parse_ip4(const std::string& option, const std::string& text) {
    const auto address = parse_ip(text);
    if (!address || !address->is_ipv4())
        return invalid(option, fmt::format("\"{}\" is not an IPv4 address", text));
    return address->ipv4();
}

Result<IpAddress> parse_address(const std::string& option, const std::string& text) {
    const auto address = parse_ip(text);
    if (!address) return invalid(option, fmt::format("\"{}\" is not an IP address", text));
    return *address;
}

// "none" is nothing.
Result<std::optional<IpAddress>> parse_ip6(const std::string& option, const std::string& text) {
    if (text == "none") return std::optional<IpAddress>();
    const auto address = parse_ip(text);
    if (!address || address->is_ipv4())
        return invalid(option, fmt::format("\"{}\" is neither an IPv6 address nor none", text));
    return std::optional<IpAddress>(*address);
}

// "64:7,594:4,1518:1". The simple IMIX has packets of 40, 576 and 1,500 bytes in Ethernet frames
// with their FCS, which are not counted here.
Result<std::vector<FrameSize>> parse_mix(const std::string& text, size_t least) {
    if (text == "simple") {
        return std::vector<FrameSize>{{static_cast<uint16_t>(least), 7}, {590, 4}, {1514, 1}};
    }
    if (text.empty() || text.back() == ',')
        return invalid("--imix", "is \"simple\" or SIZE:WEIGHT,...");
    std::vector<FrameSize> mix;
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) {
        FrameSize size;
        char colon = 0;
        std::istringstream parts(word);
        parts >> size.bytes >> colon >> size.weight;
        if (!parts || colon != ':' || !(parts >> std::ws).eof() || size.weight == 0)
            return invalid("--imix", fmt::format("\"{}\" is not SIZE:WEIGHT", word));
        if (size.bytes < least || size.bytes > kMaxFrameBytes)
            return invalid("--imix", fmt::format("sizes are from {} to {}", least, kMaxFrameBytes));
        mix.push_back(size);
    }
    unsigned weights = 0;
    for (const FrameSize& size : mix)
        weights += size.weight;
    if (mix.empty() || mix.size() > kMaxSizes || weights > kMaxWeights)
        return invalid("--imix", fmt::format("has 1 to {} sizes, whose weights are at most {}",
                                             kMaxSizes, kMaxWeights));
    return mix;
}

Result<Mac> parse_unicast(const std::string& option, const std::string& text) {
    const auto mac = parse_mac(text);
    if (!mac || mac->is_multicast())
        return invalid(option, fmt::format("\"{}\" is not a unicast MAC address", text));
    return *mac;
}

// The i-th of a list that has one entry a device, or one for all.
const std::string& entry(const std::vector<std::string>& list, size_t i) {
    return list.size() == 1 ? list[0] : list[i];
}

Result<void> check_length(const char* option, const std::vector<std::string>& list, size_t devices,
                          bool may_be_shared) {
    if (list.size() == devices || (may_be_shared && list.size() == 1)) return {};
    return invalid(option, fmt::format("{} values for {} devices", list.size(), devices));
}

// --srv6-sid and --srv6-src: one entry a device.
Result<void> fill_srv6(const Raw& raw, Options& options) {
    if (raw.sids.empty() && raw.encapsulation_sources.empty()) {
        if (options.srh) return invalid("--srh", "needs --srv6-sid");
        return {};
    }
    const size_t count = options.devices.size();
    if (auto checked = check_length("--srv6-sid", raw.sids, count, false); !checked) return checked;
    if (auto checked = check_length("--srv6-src", raw.encapsulation_sources, count, true); !checked)
        return checked;
    for (size_t i = 0; i < count; i++) {
        const auto sid = parse_ip6("--srv6-sid", entry(raw.sids, i));
        const auto source = parse_ip6("--srv6-src", entry(raw.encapsulation_sources, i));
        if (!sid) return tl::unexpected<Error>(sid.error());
        if (!source) return tl::unexpected<Error>(source.error());
        if (*sid && !*source)
            return invalid("--srv6-src", fmt::format("device {} has a SID and no source", i));
        options.devices[i].sid = *sid;
        options.devices[i].encapsulation_source = source->value_or(IpAddress());
    }
    return {};
}

Result<void> fill(const Raw& raw, Options& options) {
    if (raw.devices.empty()) return invalid("--device", "at least one device is needed");
    const size_t count = raw.devices.size();
    const struct {
        const char* option;
        const std::vector<std::string>& list;
        bool shared;
    } lists[] = {{"--src-mac", raw.source_macs, false},
                 {"--src-ip", raw.source_ips, false},
                 {"--dst-mac", raw.destination_macs, true},
                 {"--dst-ip", raw.destination_ips, false}};
    for (const auto& list : lists) {
        if (auto checked = check_length(list.option, list.list, count, list.shared); !checked)
            return checked;
    }
    for (size_t i = 0; i < count; i++) {
        auto device = parse_device(raw.devices[i], i, options.ring_entries);
        if (!device) return tl::unexpected<Error>(device.error());
        const auto source_mac = parse_unicast("--src-mac", entry(raw.source_macs, i));
        const auto destination_mac = parse_unicast("--dst-mac", entry(raw.destination_macs, i));
        const auto source_ip = parse_address("--src-ip", entry(raw.source_ips, i));
        const auto destination_ip = parse_address("--dst-ip", entry(raw.destination_ips, i));
        if (!source_mac) return tl::unexpected<Error>(source_mac.error());
        if (!destination_mac) return tl::unexpected<Error>(destination_mac.error());
        if (!source_ip) return tl::unexpected<Error>(source_ip.error());
        if (!destination_ip) return tl::unexpected<Error>(destination_ip.error());
        device->source_mac = *source_mac;
        device->destination_mac = *destination_mac;
        device->source_ip = *source_ip;
        device->destination_ip = *destination_ip;
        options.devices.push_back(std::move(*device));
    }
    if (auto filled = fill_srv6(raw, options); !filled) return filled;
    if (!raw.gateway.empty()) {
        const auto gateway = parse_ip4("--gateway", raw.gateway);
        if (!gateway) return tl::unexpected<Error>(gateway.error());
        if (is_ipv6(options)) return invalid("--gateway", "is for devices with IPv4 addresses");
        options.gateway = *gateway;
    }
    if (raw.has_mix) {
        const auto mix = parse_mix(raw.mix, is_ipv6(options) ? kMinFrameBytes6 : kMinFrameBytes);
        if (!mix) return tl::unexpected<Error>(mix.error());
        options.mix = *mix;
        options.frame_bytes = std::ranges::max(options.mix, {}, &FrameSize::bytes).bytes;
    } else if (is_ipv6(options) && !raw.has_bytes) {
        options.frame_bytes = kMinFrameBytes6;
    }
    options.check = raw.check == "all" ? Check::kAll : Check::kBurst;
    options.search = !raw.search.empty();
    options.goal.loss = raw.search == "pdr" ? raw.loss_percent / 100 : 0;
    options.goal.width = raw.width_percent / 100;
    return check_options(options);
}

void describe(CLI::App& app, Raw& raw, Options& options) {
    const auto list = [&](const char* name, std::vector<std::string>& target, const char* help) {
        return app.add_option(name, target, help)->delimiter(',');
    };
    app.add_option("--device", raw.devices,
                   "listen:SOCKET, connect:SOCKET (vhost-user) or an ethdev's devargs; the first "
                   "and second send to each other, the third and fourth, ...")
        ->required();
    list("--src-mac", raw.source_macs, "own MAC of each device")->required();
    list("--src-ip", raw.source_ips, "own IPv4 or IPv6 address of each device")->required();
    list("--dst-mac", raw.destination_macs, "the gateway's MAC: one, or one a device")->required();
    list("--dst-ip", raw.destination_ips, "first destination of each device")->required();
    app.add_option("--gateway", raw.gateway, "IPv4 gateway: asks for its MAC by ARP first");
    app.add_option("--core", options.core, "CPU core of everything that this program does");
    app.add_flag("--huge", options.hugepages, "use hugepages");
    app.add_option("--memory", options.memory_mb, "MiB")->check(CLI::Range(64, 65536));
    app.add_option("--eal", options.eal_args, "a further argument for DPDK's EAL");

    app.add_option("--flows", options.flows, "different (addresses, ports) a device");
    app.add_option("--dst-count", options.destinations, "consecutive destinations a device");
    app.add_option("--bytes", options.frame_bytes,
                   "of a frame, without FCS; 64 by default, 84 with IPv6");
    app.add_option("--imix", raw.mix, "a mix of sizes: \"simple\", or SIZE:WEIGHT,...")
        ->excludes("--bytes");
    app.add_flag("--tso", options.tso, "TCP segments of --bytes (65,214 by default) to be cut");
    app.add_option("--mss", options.mss, "payload of the packets they would be cut into")
        ->check(CLI::Range(88, 9000));
    list("--srv6-sid", raw.sids,
         "what each device sends is encapsulated towards this SID, or \"none\"");
    list("--srv6-src", raw.encapsulation_sources, "source address of each encapsulation, or one");
    app.add_flag("--srh", options.srh, "a segment routing header in each encapsulation");
    app.add_flag("--tcp", options.tcp,
                 "open and close TCP connections; devices with an odd number answer; --rate and "
                 "--window are of connections");
    CLI::Option* one_way =
        app.add_flag("--one-way", options.one_way, "devices with an odd number only receive");
    app.add_flag("--reverse", options.reverse, "those with an even number do")->needs(one_way);
    app.add_flag("--two-way", options.two_way,
                 "devices with an odd number answer: they send the flows of their peer reversed");
    app.add_option("--rate", options.rate, "packets a second and device; 0: as fast as they go")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--window", options.window,
                   "packets of a device under way at a time, as TCP would have it; 0: any number");
    app.add_option("--ring", options.ring_entries, "entries of a virtio ring")
        ->check(CLI::IsMember({64, 128, 256, 512, 1024}));
    app.add_option("--rx-buffer", options.receive_buffer, "bytes")->check(CLI::Range(256, 32768));
    app.add_flag("--latency", options.latency,
                 "measure the time from making a packet to having it back; never sleeps");
    app.add_option("--check", raw.check, "look at the last packet of each \"burst\", or \"all\"")
        ->check(CLI::IsMember({"burst", "all"}));

    app.add_option(
           "--search", raw.search,
           "find the highest rate without loss (\"throughput\", RFC 2544), or with a little "
           "(\"pdr\")")
        ->check(CLI::IsMember({"throughput", "pdr"}));
    app.add_option("--loss-percent", raw.loss_percent, "that a pdr search allows")
        ->check(CLI::Range(0.0001, 50.0));
    app.add_option("--search-width", raw.width_percent,
                   "percent that the rates which hold and fail may be apart at the end")
        ->check(CLI::Range(0.01, 50.0));
    app.add_option("--search-trials", options.goal.trials, "of one rate, most of which decide")
        ->check(CLI::Range(1, 99));
    app.add_option("--trial-seconds", options.trial_seconds, "seconds of each trial")
        ->check(CLI::Range(0.05, 600.0));
    app.add_option("--csv", options.csv, "write results and trials to this file, too");

    app.add_option("--connect", options.connect_seconds, "seconds for the links to come up")
        ->check(CLI::Range(0.0, 3600.0));
    app.add_option("--warmup", options.warmup_seconds, "seconds before the measurement")
        ->check(CLI::Range(0.0, 3600.0));
    app.add_option("--seconds", options.measure_seconds, "seconds of the measurement")
        ->check(CLI::Range(0.01, 86400.0));
    app.add_flag("--verbose", options.verbose, "DPDK's log to standard error");
}

}  // namespace

Result<DeviceOptions> parse_device(const std::string& text, size_t index, uint16_t ring_entries) {
    const size_t colon = text.find(':');
    const std::string kind = colon == std::string::npos ? "" : text.substr(0, colon);
    DeviceOptions device;
    if (kind != "listen" && kind != "connect") {
        device.vdev = text;
        device.name = text.substr(0, text.find(','));
        if (device.name.empty()) return invalid("--device", "is empty");
        return device;
    }
    const std::string path = text.substr(colon + 1);
    if (path.empty() || path.size() > 107 || path.find(',') != std::string::npos) {
        return invalid(
            "--device",
            fmt::format("\"{}\" is not the path of a socket: 1 to 107 bytes, no comma", path));
    }
    device.name = fmt::format("virtio_user{}", index);
    // Without in-order rings: Linux guests do not have them, and not every backend offers them.
    device.vdev = fmt::format("{},path={},queue_size={},in_order=0{}", device.name, path,
                              ring_entries, kind == "listen" ? ",server=1" : "");
    if (kind == "listen") device.socket = path;
    return device;
}

bool has_srv6(const Options& options) {
    return std::ranges::any_of(options.devices, [](const DeviceOptions& d) { return !!d.sid; });
}

bool sends(const Options& options, size_t index) {
    if (!options.one_way && !options.tcp) return true;
    return index % 2 == (options.reverse ? 1u : 0u);
}

Result<void> check_options(const Options& options) {
    if (options.devices.size() > kMaxDevices)
        return invalid("--device", fmt::format("at most {} devices", kMaxDevices));
    if (options.devices.size() != 1 && options.devices.size() % 2 != 0)
        return invalid("--device", "devices come in pairs");
    if (options.two_way && options.devices.size() == 1)
        return invalid("--two-way", "needs a pair of devices");
    if (options.search && (options.tso || options.window != 0))
        return invalid("--search", "is for packets at a rate: neither --tso nor --window");
    if (options.core >= CPU_SETSIZE) return invalid("--core", "there is no such core");
    if (options.flows == 0 || options.flows > kMaxFlows)
        return invalid("--flows", fmt::format("must be from 1 to {}", kMaxFlows));
    if (options.destinations == 0 || options.destinations > options.flows)
        return invalid("--dst-count", "must be from 1 to the number of flows");
    const bool ipv6 = is_ipv6(options);
    for (const DeviceOptions& device : options.devices) {
        if (device.source_ip.is_ipv4() == ipv6 || device.destination_ip.is_ipv4() == ipv6)
            return invalid("--src-ip", "all addresses are IPv4, or all are IPv6");
    }
    bool encapsulates = false;
    for (size_t i = 0; i < options.devices.size(); i++)
        encapsulates |= sends(options, i) && options.devices[i].sid.has_value();
    if (options.tso && (ipv6 || !options.mix.empty() || encapsulates))
        return invalid("--tso", "is for IPv4 and one size, not encapsulated");
    if (options.tcp && (options.devices.size() == 1 || options.tso || has_srv6(options) ||
                        options.one_way || options.two_way || options.search))
        return invalid("--tcp",
                       "needs a pair of devices, and goes with none of --tso, --srv6-sid, "
                       "--one-way, --two-way and --search");
    const size_t min = ipv6 ? kMinFrameBytes6 : kMinFrameBytes;
    const size_t added = has_srv6(options) ? kEncapsulationBytes + kSrhBytes : 0;
    const size_t max = options.tso ? kMaxSegmentBytes : kMaxFrameBytes - added;
    if (options.frame_bytes < min || options.frame_bytes > max)
        return invalid("--bytes", fmt::format("must be from {} to {}", min, max));
    if (options.tso && options.frame_bytes < kMinFrameBytes + 12)
        return invalid("--bytes", "is too short for a TCP segment");
    return {};
}

std::optional<int> parse_command_line(int argc, char** argv, Options& options) {
    CLI::App app(
        "s32-pktgen: sends UDP, TCP connections or large TCP segments through a router and counts "
        "what comes back.\n"
        "JSON lines on standard output; exit status 1: unreachable, 2: bad option, 3: no device.",
        "s32-pktgen");
    Raw raw;
    describe(app, raw, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (options.tcp && app.count("--window") == 0) options.window = kTcpWindow;
    if (options.tcp && (app.count("--bytes") != 0 || app.count("--imix") != 0)) {
        fmt::print(stderr, "s32-pktgen: --tcp: its segments have no data: not --bytes, --imix\n");
        return 2;
    }
    if (options.tso && app.count("--bytes") == 0) options.frame_bytes = 14 + 20 + 20 + 45 * 1448;
    raw.has_bytes = app.count("--bytes") != 0;
    raw.has_mix = app.count("--imix") != 0;
    if (auto filled = fill(raw, options); !filled) {
        fmt::print(stderr, "s32-pktgen: {}: {}\n", filled.error().path, filled.error().message);
        return 2;
    }
    return std::nullopt;
}

}  // namespace slash32::pktgen
