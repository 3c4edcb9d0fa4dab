// SPDX-License-Identifier: Apache-2.0
// What owners want: ports, routes, neighbours, security groups and address sets as they are stored
// and compared. Plain values.
#pragma once

#include "dp/abi/policy.h"
#include "dp/abi/port.h"
#include "dp/abi/srv6.h"
#include "dp/base/ids.h"
#include "dp/base/limits.h"
#include "dp/base/net.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

enum class SocketMode : uint8_t { kClient, kServer };  // slash32's own role on the vhost socket
enum class Announce : uint8_t { kAuto, kHold, kWithdrawn };

// A fixed address of a VM. The length is its subnet's: the route is a host route all the same, but
// router advertisements name the prefix.
struct FixedAddress {
    IpAddress address;
    uint8_t length = 0;
    auto operator<=>(const FixedAddress&) const = default;
};

struct AllowedPair {
    IpPrefix prefix;
    std::optional<Mac> mac;  // absent: the port's own
    auto operator<=>(const AllowedPair&) const = default;
};

// Of the port between the host and its VMs; a name that no client uses by chance.
inline constexpr std::string_view kHostOwner = "host";

inline constexpr uint32_t kMaxWithdrawDelayMs = 3'600'000;

struct PortIntent {
    std::string name;
    std::string owner;
    PortKind kind = PortKind::kVhost;
    std::string socket;  // vhost
    SocketMode socket_mode = SocketMode::kClient;
    std::string tap;  // interface name, kind tap
    Mac mac;
    std::vector<FixedAddress> addresses;
    std::vector<AllowedPair> allowed_pairs;
    std::vector<IpAddress> gateways;
    VrfId vrf;
    uint16_t mtu = kDefaultMtu;
    uint8_t queues = 1;
    std::vector<std::string> groups;
    bool port_security = true;
    bool log_denied = false;
    Announce announce = Announce::kAuto;
    uint32_t announce_table = 0;     // of the kernel; 0: the configuration's
    uint32_t announce_metric = 0;    // 0: the configuration's
    uint32_t withdraw_delay_ms = 0;  // after the VM has gone
    std::map<std::string, std::string> labels;
    bool operator==(const PortIntent&) const = default;
};

// One way into a tunnel: the segments in the order that they are visited (RFC 8986 section 5).
struct SegmentPath {
    std::vector<Ip6> segments;
    bool reduced = true;  // H.Encaps.Red: the header, if any, does not repeat the first of them
    uint16_t weight = 1;
    auto operator<=>(const SegmentPath&) const = default;
};

// A segment of this node: a route with what is to be done there.
struct SidIntent {
    IpPrefix sid;  // the route's prefix
    SidBehavior behavior = SidBehavior::kEnd;
    uint8_t flavors = 0;     // SidFlavor bits
    uint8_t block_bits = 0;  // kSidNextCsid: of the locator block
    VrfId vrf;               // kEndDt*
    auto operator<=>(const SidIntent&) const = default;
};

// Of a route that goes when it has not been used for a while. It names the route, so that no other
// one has the same next hop.
struct Aging {
    uint32_t idle_seconds = 0;
    VrfId vrf;
    IpPrefix prefix;
    auto operator<=>(const Aging&) const = default;
};

// What a next hop says of segment routing. By its kind.
struct SegmentHop {
    std::vector<SegmentPath> paths;  // kTunnel; several share the packets by their weights
    bool reports_misses = false;     // kTunnel: what goes by it has no better route yet
    std::optional<Aging> aging;      // kTunnel
    std::optional<SidIntent> sid;    // kSid
    auto operator<=>(const SegmentHop&) const = default;
};

// A route's next hop as an owner names it; ports by id, since names are resolved when checked.
struct NextHopSpec {
    // kGlean and kHost are of learned routes alone: whoever has the address on an uplink, and the
    // host itself. The values stand in the store.
    enum class Kind : uint8_t {
        kPort,
        kBlackhole,
        kUnreachable,
        kGlean,
        kHost,
        kTunnel,
        kSid,
        kVrf
    };
    Kind kind = Kind::kBlackhole;
    PortId port;                   // kPort, kGlean, and kSid that forwards over one
    std::optional<IpAddress> via;  // kPort on an uplink: the neighbour; absent on a VM port
    std::optional<Mac> mac;        // kPort on a VM port: its MAC if not the port's own
    SegmentHop segment_routing{};
    VrfId vrf{};  // kVrf: whose routes are followed
    auto operator<=>(const NextHopSpec&) const = default;
};

// A VRF: a routing table of its own, by number. Never 0, which is always there.
struct VrfIntent {
    VrfId id;
    std::string name;  // for people
    std::string owner;
    std::map<std::string, std::string> labels;
    bool operator==(const VrfIntent&) const = default;
};
inline constexpr size_t kVrfNameMax = 64;

struct NeighborIntent {
    PortId port;  // an uplink
    IpAddress address;
    Mac mac;
    std::string owner;
    bool operator==(const NeighborIntent&) const = default;
};

// The built-in security group that lets everything pass the filter.
inline constexpr std::string_view kGroupAny = "any";
inline constexpr size_t kGroupNameMax = 64;  // a UUID and more

// A security group is rules and members; an address set is members alone. Members are prefixes, so
// that no set can hold another, and none can form a loop.
enum class GroupKind : uint8_t { kSecurityGroup, kAddressSet };

struct GroupKey {
    GroupKind kind = GroupKind::kSecurityGroup;
    std::string name;
    auto operator<=>(const GroupKey&) const = default;
};

// One allow rule as its owner wrote it; what is absent matches everything.
struct RuleIntent {
    PolicyDirection direction = PolicyDirection::kIngress;
    Family family = Family::kIpv4;
    std::optional<uint8_t> protocol;
    std::optional<uint16_t> port_min;  // with port_max: destination ports of TCP, UDP, SCTP
    std::optional<uint16_t> port_max;
    std::optional<uint8_t> icmp_type;
    std::optional<uint8_t> icmp_code;  // only with a type
    // At most one of the two.
    std::optional<IpPrefix> prefix;
    std::optional<GroupKey> remote;
    auto operator<=>(const RuleIntent&) const = default;
};

// The members are kept apart: they come and go one by one.
struct GroupIntent {
    GroupKey key;
    std::string owner;
    bool stateful = true;
    std::vector<RuleIntent> rules;  // in order, each once; none of an address set
    std::map<std::string, std::string> labels;
    bool operator==(const GroupIntent&) const = default;
};

}  // namespace slash32
