// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/announcer.h"

#include "ctrl/log/log.h"
#include "ctrl/routing/host_link.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <utility>

namespace slash32 {
namespace {

using namespace std::chrono_literals;

// Several notifications of one change are one reason to look.
constexpr auto kSettle = 20ms;
// After a failure, should no notification come.
constexpr auto kRetry = 1000ms;

// Above any that an operator would give a route; a routing daemon sees it as the kernel's metric.
constexpr uint32_t kDrainedMetric = 1'000'000'000;

KernelRoute over(uint32_t interface, KernelRoute route) {
    route.interface = interface;
    return route;
}

}  // namespace

Announcer::Announcer(asio::io_context& io, Options options, std::unique_ptr<RouteSocket> routes)
    : options_(std::move(options)),
      socket_(std::move(routes)),
      hold_timer_(io),
      linger_timer_(io),
      reconcile_timer_(io) {}

Result<std::unique_ptr<Announcer>> Announcer::start(asio::io_context& io, Options options) {
    auto routes = RouteSocket::open(options.protocol);
    if (!routes) return tl::unexpected<Error>(routes.error());
    std::unique_ptr<Announcer> announcer(new Announcer(io, std::move(options), std::move(*routes)));
    Announcer* const self = announcer.get();
    auto monitor = RouteMonitor::start(io, {.protocol = self->options_.protocol,
                                            .own_port_id = self->socket_->port_id(),
                                            .changed = [self] { self->reconcile_soon(kSettle); }});
    if (!monitor) return tl::unexpected<Error>(monitor.error());
    self->monitor_ = std::move(*monitor);
    if (self->options_.locator) {
        ++self->wanted_[KernelRoute{.prefix = *self->options_.locator,
                                    .table = self->options_.table,
                                    .metric = self->options_.metric,
                                    .interface = 0}];
    }
    self->reconcile();
    self->hold_timer_.expires_after(self->options_.hold);
    self->hold_timer_.async_wait([self](const asio::error_code& error) {
        if (error) return;
        self->holding_ = false;
        self->reconcile();
    });
    return announcer;
}

Announcer::Routes Announcer::routes_of(const Reachable& reachable) const {
    Routes routes;
    if (drain_ == Drain::kWithdraw) return routes;
    const uint32_t worse = drain_ == Drain::kWorsen ? kDrainedMetric : 0;
    for (const IpAddress& address : reachable.addresses) {
        routes.insert(KernelRoute{
            .prefix = IpPrefix{address, address.bits()},
            .table = reachable.table != 0 ? reachable.table : options_.table,
            .metric = (reachable.metric != 0 ? reachable.metric : options_.metric) + worse,
            .interface = 0});
    }
    return routes;
}

void Announcer::set_port(PortId port, const Reachable& reachable) {
    Routes routes = routes_of(reachable);
    // What is new first, so that what stays never blinks.
    claim(routes);
    Port& owner = ports_[port];
    owner.reachable = reachable;
    Routes before = std::exchange(owner.routes, std::move(routes));
    if (reachable.addresses.empty()) ports_.erase(port);
    if (reachable.linger > 0ms && !before.empty()) {
        lingering_.push_back(Lingering{.port = reachable.removed ? kNoPort : port,
                                       .routes = std::move(before),
                                       .end = Clock::now() + reachable.linger});
        return wait_for_lingering();
    }
    disclaim(before);
    // The VM is back, or its owner wants it withdrawn.
    if (reachable.linger == 0ms) end_lingering(port);
}

void Announcer::set_drain(Drain drain) {
    if (std::exchange(drain_, drain) == drain) return;
    for (auto& [id, port] : ports_) {
        // The worse route stands before the better one goes.
        Routes routes = routes_of(port.reachable);
        claim(routes);
        disclaim(std::exchange(port.routes, std::move(routes)));
    }
}

std::vector<IpAddress> Announcer::announced(PortId port) const {
    std::vector<IpAddress> addresses;
    const auto found = ports_.find(port);
    if (found == ports_.end()) return addresses;
    for (const KernelRoute& route : found->second.routes) {
        if (standing_.contains(route)) addresses.push_back(route.prefix.address);
    }
    return addresses;
}

void Announcer::claim(const Routes& routes) {
    for (const KernelRoute& route : routes) {
        if (++wanted_[route] == 1) announce(route);
    }
}

void Announcer::disclaim(const Routes& routes) {
    for (const KernelRoute& route : routes) {
        const auto wanted = wanted_.find(route);
        if (--wanted->second > 0) continue;
        wanted_.erase(wanted);
        withdraw(route);
    }
}

void Announcer::announce(const KernelRoute& route) {
    if (standing_.contains(route)) return;
    if (interface_ == 0) return reconcile_soon(0ms);
    if (auto added = socket_->add(over(interface_, route)); !added) {
        report(added.error().message);
        return reconcile_soon(kRetry);
    }
    standing_.insert(route);
}

void Announcer::withdraw(const KernelRoute& route) {
    if (standing_.erase(route) == 0) return;
    if (auto removed = socket_->remove(over(interface_, route)); !removed) {
        report(removed.error().message);
        reconcile_soon(kRetry);
    }
}

void Announcer::end_lingering(PortId port) {
    std::erase_if(lingering_, [&](const Lingering& one) {
        if (one.port != port) return false;
        disclaim(one.routes);
        return true;
    });
}

void Announcer::expire_lingering() {
    const auto now = Clock::now();
    std::erase_if(lingering_, [&](const Lingering& one) {
        if (one.end > now) return false;
        disclaim(one.routes);
        return true;
    });
    wait_for_lingering();
}

void Announcer::wait_for_lingering() {
    if (lingering_.empty()) return;
    linger_timer_.expires_at(std::ranges::min(lingering_, {}, &Lingering::end).end);
    linger_timer_.async_wait([this](const asio::error_code& error) {
        if (!error) expire_lingering();
    });
}

// Makes the kernel's tables what they shall be, whatever has happened to them.
void Announcer::reconcile() {
    const uint32_t interface = if_nametoindex(options_.interface.c_str());
    if (interface != interface_ && interface != 0) refuse_router_advertisements(options_.interface);
    interface_ = interface;
    const auto present = socket_->routes();
    if (!present) {
        report(present.error().message);
        return reconcile_soon(kRetry);
    }
    standing_.clear();
    std::string problem;
    for (const KernelRoute& route : *present) {
        const KernelRoute plain = over(0, route);
        if (route.interface == interface_ && (holding_ || wanted_.contains(plain))) {
            standing_.insert(plain);
        } else if (auto removed = socket_->remove(route); !removed) {
            problem = removed.error().message;
        }
    }
    if (interface_ == 0) {
        if (!wanted_.empty()) problem = fmt::format("there is no interface {}", options_.interface);
    } else {
        for (const auto& [route, claims] : wanted_) {
            if (standing_.contains(route)) continue;
            if (auto added = socket_->add(over(interface_, route)); added) {
                standing_.insert(route);
            } else {
                problem = added.error().message;
            }
        }
    }
    report(problem);
    if (!problem.empty()) reconcile_soon(kRetry);
}

void Announcer::reconcile_soon(std::chrono::milliseconds delay) {
    // What comes sooner replaces what comes later.
    const auto when = Clock::now() + delay;
    if (reconcile_scheduled_ && reconcile_timer_.expiry() <= when) return;
    reconcile_scheduled_ = true;
    reconcile_timer_.expires_at(when);
    reconcile_timer_.async_wait([this](const asio::error_code& error) {
        if (error) return;
        reconcile_scheduled_ = false;
        reconcile();
    });
}

// Says a problem once, and when it is over.
void Announcer::report(std::string problem) {
    if (problem == problem_) return;
    if (problem.empty()) {
        log("routing").info("all routes to announce stand in the kernel");
    } else {
        log("routing").warn("not all routes are announced: {}", problem);
    }
    problem_ = std::move(problem);
}

}  // namespace slash32
