// SPDX-License-Identifier: Apache-2.0
#include "ctrl/routing/host_control.h"

#include "ctrl/log/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

namespace slash32 {
namespace {

constexpr std::array<std::pair<Drain, std::string_view>, 2> kWords = {
    {{Drain::kWithdraw, "withdraw"}, {Drain::kWorsen, "worsen"}}};

// What a call of routes() looks at, so that it takes no longer than some milliseconds.
constexpr uint64_t kBucketsPerPage = 65536;

std::string_view type_name(RouteType type) {
    switch (type) {
        case RouteType::kUnicast:
            return "unicast";
        case RouteType::kLocal:
            return "local";
        case RouteType::kBlackhole:
            return "blackhole";
        case RouteType::kUnreachable:
        case RouteType::kOther:
            break;
    }
    return "unreachable";
}

std::string interface_name(uint32_t index) {
    char name[IF_NAMESIZE];
    return if_indextoname(index, name) != nullptr ? name : fmt::format("#{}", index);
}

FollowedRoute followed_route(const KernelRoutes::Route& route, const HopSets& sets) {
    const Ways& ways = sets.ways(route.set);
    FollowedRoute shown{.vrf = route.vrf,
                        .prefix = route.prefix,
                        .table = route.table,
                        .metric = route.metric,
                        .type = type_name(ways.type),
                        .next_hop_object = ways.next_hop_object,
                        .ways = {},
                        .used = route.best,
                        .resolved = sets.resolved(route.set)};
    shown.ways.reserve(ways.hops.size());
    for (const HopMessage& hop : ways.hops)
        shown.ways.push_back({interface_name(hop.interface), hop.via, hop.weight, hop.segments,
                              hop.segment.has_value()});
    return shown;
}

}  // namespace

HostControl::HostControl(Options options) : options_(std::move(options)) {
    std::string word;
    if (!options_.path.empty()) std::ifstream(options_.path) >> word;
    for (const auto& [drain, name] : kWords)
        if (word == name) apply(drain);
    if (drain_ != Drain::kNone)
        log("routing").warn("the host is still being drained ({}): slash32ctl host undrain", word);
}

HostStatus HostControl::status() const {
    HostStatus status{.drain = drain_};
    if (const Announcer* announcer = options_.announcer; announcer != nullptr) {
        status.announces = true;
        status.announced = announcer->count();
        status.problem = announcer->problem();
    }
    if (const KernelRouting* routing = options_.routing; routing != nullptr) {
        const MirrorStats& mirror = routing->mirror();
        const NeighborStats neighbors = routing->neighbors();
        status.follows = true;
        status.complete = mirror.complete;
        status.prefixes = routing->routes().size();
        status.groups = routing->hop_sets().size();
        status.unresolved = routing->hop_sets().unresolved();
        status.failed = routing->routes().failed();
        status.messages = mirror.messages;
        status.dumps = mirror.dumps;
        status.overruns = mirror.overruns;
        status.unknown = mirror.unknown;
        status.neighbors = neighbors.known;
        status.neighbors_failed = neighbors.failed;
        status.packets_held = neighbors.held;
        status.packets_released = neighbors.released;
        status.packets_lost = neighbors.lost;
    }
    return status;
}

HostService::RoutePage HostControl::routes(const FollowedRouteFilter& filter, uint64_t from,
                                           size_t limit) const {
    RoutePage page;
    if (options_.routing == nullptr) return page;
    const KernelRoutes& table = options_.routing->routes();
    const HopSets& sets = options_.routing->hop_sets();
    const size_t end = std::min<uint64_t>(table.buckets(), from + kBucketsPerPage);
    size_t bucket = from;
    for (; bucket < end && page.routes.size() < limit; ++bucket) {
        table.visit(bucket, [&](const KernelRoutes::Route& route) {
            FollowedRoute shown = followed_route(route, sets);
            if (filter.takes(shown)) page.routes.push_back(std::move(shown));
        });
    }
    if (bucket < table.buckets()) page.next = bucket;
    return page;
}

Result<void> HostControl::set_drain(Drain drain) {
    if (auto stored = store(drain); !stored) return stored;
    apply(drain);
    return {};
}

void HostControl::apply(Drain drain) {
    drain_ = drain;
    options_.refuse_new_ports(drain != Drain::kNone);
    if (options_.announcer != nullptr) options_.announcer->set_drain(drain);
}

// In place of what was there, or not at all.
Result<void> HostControl::store(Drain drain) const {
    if (options_.path.empty()) return {};
    if (drain == Drain::kNone) {
        unlink(options_.path.c_str());
        return {};
    }
    const std::string fresh = options_.path + ".new";
    const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    bool good = fd >= 0;
    for (const auto& [value, word] : kWords) {
        if (value == drain)
            good = good && write(fd, word.data(), word.size()) == static_cast<ssize_t>(word.size());
    }
    good = good && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    if (good && rename(fresh.c_str(), options_.path.c_str()) == 0) return {};
    return fail(ErrorCode::kUnavailable, "",
                fmt::format("cannot write {}: {}", options_.path, std::strerror(errno)));
}

}  // namespace slash32
