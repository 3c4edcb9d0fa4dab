// SPDX-License-Identifier: Apache-2.0
// s32-frontend: virtual machines' ends of vhost-user ports, for scripts. See README.md beside this
// file.
#include "tests/frontend/fleet.h"

#include <CLI/CLI.hpp>

#include <csignal>
#include <exception>

namespace {

using namespace slash32;            // NOLINT: a main file
using namespace slash32::frontend;  // NOLINT

void add_host_options(CLI::App* mode, HostOptions& host) {
    mode->add_option("--port", host.port, "number of the port: names the socket and the addresses");
    mode->add_option("--ip", host.ip, "own address instead of 10.0.0.0 + port + 10");
    mode->add_option("--mac", host.mac, "own MAC instead of 02:00:00:00:hh:ll");
}

int run(int argc, char** argv) {
    CLI::App app("virtual machines' ends of vhost-user ports; JSON lines on standard output");
    app.require_subcommand(1);
    app.fallthrough();
    ToolOptions tool;
    std::string gateway = "02:53:32:00:00:01";
    app.add_option("--dir", tool.dir, "directory of the sockets")->required();
    app.add_option("--prefix", tool.prefix, "sockets are DIR/PREFIX<number>.sock");
    app.add_flag("--client", tool.client, "connect to the backend's sockets");
    app.add_option("--gateway-mac", gateway, "destination MAC of what is sent");
    app.add_option("--queue-pairs", tool.queue_pairs)->check(CLI::Range(1, 64));
    app.add_option("--ring-size", tool.ring_size, "a power of two")->check(CLI::Range(4, 32768));
    app.add_flag("--no-indirect", tool.no_indirect);
    app.add_flag("--no-event-index", tool.no_event_index);
    app.add_flag("--no-mergeable", tool.no_mergeable);
    app.add_flag("--offloads", tool.offloads, "checksum and TSO, IPv4 and IPv6, both directions");
    app.add_option("--mtu", tool.mtu, "sent with NET_SET_MTU; bytes")->check(CLI::Range(68, 65535));
    app.add_option("--wait-ms", tool.wait_ms, "for all ports to run");

    ScaleOptions scale;
    CLI::App* scale_mode = app.add_subcommand("scale", "many ports; every packet accounted for");
    scale_mode->add_option("--count", scale.count)->check(CLI::Range(2, 4096));
    scale_mode->add_option("--packets", scale.packets, "a port and round");
    scale_mode->add_option("--bytes", scale.bytes)->check(CLI::Range(62, 9000));
    scale_mode->add_option("--pattern", scale.pattern)->check(CLI::IsMember({"ring", "pairs"}));
    scale_mode->add_option("--window", scale.window, "frames of a port under way at a time");
    scale_mode->add_option("--timeout-ms", scale.timeout_ms, "without progress");
    scale_mode->add_option("--active", scale.active, "ports that send (the first ones)");
    scale_mode->add_flag("--manual", scale.manual, "no round before the first \"go\"");

    StreamOptions stream;
    CLI::App* stream_mode = app.add_subcommand("stream", "one pair at a set rate; gaps and losses");
    stream_mode->add_option("--from", stream.from);
    stream_mode->add_option("--to", stream.to);
    stream_mode->add_option("--rate", stream.rate, "frames a second");
    stream_mode->add_option("--bytes", stream.bytes)->check(CLI::Range(62, 9000));
    stream_mode->add_option("--duration", stream.duration_s, "seconds; 0: until quit");

    HostileOptions hostile;
    CLI::App* hostile_mode = app.add_subcommand("hostile", "one attack, and what became of it");
    hostile_mode->add_option("case", hostile.name, "name, \"list\" or \"all\"")->required();
    hostile_mode->add_option("--count", hostile.count, "2, or 3 with a witness stream 1 to 2")
        ->check(CLI::Range(2, 3));
    hostile_mode->add_option("--rate", hostile.rate, "of the witness stream");
    hostile_mode->add_option("--observe-ms", hostile.observe_ms, "after the attack");

    HostOptions host;
    CLI::App* echo_mode = app.add_subcommand("echo", "answers ARP, ICMP echo and UDP");
    add_host_options(echo_mode, host);
    CLI::App* ping_mode = app.add_subcommand("ping", "ARP and ICMP echo to a target");
    add_host_options(ping_mode, host);
    ping_mode->add_option("--target", host.target)->required();
    ping_mode->add_option("--count", host.count);
    ping_mode->add_option("--interval-ms", host.interval_ms);
    ping_mode->add_option("--timeout-ms", host.timeout_ms);
    CLI::App* frames_mode = app.add_subcommand("frames", "raw frames as JSON lines, both ways");
    add_host_options(frames_mode, host);

    CLI11_PARSE(app, argc, argv);
    const auto mac = parse_mac(gateway);
    if (!mac || (tool.ring_size & (tool.ring_size - 1)) != 0) {
        emit({{"event", "error"},
              {"message", mac ? "--ring-size is no power of two" : "--gateway-mac is no MAC"}});
        return 2;
    }
    tool.gateway = *mac;
    std::signal(SIGPIPE, SIG_IGN);  // NOLINT: a reader that goes away ends us by end of input
    raise_file_limit();
    if (*scale_mode) return run_scale(tool, scale);
    if (*stream_mode) return run_stream(tool, stream);
    if (*hostile_mode) return run_hostile(tool, hostile);
    if (*echo_mode) return run_echo(tool, host);
    if (*ping_mode) return run_ping(tool, host);
    return run_frames(tool, host);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& e) {
        emit({{"event", "error"}, {"message", e.what()}});
        return 2;
    }
}
