// SPDX-License-Identifier: Apache-2.0
// What the control socket offers and others carry out: explaining a packet, capturing packets.
// Until they are given to the Api, their methods answer kUnavailable. Control thread.
#pragma once

#include "ctrl/rpc/handler.h"
#include "dp/base/ids.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

struct ExplainQuery {
    PortId port;
    IpAddress src;
    IpAddress dst;  // of the same family
    uint8_t protocol = 0;
    uint16_t sport = 0;
    uint16_t dport = 0;
    std::optional<Mac> src_mac;  // absent: the port's
    std::optional<Mac> dst_mac;  // absent: the gateway's
    uint8_t ttl = 64;
    uint16_t length = 64;  // of the IP packet, bytes
    std::optional<uint8_t> icmp_type;
    std::optional<uint8_t> icmp_code;
};

struct ExplainAnswer {
    struct Step {
        std::string stage;
        std::string decision;
        std::string detail;
    };
    std::string verdict;
    std::string reason;  // "" unless dropped
    PortId out_port;     // kNoPort unless forwarded
    std::vector<Step> steps;
};

class ExplainService {
  public:
    virtual ~ExplainService() = default;
    // Errors: their path is relative to the params ("length").
    virtual Result<ExplainAnswer> explain(const ExplainQuery&) = 0;
};

struct CaptureQuery {
    enum class Direction : uint8_t { kIn, kOut, kBoth, kDropped };
    PortId port;
    Direction direction = Direction::kBoth;
    std::string filter;  // a tcpdump expression, "" takes all
    uint32_t snap_bytes = 256;
    uint64_t packets_max = 0;  // 0: until stopped
};

// Which flows a request is about: those that match all that it names. Addresses and ports are of
// the first packet.
struct FlowFilter {
    std::optional<PortId> port;  // comes from it, or goes to it
    std::optional<VrfId> vrf;
    std::optional<uint8_t> protocol;
    std::optional<IpPrefix> src;
    std::optional<IpPrefix> dst;
    std::optional<uint16_t> sport;
    std::optional<uint16_t> dport;
};

struct FlowRecord {
    PortId in;  // kNoPort: any uplink
    PortId out;
    VrfId vrf;
    uint8_t protocol = 0;
    IpAddress src;
    IpAddress dst;
    uint16_t sport = 0;  // of ICMP: the identifier
    uint16_t dport = 0;  // of ICMP: the type
    const char* state = "";
    const char* phase = "";
    uint32_t age_s = 0;
    uint32_t expires_s = 0;
};

struct FlowCounts {
    uint64_t flows = 0;
    uint64_t half_open = 0;
    uint64_t capacity = 0;
    uint64_t bytes = 0;
};

// Limits and timeouts; in a request those that shall change.
struct FlowSettings {
    std::optional<uint32_t> flows_per_port;
    std::optional<uint32_t> half_open_per_port;
    std::optional<uint32_t> half_open;
    std::optional<bool> tcp_loose;
    std::optional<bool> tcp_liberal;
    std::map<std::string, uint32_t> timeouts;  // by Linux's names, seconds
};

class ConntrackService {
  public:
    virtual ~ConntrackService() = default;
    virtual FlowCounts counts() = 0;
    // Flows from place `from` of the table on, `limit` at most. `next` is where to go on; absent at
    // the end. A call looks at a bounded part of the table, so a page may be short, or empty.
    struct Page {
        std::vector<FlowRecord> flows;
        std::optional<uint64_t> next;
    };
    virtual Page list(const FlowFilter&, uint64_t from, size_t limit) = 0;
    // Ends the flows; calls back with their number when no packet can use one any more.
    virtual void flush(const FlowFilter&, std::function<void(uint64_t)> done) = 0;
    virtual FlowSettings settings() = 0;
    // All or none. Errors: kInvalid (path relative to the params).
    virtual Result<void> set(const FlowSettings&) = 0;
};

class AnnounceService {
  public:
    virtual ~AnnounceService() = default;
    // The port's addresses that the routing daemon may announce now.
    virtual std::vector<IpAddress> announced(PortId) const = 0;
};

// Of a host on its way out of service: its VMs' routes are withdrawn, or made worse than others',
// and it takes no new ports.
enum class Drain : uint8_t { kNone, kWithdraw, kWorsen };

struct HostStatus {
    Drain drain = Drain::kNone;
    bool announces = false;   // there is a host link: the rest of this part holds
    uint64_t announced = 0;   // routes that stand in the kernel
    std::string problem;      // why not all do
    bool follows = false;     // the host has a view of an uplink: the rest holds
    bool complete = false;    // the kernel's tables have been read
    uint64_t prefixes = 0;    // with a route of the kernel
    uint64_t groups = 0;      // of next hops
    uint64_t unresolved = 0;  // routes that lead to no uplink
    uint64_t failed = 0;      // routes that found no room
    uint64_t messages = 0;    // of netlink
    uint64_t dumps = 0;       // of all tables
    uint64_t overruns = 0;    // of the netlink socket
    uint64_t unknown = 0;     // messages that are not known
    uint64_t neighbors = 0;   // that answer
    uint64_t neighbors_failed = 0;
    uint64_t packets_held = 0;      // now, for a neighbour's answer
    uint64_t packets_released = 0;  // sent on with it
    uint64_t packets_lost = 0;      // not
};

// A route of the kernel, as it is followed.
struct FollowedRoute {
    struct Way {
        std::string interface;  // of the kernel
        std::optional<IpAddress> via;
        uint16_t weight = 1;
        std::vector<Ip6> segments;  // of the tunnel that it leads into
        bool segment = false;       // it is a segment of this node
    };
    VrfId vrf;
    IpPrefix prefix;
    uint32_t table = 0;
    uint32_t metric = 0;
    std::string_view type;         // "unicast", "local", "blackhole", "unreachable"
    uint32_t next_hop_object = 0;  // 0: none, and `ways` say it all
    std::vector<Way> ways;
    bool used = false;      // the best one of the prefix
    bool resolved = false;  // it leads somewhere
};

struct FollowedRouteFilter {
    std::optional<VrfId> vrf;
    std::optional<IpPrefix> within;
    bool unresolved = false;  // those alone

    bool takes(const FollowedRoute& route) const {
        return (!vrf || *vrf == route.vrf) && (!unresolved || !route.resolved) &&
               (!within ||
                (within->length <= route.prefix.length && within->contains(route.prefix.address)));
    }
};

class HostService {
  public:
    virtual ~HostService() = default;
    virtual HostStatus status() const = 0;
    // Routes of the kernel from place `from` of the table on, about `limit` at most. `next` is
    // where to go on; absent at the end. A call looks at a bounded part of the table, so a page may
    // be short, or empty; a route that comes or goes meanwhile may be missed, or be there twice.
    struct RoutePage {
        std::vector<FollowedRoute> routes;
        std::optional<uint64_t> next;
    };
    virtual RoutePage routes(const FollowedRouteFilter&, uint64_t from, size_t limit) const = 0;
    // Durable when it returns. Errors: kUnavailable, with nothing changed.
    virtual Result<void> set_drain(Drain drain) = 0;
};

class CaptureService {
  public:
    virtual ~CaptureService() = default;
    // The capture's number. It ends with the session. Errors: as above.
    virtual Result<uint64_t> start(rpc::Session&, const CaptureQuery&) = 0;
    struct Totals {
        uint64_t packets = 0;
        uint64_t lost = 0;
    };
    // Errors: kNotFound, also for another session's.
    virtual Result<Totals> stop(const rpc::Session&, uint64_t number) = 0;
    // The port is going away: what captures it ends.
    virtual void end_port(PortId) = 0;
};

}  // namespace slash32
