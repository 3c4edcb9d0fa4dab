// SPDX-License-Identifier: Apache-2.0
// The seam between intent (what owners want) and the forwarding plane (what workers do).
//
// Everything runs on the control thread. Calls take effect in the order they are made: the objects
// that a call names must exist, and what it replaces is reclaimed when every worker has let go.
// The intent layer has validated names, owners and conflicts; the plane knows resources only.
// A call that fails has changed nothing.
#pragma once

#include "ctrl/intent/model.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace slash32 {

enum class PortState : uint8_t { kWaiting, kConnected, kRunning, kFailed };

// Packets that an uplink's device has lost or failed to send.
struct DeviceCounters {
    uint64_t rx_missed = 0;     // no room in its receive queue: the workers were too slow
    uint64_t rx_errors = 0;     // damaged
    uint64_t rx_no_buffer = 0;  // the memory pool was empty
    uint64_t tx_errors = 0;     // refused, or not sent
};

// A piece of the router's work with what an uplink receives.
struct DeviceOffload {
    std::string rule;
    bool hardware = false;  // the device does it; else the router, to the same end
    std::string reason;     // why it is so
};

struct PortLinkInfo {
    uint32_t speed_mbps = 0;  // 0: not known
    uint32_t losses = 0;      // times it was lost since the start
};

// The actual state of a port, apart from what is wanted.
struct PortActual {
    PortState state = PortState::kWaiting;
    std::string reason;                 // waiting: for what; failed: why
    std::string last_error;             // waiting: what the last attempt met
    bool programmed = false;            // every worker has acknowledged the present configuration
    uint16_t mtu = 0;                   // negotiated, 0 before
    uint16_t queues = 0;                // queue pairs of the frontend, 0 before
    std::vector<std::string> features;  // negotiated
    int64_t since_ms = 0;               // Unix time of the last change of state
    std::optional<PortLinkInfo> link;   // of an uplink that has had one
    bool wired() const {
        return programmed && (state == PortState::kConnected || state == PortState::kRunning);
    }
};

// Something that happened below, for the event log.
struct PlaneEvent {
    enum class Type : uint8_t {
        kConnected,
        kRingsReady,
        kDisconnected,
        kFailed,
        kWired,            // of `port`
        kAddressMoved,     // `port` announced `address`, an allowed pair, and now holds it
        kAddressConflict,  // `mac` claimed `address`, which is that of `port`
    };
    Type type;
    PortId port;
    std::optional<IpAddress> address;
    std::string reason;  // kAddressMoved: "garp", "na" or "rarp"
    Mac mac{};           // kAddressConflict
};

enum class BondMode : uint8_t { kNone, kActiveBackup, kBalance, kLacp };
// As configuration and protocol call them.
inline constexpr std::pair<std::string_view, BondMode> kBondModes[] = {
    {"active-backup", BondMode::kActiveBackup},
    {"balance", BondMode::kBalance},
    {"lacp", BondMode::kLacp}};

// A device; or a bond of some; or a VLAN of another uplink.
struct UplinkSpec {
    std::string name;
    std::string devargs;
    BondMode bond = BondMode::kNone;
    std::vector<std::string> members;  // of the bond: devargs
    std::string parent;                // of the VLAN: the other uplink's name
    uint16_t vlan = 0;                 // 1 to 4094; 0: it is none
    bool damping = true;               // of a link that flaps
    bool offload = true;               // of what the device can do of the router's work
    std::optional<Mac> mac;
    uint16_t mtu = kDefaultMtu;
    uint8_t queues = 1;
    VrfId vrf;
    // The router's own, of an uplink that it has to itself. Without any the host has a view of the
    // uplink, and addresses there.
    std::vector<IpAddress> addresses;
    // On a link without routing: the router answers ARP and ND for its VMs, and announces them.
    bool l2 = false;
    bool has_host_view() const { return addresses.empty(); }
    bool is_vlan() const { return vlan != 0; }
    bool operator==(const UplinkSpec&) const = default;
};

class Plane {
  public:
    Plane() = default;
    Plane(const Plane&) = delete;
    Plane& operator=(const Plane&) = delete;
    virtual ~Plane() = default;

    // Creates the port and its device, and installs host routes for its fixed addresses. The
    // frontend need not exist. Errors: kLimit, kUnavailable (a device that cannot be made).
    virtual Result<PortId> add_port(const PortIntent&) = 0;
    // To the new intent; the device is made anew only when it must be (socket, kind, queues, ...).
    virtual Result<void> change_port(PortId, const PortIntent&) = 0;
    virtual void remove_port(PortId) = 0;
    // REQUIRES: the port exists.
    virtual PortActual actual(PortId) const = 0;
    virtual DeviceCounters device_counters(PortId uplink) const = 0;
    // Nothing for a VLAN.
    virtual std::vector<DeviceOffload> device_offloads(PortId uplink) const = 0;

    // Adds a security group or an address set, or replaces its rules; ports that have the group
    // follow. What its rules name has been added before, or matches nobody. Errors: kLimit.
    virtual Result<void> set_group(const GroupIntent&) = 0;
    // With its members. REQUIRES: no port has it, no rule names it.
    virtual void remove_group(const GroupKey&) = 0;
    // The addresses of the plane's own ports are members of their groups without being told.
    // Visible to workers at once, and flows that a removed member was let in by are judged anew.
    // Errors: kLimit, with none added. REQUIRES: none of `members` has been added (all have).
    virtual Result<void> add_members(const GroupKey&, const std::vector<IpPrefix>& members) = 0;
    virtual void remove_members(const GroupKey&, const std::vector<IpPrefix>& members) = 0;
    // By which the rules of a security group are counted, in their order. REQUIRES: it exists.
    virtual std::vector<RuleId> rule_ids(const std::string& group) const = 0;

    // An adjacency for the spec, shared and reference-counted. Errors: kLimit.
    virtual Result<NextHopId> acquire_next_hop(const NextHopSpec&) = 0;
    virtual void release_next_hop(NextHopId) = 0;
    // When a packet last went by a next hop that ages, or when it was acquired, on the flow clock.
    virtual uint32_t last_used(NextHopId) const = 0;
    // Sets (or takes away) the MAC address of a neighbour on an uplink; routes over it follow.
    virtual void set_neighbor(PortId, const IpAddress&, std::optional<Mac>) = 0;

    // Inserts or replaces; visible to workers at once. Errors: kLimit.
    virtual Result<void> set_route(VrfId, const IpPrefix&, NextHopId) = 0;
    virtual void remove_route(VrfId, const IpPrefix&) = 0;

    // Calls back when every worker has acknowledged all that was done before this call.
    virtual void when_programmed(std::function<void()>) = 0;

    // At most one listener; called from the event loop, never from within a call above.
    virtual void on_event(std::function<void(const PlaneEvent&)>) = 0;
};

}  // namespace slash32
