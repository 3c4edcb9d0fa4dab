// SPDX-License-Identifier: Apache-2.0
// A router in a test: the real pipeline and forwarding tables, ports that record what they send.
//
//                         vm1  10.0.0.1   2001:db8::1   open filter
//                         vm2  10.0.0.2   2001:db8::2   open filter
//   gateway 10.0.0.254    vm3  10.0.0.3   2001:db8::3   no security group
//   and fe80::1           vm4  10.0.0.4   2001:db8::4   no port security, offloads nothing
//                         uplink  192.0.2.1  2001:db8:ffff::1, to 198.51.100.0/24 and
//                                 2001:db8:100::/48 through one neighbour
//
// vm1 has the allowed pairs 10.0.0.100 and 2001:db8::100, which vm2 holds now, and 10.9.0.0/24.
// A test may give a port a policy; from then on flows are tracked, kLabFlows at a time unless it
// asks for more.
//
// 203.0.113.0/26 is a blackhole, .64/26 unreachable, .128/26 behind an unknown neighbour, .192/26
// behind a port that is gone; 2001:db8:bad:0::/64 to :3::/64 are the same.
//
// One Lab at a time. After every run it checks that each packet left exactly once and that none
// leaked.
#pragma once

#include "ctrl/fib/fib.h"
#include "ctrl/flow/flow_memory.h"
#include "ctrl/plane/encapsulation.h"
#include "ctrl/policy/address_sets.h"
#include "ctrl/policy/compile.h"
#include "dp/abi/counters.h"
#include "dp/abi/port.h"
#include "dp/abi/punt.h"
#include "dp/stage/context.h"
#include "tests/support/packet.h"

#include <rte_mbuf.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace slash32::test {

inline const Mac kGatewayMac = mac("02:00:00:00:00:fe");
inline const Mac kVm1Mac = mac("52:54:00:00:00:01");
inline const Mac kVm2Mac = mac("52:54:00:00:00:02");
inline const Mac kVm3Mac = mac("52:54:00:00:00:03");
inline const Mac kVm4Mac = mac("52:54:00:00:00:04");
inline const Mac kUplinkMac = mac("02:aa:00:00:00:01");
inline const Mac kNeighbourMac = mac("02:aa:00:00:00:99");
inline const Mac kBroadcastMac = mac("ff:ff:ff:ff:ff:ff");
inline const Mac kZeroMac{};

inline constexpr PortId kVm1{1};
inline constexpr PortId kVm2{2};
inline constexpr PortId kVm3{3};
inline constexpr PortId kVm4{4};
inline constexpr PortId kUplink{5};
inline constexpr PortId kHostView{6};  // add_host_view()
inline constexpr PortId kPortThatIsGone{9};

inline constexpr NextHopId kHopVm1{1};
inline constexpr NextHopId kHopVm2{2};
inline constexpr NextHopId kHopVm3{3};
inline constexpr NextHopId kHopVm4{4};
inline constexpr NextHopId kHopUplink{5};
inline constexpr NextHopId kHopBlackhole{6};
inline constexpr NextHopId kHopUnreachable{7};
inline constexpr NextHopId kHopIncomplete{8};
inline constexpr NextHopId kHopGone{9};
inline constexpr NextHopId kHopHost{10};
inline constexpr NextHopId kLabGroup{kMaxAdjacencies};  // set_group()

inline constexpr size_t kLabFlows = 64;

inline constexpr uint32_t kAllOffloads = kTxChecksum | kTxTso4 | kTxTso6 | kTxMultiSegment;

// What goes in: bytes, how they are spread over buffers, and the sender's offload requests.
struct Input {
    Bytes bytes;
    uint64_t rx_flags = 0;
    uint16_t tso_segsz = 0;
    std::vector<size_t> segments = {};  // lengths of all but the last; empty: one buffer
};

// What came out of a port.
struct Output {
    PortId port;
    Bytes bytes;
    uint64_t tx_flags = 0;  // what it asks of the sending driver
    uint16_t l2_length = 0;
    uint16_t l3_length = 0;
    uint16_t l4_length = 0;
    uint16_t tso_segsz = 0;
    uint16_t buffers = 1;
};

struct FakePort : TxPort {
    std::vector<Output>* sink = nullptr;
    std::optional<uint16_t> room;  // packets that it still takes; none: any number
    unsigned calls = 0;
};

struct RunResult {
    std::vector<Output> outputs;
    std::vector<std::pair<PuntInfo, Bytes>> punted;
    std::vector<std::pair<PuntInfo, Bytes>> captured;
    std::map<DropReason, uint64_t> drops;  // at the source port
    uint64_t consumed = 0;
    uint64_t injected = 0;
    uint64_t forwarded = 0;
};

class Lab {
  public:
    explicit Lab(size_t flows = kLabFlows);
    ~Lab();
    Lab(const Lab&) = delete;
    Lab& operator=(const Lab&) = delete;

    PortConfig& port(PortId id) { return configs_[id.value()]; }
    FakePort& tx(PortId id) { return *tx_[id.value()]; }
    WorkerContext& context() { return context_; }
    Adjacency& adjacency(NextHopId id) { return context_.adjacencies[id.value()]; }
    void add_route(std::string_view prefix, NextHopId id, VrfId vrf = VrfId{0});
    // The SR domain is fc00::/32 from now on, this node's locator fc00:0:1::/48; what else is of
    // fc00::/32 leads to the uplink's neighbour.
    void open_domain();
    SrDomain& domain() { return domain_; }
    // REQUIRES: open_domain().
    void add_tunnel(NextHopId id, const SegmentPath& path, const TunnelSettings& settings);
    void add_sid(NextHopId id, std::string_view prefix, const LocalSid& sid);
    // The host sees the uplink from now on, and what lacks a MAC address goes to kResolverPort.
    void add_host_view();
    // A group of next hops, by kLabGroup.
    void set_group(const NextHopGroup& group);
    void remove_port(PortId id) { context_.ports[id.value()] = nullptr; }
    // The port is filtered by the union of the rules from now on; flows hear of it.
    void set_policy(PortId id, const std::vector<PolicyRule>& rules);
    // The port has no policy any more: it is open, as its flags say.
    void clear_policy(PortId id);
    AddressSets& sets() { return *sets_; }
    FlowTables& flow_tables() { return flow_memory_->tables(); }
    Generations& generations() { return *generations_; }
    // Flows that are there, once those that have ended are gone.
    size_t flow_count();
    // Ends all flows, and waits until their entries are free again.
    void end_flows();
    void add_source(PortId id, const Mac& mac, std::string_view prefix, bool fixed);
    void start_capture(PortId id, Capture& capture);
    void set_icmp_rate(uint32_t per_second, uint32_t burst);
    void set_punt_rate(uint32_t per_second, uint32_t burst);
    // Takes buffers out of the pool until `left` remain.
    void exhaust_pool(unsigned left);
    void advance_seconds(unsigned seconds);
    // What stands in a new packet's buffers before, between and behind its bytes.
    void fill_buffers_with(uint8_t value) { fill_ = value; }

    RunResult run(PortId from, const std::vector<Input>& inputs);
    RunResult run(PortId from, const Bytes& packet) { return run(from, {Input{.bytes = packet}}); }
    // As run(), for one test's own mbufs, without results. Checks the balance all the same.
    void run_mbufs(PortId from, rte_mbuf** packets, unsigned count);
    rte_mbuf* make_mbuf(const Input& input);

  private:
    void add_port(PortId id, PortKind kind, const Mac& vm_mac, const Mac& router_mac,
                  uint16_t flags);
    void add_adjacency(NextHopId id, AdjacencyKind kind, PortId port, const Mac& destination,
                       const Mac& source);
    void check_balance(PortId from) const;
    void check_buffers() const;
    void drain(rte_ring* ring, std::vector<std::pair<PuntInfo, Bytes>>& into);
    rte_mbuf* make_buffer();

    void count_policies();
    void rest();

    std::vector<Output> outputs_;
    std::unique_ptr<Reclaimer> reclaimer_;
    std::unique_ptr<Fib> fib_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<AddressSets> sets_;
    std::unique_ptr<FlowMemory> flow_memory_;
    std::map<uint16_t, PolicyPtr> policies_;
    std::vector<PolicyPtr> old_policies_;
    uint32_t policy_generation_ = 0;
    std::map<uint16_t, PortConfig> configs_;
    std::map<uint16_t, std::unique_ptr<FakePort>> tx_;
    NextHopGroup group_{};
    SrDomain domain_;
    std::map<NextHopId, Encapsulation> encapsulations_;
    std::map<NextHopId, LocalSid> sids_;
    std::vector<rte_mbuf*> withheld_;
    WorkerContext context_;
    uint8_t fill_ = 0;
};

// Lets everything of a family pass, statefully.
PolicyRule any(PolicyDirection direction, Family family = Family::kIpv4);

// The packet in one string of the names of what happened, for messages.
std::string describe(const RunResult& result);

}  // namespace slash32::test
