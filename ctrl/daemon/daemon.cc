// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/daemon.h"

#include "ctrl/api/api.h"
#include "ctrl/capture/capture_manager.h"
#include "ctrl/daemon/dataplane.h"
#include "ctrl/daemon/device_adapter.h"
#include "ctrl/daemon/network_namespace.h"
#include "ctrl/daemon/process.h"
#include "ctrl/daemon/reload.h"
#include "ctrl/daemon/segment_routing.h"
#include "ctrl/daemon/systemd.h"
#include "ctrl/daemon/telemetry.h"
#include "ctrl/daemon/tunnel_errors.h"
#include "ctrl/daemon/version.h"
#include "ctrl/explain/explainer.h"
#include "ctrl/flow/clock.h"
#include "ctrl/flow/conntrack.h"
#include "ctrl/intent/idle_routes.h"
#include "ctrl/intent/intent.h"
#include "ctrl/intent/sqlite_store.h"
#include "ctrl/log/log.h"
#include "ctrl/plane/forwarding_plane.h"
#include "ctrl/punt/announcement.h"
#include "ctrl/punt/denied.h"
#include "ctrl/routing/announcer.h"
#include "ctrl/routing/host_control.h"
#include "ctrl/routing/host_link.h"
#include "ctrl/routing/kernel_routing.h"
#include "ctrl/routing/link_announcer.h"
#include "ctrl/rpc/clock_text.h"
#include "ctrl/rpc/server.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <fmt/format.h>
#include <rte_mbuf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

// While something waits for workers, in case a doorbell is late: a grace period rings none, and is
// mostly over at once.
constexpr std::chrono::microseconds kFirstPoll = 30us;
constexpr std::chrono::microseconds kPollInterval = 500us;
constexpr auto kAgeInterval = 1s;

rpc::ServerOptions server_options(const Config& config) {
    rpc::ServerOptions options;
    options.path = config.control_socket();
    options.mode = static_cast<mode_t>(parse_mode(config.socket_mode));
    options.group = config.socket_group;
    const auto copy = [](const std::vector<int64_t>& from, auto& to) {
        to.assign(from.begin(), from.end());
    };
    copy(config.read_write_uids, options.rw_uids);
    copy(config.read_write_gids, options.rw_gids);
    copy(config.read_only_uids, options.ro_uids);
    copy(config.read_only_gids, options.ro_gids);
    options.max_clients = static_cast<size_t>(config.max_clients);
    options.frame_bytes_max = static_cast<size_t>(config.max_frame_mb) << 20;
    return options;
}

FlowSettings flow_settings(const Config& config) {
    const auto given = [](int64_t value) {
        return value > 0 ? std::optional(static_cast<uint32_t>(value)) : std::nullopt;
    };
    FlowSettings settings;
    settings.flows_per_port = given(config.conntrack_flows_per_port);
    settings.half_open_per_port = given(config.conntrack_half_open_per_port);
    settings.half_open = given(config.conntrack_half_open);
    settings.tcp_loose = config.conntrack_tcp_loose;
    settings.tcp_liberal = config.conntrack_tcp_liberal;
    for (const std::string& item : config.conntrack_timeouts) {
        const auto [name, seconds] = *parse_timeout(item);
        settings.timeouts[name] = seconds;
    }
    return settings;
}

}  // namespace

// In the order of their making; they go in the opposite order.
struct Daemon::Parts {
    Parts(const Config& c, std::function<Result<Config>()> r)
        : config(c),
          running(c),
          read_again(std::move(r)),
          devices(io, config),
          signals(io, SIGTERM, SIGINT),
          hangup(io, SIGHUP),
          poll_timer(io),
          watchdog(io),
          age_timer(io) {}

    Result<void> start();
    Result<void> start_holder();
    Result<void> enter_host_namespace();
    Result<void> start_plane();
    Result<void> start_intent();
    Result<void> start_host_link();
    Result<void> start_routing();
    void start_link_announcer();
    Result<void> start_serving();
    void wait_for_doorbell();
    void schedule_poll();
    void on_doorbell();
    void take_punt(rte_mbuf& packet);
    std::string port_name(PortId id) const;
    std::string store_warning() const;
    void feed_watchdog();
    void age();
    void wait_for_hangup();
    void reload();
    void stop();

    const Config config;  // at the start
    Config running;       // and what reloads have changed
    std::function<Result<Config>()> read_again;
    std::optional<SegmentRouting> srv6;  // as `config` has it
    Descriptor run_lock;
    asio::io_context io{1};
    // The executor of what may outlive a turn of the loop; see Executor in ctrl/intent/store.h.
    Executor executor = [this](std::function<void()> f) { asio::post(io, std::move(f)); };

    std::unique_ptr<HolderClient> holder;
    std::optional<NetworkNamespace> home;  // where we started, if the host's is another
    DataPlane dataplane;
    DeviceAdapter devices;
    std::unique_ptr<ForwardingPlane> plane;
    std::unique_ptr<Store> store;
    std::unique_ptr<Intent> intent;
    std::unique_ptr<Announcer> announcer;
    std::unique_ptr<LinkAnnouncer> link_announcer;
    std::unique_ptr<KernelRouting> routing;
    std::unique_ptr<HostControl> host;
    std::unique_ptr<DaemonTelemetry> telemetry;
    std::unique_ptr<Explainer> explainer;
    std::unique_ptr<Conntrack> conntrack;
    std::unique_ptr<CaptureManager> captures;
    std::unique_ptr<Api> api;
    std::unique_ptr<rpc::Server> server;

    std::unique_ptr<asio::posix::stream_descriptor> doorbell;
    asio::signal_set signals;
    asio::signal_set hangup;
    asio::steady_timer poll_timer;
    bool poll_scheduled = false;
    std::chrono::microseconds poll_after = kFirstPoll;
    asio::steady_timer watchdog;
    std::unique_ptr<IdleRoutes> idle_routes;
    std::unique_ptr<TunnelErrors> tunnel_errors;
    asio::steady_timer age_timer;
};

Daemon::Daemon(const Config& config, std::function<Result<Config>()> reload)
    : parts_(std::make_unique<Parts>(config, std::move(reload))) {}

Daemon::~Daemon() {
    if (parts_) parts_->stop();
}

Result<void> Daemon::start() {
    return parts_->start();
}

void Daemon::run() {
    notify_ready("forwarding");
    parts_->feed_watchdog();
    parts_->io.run();
    notify_stopping();
    log("daemon").info("stopping");
}

Result<void> Daemon::Parts::start() {
    if (auto started = start_logging(LogOptions{.to = config.log_to,
                                                .format = config.log_format,
                                                .level = config.log_level,
                                                .levels = config.log_levels});
        !started)
        return started;
    if (auto made = make_directory(config.run_dir, "daemon.run_dir"); !made) return made;
    if (auto locked = lock_directory(config.run_dir, run_lock); !locked) return locked;
    raise_file_limit();
    signals.async_wait([this](const asio::error_code& error, int) {
        if (!error) io.stop();
    });
    wait_for_hangup();
    std::signal(SIGPIPE, SIG_IGN);

    if (auto started = start_holder(); !started) return started;
    if (auto started = start_plane(); !started) return started;
    if (auto started = start_intent(); !started) return started;
    if (auto started = start_host_link(); !started) return started;
    start_link_announcer();
    plane->on_reachable([this](PortId id, const Reachable& reachable) {
        if (announcer) announcer->set_port(id, reachable);
        if (link_announcer) link_announcer->set_port(id, reachable);
    });
    if (auto started = start_routing(); !started) return started;
    return start_serving();
}

void Daemon::Parts::wait_for_hangup() {
    hangup.async_wait([this](const asio::error_code& error, int) {
        if (error) return;
        reload();
        wait_for_hangup();
    });
}

void Daemon::Parts::reload() {
    const auto wanted = read_again();
    if (!wanted) {
        log("daemon").error("the configuration stays as it is: {}: {}", wanted.error().path,
                            wanted.error().message);
        return;
    }
    const Reload changed = take_over(running, *wanted);
    if (changed.changes("log")) {
        if (auto set = set_log_levels(running.log_level, running.log_levels); !set)
            log("daemon").error("log levels: {}", set.error().message);
    }
    if (changed.changes("conntrack")) {
        if (auto set = conntrack->set(flow_settings(running)); !set)
            log("daemon").error("conntrack.{}: {}", set.error().path, set.error().message);
    }
    log("daemon").info(
        "the configuration was read again: {}",
        changed.now.empty() ? "nothing changes" : fmt::to_string(fmt::join(changed.now, ", ")));
    if (!changed.restart.empty())
        log("daemon").warn("only a restart changes {}", fmt::join(changed.restart, ", "));
}

// Before there are threads: it starts a process.
Result<void> Daemon::Parts::start_holder() {
    const bool needed = !config.host_interface.empty() ||
                        std::ranges::any_of(config.uplinks, &UplinkSpec::has_host_view);
    const std::string path = config.run_dir + "/holder.sock";
    if (!needed || config.host_hold_seconds == 0) {
        HolderClient::let_go(path);
        return {};
    }
    auto opened = HolderClient::open(
        {.path = path, .seconds = static_cast<unsigned>(config.host_hold_seconds)});
    if (!opened) return tl::unexpected<Error>(opened.error());
    holder = std::move(*opened);
    return {};
}

// From here on the control thread is where the host's interfaces and routes are; what it makes for
// uplinks and VMs, it makes at home.
Result<void> Daemon::Parts::enter_host_namespace() {
    if (config.host_namespace.empty()) return {};
    auto there = NetworkNamespace::named(config.host_namespace);
    if (!there) return tl::unexpected<Error>(there.error());
    return there->enter();
}

Result<void> Daemon::Parts::start_plane() {
    if (auto prepared = dataplane.prepare(config); !prepared) return prepared;
    if (!config.host_namespace.empty()) {
        auto here = NetworkNamespace::current();
        if (!here) return tl::unexpected<Error>(here.error());
        home.emplace(std::move(*here));
    }
    auto started = devices.start({.pool = dataplane.pool(),
                                  .synchronize = [this] { dataplane.synchronize(); },
                                  .workers = dataplane.worker_count(),
                                  .holder = holder.get(),
                                  .home = home ? &*home : nullptr});
    if (!started) return started;
    if (auto entered = enter_host_namespace(); !entered) return entered;
    const RouterIdentity router{*parse_mac(config.router_mac), parse_ip(config.gateway4)->ipv4(),
                                parse_ip(config.gateway6)->ipv6()};
    plane = std::make_unique<ForwardingPlane>(
        dataplane.publisher(), dataplane.fib(), devices, router,
        FirewallTables{dataplane.address_sets(), dataplane.generations()});
    plane->firewall().on_rule_freed([this](RuleId id) { dataplane.reset_rule(id); });
    plane->on_sid_counter_freed([this](uint16_t counter) { dataplane.reset_sid(counter); });
    plane->set_resolver(dataplane.resolver());
    tunnel_errors = std::make_unique<TunnelErrors>(*plane, dataplane.publisher(), dataplane.pool());
    plane->set_hop_use(&dataplane.hop_use(), flow_clock_now);
    const auto read = read_segment_routing(config);
    if (!read) return tl::unexpected<Error>(read.error());
    srv6 = *read;
    if (srv6) {
        auto enabled = plane->enable_segment_routing(srv6->locator, srv6->tunnels);
        if (!enabled) return enabled;
    }
    conntrack = std::make_unique<Conntrack>(dataplane.flows(), dataplane.generations(),
                                            dataplane.quiescent(), DataPlane::kControlReader,
                                            dataplane.flow_bytes(), executor);
    plane->on_gone([this](PortId id) { conntrack->flush_port(id); });
    if (auto set = conntrack->set(flow_settings(config)); !set) {
        return fail(ErrorCode::kInvalid, "conntrack." + set.error().path, set.error().message);
    }
    doorbell = std::make_unique<asio::posix::stream_descriptor>(io, dup(dataplane.doorbell()));
    wait_for_doorbell();
    dataplane.publisher().on_waiting([this] { schedule_poll(); });
    dataplane.reclaimer().on_waiting([this] { schedule_poll(); });
    dataplane.start_workers();
    return {};
}

Result<void> Daemon::Parts::start_intent() {
    if (config.state_dir.empty()) {
        store = std::make_unique<MemoryStore>(executor);
    } else {
        if (auto made = make_directory(config.state_dir, "daemon.state_dir"); !made) return made;
        store = std::make_unique<SqliteStore>(
            SqliteStore::Options{.path = config.state_dir + "/intent.db"}, executor);
    }
    IntentOptions options;
    options.volatile_owners = {config.volatile_owners.begin(), config.volatile_owners.end()};
    intent = std::make_unique<Intent>(*plane, *store, executor, options);
    if (srv6) intent->set_locator(srv6->locator);
    for (const UplinkSpec& uplink : config.uplinks)
        intent->configure_vrf(uplink.vrf);
    for (const std::string& item : config.host_tables)
        intent->configure_vrf(parse_table(item)->second);
    for (const UplinkSpec& uplink : config.uplinks) {
        const auto id = plane->add_uplink(uplink);
        if (!id) {
            Error error = id.error();
            error.message = fmt::format("uplink {}: {}", uplink.name, error.message);
            return tl::unexpected<Error>(error);
        }
        if (auto added = intent->add_uplink(uplink, *id); !added) return added;
        const PortId view = plane->host_view(*id);
        if (view == kNoPort) continue;
        if (auto added = intent->add_host_view(uplink, view); !added) return added;
    }
    const auto restored = intent->restore();
    if (!restored) return tl::unexpected<Error>(restored.error());
    if (const auto warning = store_warning(); !warning.empty()) log("intent").warn("{}", warning);
    for (const std::string& problem : restored->problems)
        log("intent").warn("{}", problem);
    log("intent").info("restored {} ports, {} routes, {} neighbours", restored->ports,
                       restored->routes, restored->neighbors);
    return {};
}

// The port of the host's link, as the configuration has it now, and the routes that lead to it.
Result<void> Daemon::Parts::start_host_link() {
    const auto wanted = std::make_shared<SyncSet>();
    wanted->owner = kHostOwner;
    wanted->kinds = {.ports = true,
                     .routes = false,
                     .neighbors = false,
                     .security_groups = false,
                     .address_sets = false,
                     .vrfs = false};
    if (!config.host_interface.empty()) {
        HostLink link{.interface = config.host_interface, .mac = *parse_mac(config.host_mac)};
        for (const std::string& address : config.host_addresses)
            link.addresses.push_back(*parse_ip(address));
        if (auto staged = wanted->stage(host_port(link)); !staged) return staged;
    }
    intent->write([wanted](State& state) { return plan(state, *wanted, false); },
                  [this](const Result<Done>& done) {
                      // Every interface that the configuration names has been made by now.
                      if (holder) holder->drop_untaken();
                      if (done) return;
                      log("routing").error("no link to the host: {}", done.error().message);
                  });
    if (config.host_interface.empty()) return {};
    auto started =
        Announcer::start(io, {.interface = config.host_interface,
                              .table = static_cast<uint32_t>(config.host_table),
                              .metric = static_cast<uint32_t>(config.host_metric),
                              .protocol = static_cast<uint8_t>(config.host_protocol),
                              .hold = std::chrono::seconds(config.host_hold_seconds),
                              .locator = srv6 ? std::optional(srv6->locator) : std::nullopt});
    if (!started) return tl::unexpected<Error>(started.error());
    announcer = std::move(*started);
    return {};
}

// On links without routing the VMs are announced by ARP and ND.
void Daemon::Parts::start_link_announcer() {
    std::vector<LinkAnnouncer::Link> links;
    const PortTable& ports = intent->state().ports;
    for (const UplinkSpec& uplink : config.uplinks) {
        if (!uplink.l2) continue;
        const PortId id = ports.at(ports.find(uplink.name)).id;
        links.push_back({uplink.name, plane->config(id)->router_mac});
    }
    if (!links.empty()) link_announcer = std::make_unique<LinkAnnouncer>(io, std::move(links));
}

// Follows the kernel's routes where it sees an uplink to route by.
Result<void> Daemon::Parts::start_routing() {
    constexpr uint32_t kLocalTable = 255;  // RT_TABLE_LOCAL: the host's addresses
    KernelRouting::Options options;
    options.routes.own_protocol = static_cast<uint8_t>(config.host_protocol);
    options.routes.tables[kLocalTable] = VrfId{0};
    for (const std::string& item : config.host_tables)
        options.routes.tables.insert(*parse_table(item));
    const PortTable& ports = intent->state().ports;
    for (const UplinkSpec& uplink : config.uplinks) {
        if (uplink.has_host_view())
            options.uplinks[uplink.name] = ports.at(ports.find(uplink.name)).id;
    }
    if (options.uplinks.empty()) return {};
    auto started = KernelRouting::start(io, *plane, std::move(options));
    if (!started) return tl::unexpected<Error>(started.error());
    routing = std::move(*started);
    return {};
}

Result<void> Daemon::Parts::start_serving() {
    const rpc::ServerInfo info{
        .version = kVersion, .instance = rpc::make_instance_id(), .started = rpc::now_text()};
    telemetry = std::make_unique<DaemonTelemetry>(io, dataplane, *plane);
    api = std::make_unique<Api>(io, *intent, *plane, *telemetry, info);
    if (auto warning = store_warning(); !warning.empty()) api->add_warning(std::move(warning));
    explainer = std::make_unique<Explainer>(*plane, dataplane.fib(), dataplane.address_sets(),
                                            dataplane.domain(), dataplane.pool(),
                                            [this](PortId id) { return port_name(id); });
    api->set_explain(explainer.get());
    api->set_conntrack(conntrack.get());
    api->set_announce(announcer.get());
    host = std::make_unique<HostControl>(HostControl::Options{
        .path = config.state_dir.empty() ? "" : config.state_dir + "/drained",
        .refuse_new_ports = [this](bool refuse) { intent->refuse_new_ports(refuse); },
        .announcer = announcer.get(),
        .routing = routing.get()});
    api->set_host(host.get());
    captures = std::make_unique<CaptureManager>(dataplane.publisher());
    api->set_capture(captures.get());
    plane->on_removed([this](PortId id) { captures->end_port(id); });
    idle_routes = std::make_unique<IdleRoutes>(
        *intent, *plane, [this](const RouteKey& route, const std::string& owner) {
            api->report_expired(route, owner);
        });
    age();
    server = std::make_unique<rpc::Server>(io, *api, server_options(config), info);
    if (auto started = server->start(); !started) return started;
    log("daemon").info("slash32d {} serves {} with {} workers, {} hugepages", kVersion,
                       config.control_socket(), dataplane.worker_count(),
                       dataplane.hugepages() ? "with" : "without");
    return {};
}

void Daemon::Parts::wait_for_doorbell() {
    doorbell->async_wait(
        asio::posix::descriptor_base::wait_read, [this](const asio::error_code& error) {
            if (error) return;
            uint64_t rings = 0;
            [[maybe_unused]] const ssize_t n = read(dataplane.doorbell(), &rings, sizeof rings);
            on_doorbell();
            wait_for_doorbell();
        });
}

void Daemon::Parts::on_doorbell() {
    dataplane.publisher().poll();
    dataplane.reclaimer().poll();
    dataplane.drain_punts([this](rte_mbuf& packet) { take_punt(packet); });
    dataplane.drain_captures([this](rte_mbuf& copy) {
        if (captures) captures->take(copy);
    });
    if (captures) captures->flush();
}

// Runs while something waits for workers. Called from within a change, so it only sets the timer.
void Daemon::Parts::schedule_poll() {
    if (poll_scheduled) return;
    poll_scheduled = true;
    poll_timer.expires_after(poll_after);
    poll_timer.async_wait([this](const asio::error_code& error) {
        poll_scheduled = false;
        if (error) return;
        dataplane.publisher().poll();
        dataplane.reclaimer().poll();
        const bool waits = !dataplane.publisher().idle() || dataplane.reclaimer().pending() > 0;
        poll_after = waits ? std::min(2 * poll_after, kPollInterval) : kFirstPoll;
        if (waits) schedule_poll();
    });
}

void Daemon::Parts::take_punt(rte_mbuf& packet) {
    const auto* frame = rte_pktmbuf_mtod(&packet, const uint8_t*);
    const auto* info = static_cast<const PuntInfo*>(rte_mbuf_to_priv(&packet));
    if (info->reason == PuntReason::kDenied) {
        const auto denied = read_denied({frame, rte_pktmbuf_data_len(&packet)}, *info);
        if (denied && api) api->report_denied(*denied);
        return;
    }
    if (info->reason == PuntReason::kTunnelError)
        return tunnel_errors->take({frame, rte_pktmbuf_data_len(&packet)});
    if (info->reason == PuntReason::kMissed) {
        const auto missed = read_denied({frame, rte_pktmbuf_data_len(&packet)}, *info);
        if (missed && api) api->report_miss(info->vrf, *missed);
        return;
    }
    if (info->reason == PuntReason::kUnresolved) {
        if (routing) routing->unresolved({frame, rte_pktmbuf_data_len(&packet)});
        return;
    }
    const auto address = announced_address({frame, rte_pktmbuf_data_len(&packet)});
    if (address) plane->address_announced(PortId{packet.port}, *address);
}

std::string Daemon::Parts::port_name(PortId id) const {
    const PortTable& ports = intent->state().ports;
    const uint16_t index = ports.find(id);
    return index == PortTable::kNone ? fmt::format("#{}", id.value()) : ports.at(index).name;
}

// What the operator must know of the store after the start; empty if all is well.
std::string Daemon::Parts::store_warning() const {
    const StoreStatus status = store->status();
    if (status.state != StoreStatus::State::kSetAside) return {};
    return fmt::format("the stored intent was damaged; it was set aside as {}", status.detail);
}

void Daemon::Parts::feed_watchdog() {
    const auto interval = watchdog_interval();
    if (interval.count() == 0) return;
    notify_alive();
    watchdog.expires_after(interval);
    watchdog.async_wait([this](const asio::error_code& error) {
        if (!error) feed_watchdog();
    });
}

void Daemon::Parts::age() {
    idle_routes->sweep(flow_clock_now());
    tunnel_errors->age();
    age_timer.expires_after(kAgeInterval);
    age_timer.async_wait([this](const asio::error_code& error) {
        if (!error) age();
    });
}

// Forwarding ends first, so that nobody refers to what goes after it.
void Daemon::Parts::stop() {
    if (server) server->stop();
    dataplane.stop_workers();
}

}  // namespace slash32
