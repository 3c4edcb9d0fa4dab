// SPDX-License-Identifier: Apache-2.0
// The Plane over real workers: compiles ports, keeps their devices, assigns their queues, and
// publishes everything through the command rings.
//
// Thread safety: the control thread alone. Invariants: a port's configuration reaches a worker
// before its queues do; an object that workers may refer to is freed only after they have
// acknowledged that it is gone.
#pragma once

#include "ctrl/fib/fib.h"
#include "ctrl/plane/compile.h"
#include "ctrl/plane/devices.h"
#include "ctrl/plane/firewall.h"
#include "ctrl/plane/next_hop_groups.h"
#include "ctrl/plane/next_hops.h"
#include "ctrl/plane/plane.h"
#include "ctrl/plane/tunnels.h"
#include "ctrl/publish/publisher.h"
#include "dp/abi/generations.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace slash32 {

// What the plane needs of the firewall's memory.
struct FirewallTables {
    AddressSets& sets;
    Generations& generations;
};

// What may be said of a port to the world: the VM's fixed addresses in VRF 0 and the pairs that it
// holds, while it is there and its port wants them announced.
struct Reachable {
    std::vector<IpAddress> addresses;
    uint32_t table = 0;   // of the kernel; 0: as the configuration says
    uint32_t metric = 0;  // 0: as the configuration says
    // For how long what is not among them any more stays: not 0 only where the VM has gone.
    std::chrono::milliseconds linger{0};
    bool removed = false;  // the port itself is going; its id may be another's soon
};

class ForwardingPlane final : public Plane {
  public:
    // Everything given outlives the plane.
    ForwardingPlane(Publisher& publisher, Fib& fib, Devices& devices, RouterIdentity router,
                    const FirewallTables& tables);
    ~ForwardingPlane() override;

    Result<PortId> add_port(const PortIntent&) override;
    Result<void> change_port(PortId, const PortIntent&) override;
    void remove_port(PortId) override;
    PortActual actual(PortId) const override;
    DeviceCounters device_counters(PortId uplink) const override;
    std::vector<DeviceOffload> device_offloads(PortId uplink) const override;
    Result<NextHopId> acquire_next_hop(const NextHopSpec&) override;
    void release_next_hop(NextHopId) override;
    uint32_t last_used(NextHopId) const override;
    void set_neighbor(PortId, const IpAddress&, std::optional<Mac>) override;
    Result<void> set_route(VrfId, const IpPrefix&, NextHopId) override;
    void remove_route(VrfId, const IpPrefix&) override;
    Result<void> set_group(const GroupIntent&) override;
    void remove_group(const GroupKey&) override;
    Result<void> add_members(const GroupKey&, const std::vector<IpPrefix>&) override;
    void remove_members(const GroupKey&, const std::vector<IpPrefix>&) override;
    std::vector<RuleId> rule_ids(const std::string& group) const override;
    void when_programmed(std::function<void()>) override;
    void on_event(std::function<void(const PlaneEvent&)>) override;

    // ---- Uplinks, and what is learnt of the world beyond them (uplinks.cc) ----

    // With the host's view of it, where it has one. Errors: kLimit, kUnavailable, kConflict.
    Result<PortId> add_uplink(const UplinkSpec&);
    // The host's view of an uplink; kNoPort: it has none.
    PortId host_view(PortId uplink) const { return ports_.at(uplink)->host_view; }
    // Where workers note when next hops were used last, and the flow clock. REQUIRES: once, before
    // any next hop.
    void set_hop_use(HopUse* use, std::function<uint32_t()> clock) {
        next_hops_.set_use(use, std::move(clock));
    }
    // Where packets go whose next hop's MAC is to be found. REQUIRES: once, before any uplink.
    void set_resolver(TxPort* tx);
    // Of the host on the uplink: the sources of ICMP errors that leave by it.
    void set_uplink_addresses(PortId uplink, std::vector<IpAddress> addresses);
    // See NextHops::learn_neighbor().
    void learn_neighbor(PortId uplink, const IpAddress& address,
                        const std::optional<LearnedNeighbor>& neighbor);
    // Groups of next hops: what learnt routes lead to, and nothing else does.
    Result<NextHopId> create_hop_group() { return groups_.create(); }
    void set_hop_group(NextHopId group, std::vector<GroupMember> members);
    void remove_hop_group(NextHopId group);
    // A learnt route leads to a group, and stands where no owner has one of the same prefix.
    // Errors: kLimit.
    Result<void> learn_route(VrfId, const IpPrefix&, NextHopId group);
    void forget_route(VrfId, const IpPrefix&);
    // Lets flows look their routes up again for what has been learnt and forgotten so far. Not for
    // each: every time costs each flow a lookup.
    void tell_flows_of_learned();
    // Asked for the learnt route of a prefix when an owner's goes.
    using LearnedRoute = std::function<std::optional<NextHopId>(VrfId, const IpPrefix&)>;
    void on_owner_route_gone(LearnedRoute hook) { learned_route_ = std::move(hook); }
    // Told when an uplink's link comes or goes.
    void on_link(std::function<void(PortId)> hook) { link_hook_ = std::move(hook); }

    // ---- Segment routing (segment_routing.cc) ----

    // Before any tunnel or segment. What is addressed to the locator and to none of its segments
    // is dropped for that reason. Errors: kLimit.
    Result<void> enable_segment_routing(const IpPrefix& locator, const TunnelSettings& settings);
    bool routes_segments() const { return routes_segments_; }
    // How the underlay reaches a segment now.
    Reach reach(const Ip6& segment) const { return tunnels_.look(segment); }
    // Told when that has changed for a tunnel.
    void on_reach(std::function<void()> hook) { reach_hook_ = std::move(hook); }
    // See Tunnels::learn_mtu() and forget_mtus().
    void learn_tunnel_mtu(const Ip6& last, uint16_t mtu, Tunnels::Clock::time_point until) {
        tunnels_.learn_mtu(last, mtu, until);
    }
    void forget_tunnel_mtus(Tunnels::Clock::time_point now) { tunnels_.forget_mtus(now); }
    // The way to whoever has sent an inner packet from `src` to `dst` in a tunnel that ends at the
    // segment; nothing where none is known.
    struct WayBack {
        Adjacency link;                         // of kind kEthernet
        const Encapsulation* tunnel = nullptr;  // the sender is behind one itself
    };
    std::optional<WayBack> find_tunnel_sender(const Ip6& last, const IpAddress& src,
                                              const IpAddress& dst) const;
    // See NextHops::on_counter_freed().
    void on_sid_counter_freed(std::function<void(uint16_t)> hook) {
        next_hops_.on_counter_freed(std::move(hook));
    }

    // A VM announced `address` (gratuitous ARP or unsolicited NA, checked by the worker against
    // the port's sources). If it is an allowed pair, its route moves to that port.
    void address_announced(PortId port, const IpAddress& address);

    // Told when a port is on its way out, before its id can be used again.
    void on_removed(std::function<void(PortId)> hook) { removed_hook_ = std::move(hook); }

    // Told when nothing refers to the port any more, before its id is used again.
    void on_gone(std::function<void(PortId)> hook) { gone_hook_ = std::move(hook); }

    // Told by which addresses the world may reach a port's VM, whenever that may have changed.
    using ReachableHook = std::function<void(PortId, const Reachable&)>;
    void on_reachable(ReachableHook hook) { reachable_hook_ = std::move(hook); }

    // For `explain` and listings.
    const PortConfig* config(PortId) const;
    // Of every port id ever used; nullptr where there is no port now.
    void for_each_config(const std::function<void(PortId, const PortConfig*)>& visit) const;
    const NextHops& next_hops() const { return next_hops_; }
    const NextHopGroups& groups() const { return groups_; }
    Firewall& firewall() { return firewall_; }
    const Firewall& firewall() const { return firewall_; }
    const Generations& generations() const { return generations_; }
    // Queues by worker, for `show workers`.
    std::vector<std::pair<PortId, uint16_t>> queues_of_worker(size_t worker) const;

  private:
    struct AssignedQueue {
        RxQueue* queue;
        size_t worker;
    };
    struct HostRoute {
        VrfId vrf;
        IpAddress address;
        NextHopId next_hop;
    };
    struct HostView {
        PortId uplink;
    };
    struct Port {
        std::variant<PortIntent, UplinkSpec, HostView> spec;
        Mac mac;
        TxPort* tx = nullptr;
        const PortConfig* config = nullptr;  // the published one
        SharedPolicy policy;                 // that it refers to
        PortActual actual;
        std::vector<AssignedQueue> queues;
        std::vector<HostRoute> host_routes;  // of fixed addresses
        uint64_t generation = 0;             // of the configuration, to tell late acknowledgements
        bool was_wired = false;
        bool reopening = false;
        PortId host_view;                        // of an uplink
        std::shared_ptr<const VlanPorts> vlans;  // the same, that the configuration refers to
        std::vector<IpAddress> addresses;        // of the host on an uplink
        const PortIntent& intent() const { return std::get<PortIntent>(spec); }
    };

    // Paths of one next hop that share its packets.
    struct TunnelPath {
        NextHopId tunnel;
        Ip6 segment;  // the first
        uint16_t weight;
    };
    struct TunnelGroup {
        std::vector<TunnelPath> paths;
        std::set<VrfId> vrfs;  // in which routes have led to it
    };

    static int64_t unix_ms();
    Port& port(PortId id) { return *ports_.at(id); }
    Result<PortId> allocate_id();
    std::unique_ptr<PortConfig> compile(PortId id, const Port& port) const;
    void publish_config(PortId id);
    void publish_ports_of(const std::string& group);
    void unpublish_config(PortId id);
    void mark_unprogrammed(PortId id);
    Result<void> add_addresses(PortId id, const PortIntent& intent);
    void keep_addresses(Port& port, const PortIntent* intent);
    Result<void> add_host_route(Port& port, PortId id, VrfId vrf, const IpAddress& address);
    void remove_host_route(const HostRoute& route);
    void drop_route(VrfId vrf, const IpPrefix& prefix);
    Result<void> add_host_view(PortId uplink);
    PortId find_uplink(const std::string& name) const;
    void add_vlan(PortId uplink, uint16_t vlan, PortId id);
    void routes_changed(VrfId vrf);
    Result<void> put_route(VrfId vrf, const IpPrefix& prefix, NextHopId hop);
    void take_route(VrfId vrf, const IpPrefix& prefix);
    // Of a route that the kernel's routing put there, not an owner.
    bool is_learned(NextHopId hop) const { return is_group(hop) && !tunnel_groups_.contains(hop); }
    Result<NextHopId> acquire_tunnel_group(const NextHopSpec& spec);
    void release_tunnel_group(NextHopId id);
    void evaluate_tunnels(NextHopId id, const TunnelGroup& group);
    void tunnel_reach_changed(NextHopId tunnel);
    std::set<VrfId> vrfs_of(NextHopId tunnel) const;
    bool leads_into(VrfId vrf, const IpAddress& address, NextHopId tunnel) const;
    const Adjacency* any_of(NextHopId hop) const;
    std::optional<WayBack> way_to(VrfId vrf, const IpAddress& address) const;
    void raise_routes();
    void raise_epoch_when_acknowledged();
    void end_holder(VrfId vrf, const IpAddress& address);
    void release_held(PortId id, const PortIntent* intent);
    void reopen(PortId id);
    void close_device(PortId id, std::function<void()> done);
    void use_device(PortId id, const DeviceHandles& handles);
    void drop_queues(Port& port);
    void handle(const DeviceEvent& event);
    void note_device(Port& port, const DeviceEvent& event);
    void set_state(PortId id, PortState state, std::string reason, std::string last_error);
    void check_wired(PortId id);
    void tell_reachable(PortId id);
    void emit(const PlaneEvent& event);

    Publisher& publisher_;
    Fib& fib_;
    Devices& devices_;
    RouterIdentity router_;
    NextHops next_hops_;
    NextHopGroups groups_;
    Tunnels tunnels_;
    bool routes_segments_ = false;
    std::map<NextHopId, TunnelGroup> tunnel_groups_;
    // Of tunnels that routes lead to by themselves, not in a group.
    std::map<NextHopId, std::set<VrfId>> tunnel_vrfs_;
    std::map<VrfId, std::set<VrfId>> led_into_;  // by a VRF, those whose routes have led there
    std::unique_ptr<PortConfig> resolver_;
    std::set<VrfId> learned_vrfs_;    // that learnt routes stand in
    std::set<VrfId> learned_untold_;  // whose learnt routes have changed, and flows do not know
    Firewall firewall_;
    Generations& generations_;
    // Changed since flows have last been told, which is done once for what belongs together.
    std::set<VrfId> changed_routes_;
    std::map<PortId, std::unique_ptr<Port>> ports_;
    std::vector<PortId> free_ids_;
    uint16_t next_id_ = 1;
    size_t closing_ = 0;  // devices on their way out
    std::vector<std::function<void()>> after_closing_;
    std::vector<uint32_t> queue_counts_;  // by worker
    // Allowed pairs that a port has announced: who holds them now.
    struct Holder {
        PortId port;
        NextHopId next_hop;
    };
    std::map<std::pair<VrfId, IpAddress>, Holder> held_;
    std::function<void(const PlaneEvent&)> listener_;
    std::function<void(PortId)> removed_hook_ = [](PortId) {};
    ReachableHook reachable_hook_ = [](PortId, const Reachable&) {};
    LearnedRoute learned_route_ = [](VrfId, const IpPrefix&) { return std::nullopt; };
    std::function<void(PortId)> link_hook_ = [](PortId) {};
    std::function<void(PortId)> gone_hook_ = [](PortId) {};
    std::function<void()> reach_hook_ = [] {};
};

}  // namespace slash32
