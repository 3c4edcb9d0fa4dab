// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ctrl/plane/fakes.h"

#include <array>
#include <map>
#include <string>
#include <vector>

namespace slash32 {
namespace {

using Event = PlaneEvent::Type;

PortIntent vm(const char* name, const char* mac, const std::vector<const char*>& addresses) {
    PortIntent intent;
    intent.name = name;
    intent.socket = std::string("/run/") + name;
    intent.mac = *parse_mac(mac);
    for (const char* text : addresses) {
        const IpAddress address = *parse_ip(text);
        intent.addresses.push_back(FixedAddress{address, address.bits()});
    }
    intent.groups = {"any"};
    return intent;
}

const PortIntent kVm1 = vm("vm1", "52:54:00:00:00:01", {"10.0.0.11", "2001:db8::11"});
const PortIntent kVm2 = vm("vm2", "52:54:00:00:00:02", {"10.0.0.12"});

NextHopSpec over_uplink(PortId uplink, const char* via) {
    return NextHopSpec{
        .kind = NextHopSpec::Kind::kPort, .port = uplink, .via = parse_ip(via), .mac = {}};
}

UplinkSpec uplink(const char* name) {
    UplinkSpec spec;
    spec.name = name;
    spec.devargs = "net_null0";
    return spec;
}

TEST_F(PlaneTest, AddedPortReachesEveryWorkerWithItsHostRoutes) {
    const PortId id = *plane_->add_port(kVm1);
    EXPECT_FALSE(plane_->actual(id).programmed);
    settle();
    EXPECT_TRUE(plane_->actual(id).programmed);
    for (const FakeWorker& worker : workers_) {
        const PortConfig* config = worker.ports.at(id);
        EXPECT_EQ(config->mac, kVm1.mac);
        EXPECT_TRUE(config->has(kPortSecurity));
        EXPECT_TRUE(config->has(kFilterOpen));
        EXPECT_EQ(config->source_count, 2);
        const Adjacency& adjacency = worker.adjacencies.at(*route("10.0.0.11/32"));
        EXPECT_EQ(adjacency.kind, AdjacencyKind::kEthernet);
        EXPECT_EQ(adjacency.port, id);
        EXPECT_EQ(adjacency.destination, kVm1.mac);
        EXPECT_EQ(to_string(adjacency.source), "02:00:5e:00:01:01");
    }
    EXPECT_EQ(port_of("2001:db8::11/128"), id);
    EXPECT_EQ(workers_[0].queues.size() + workers_[1].queues.size(), 1u);
}

TEST_F(PlaneTest, QueuesSpreadOverWorkers) {
    PortIntent wide = kVm1;
    wide.queues = 4;
    ASSERT_TRUE(plane_->add_port(wide));
    settle();
    EXPECT_EQ(workers_[0].queues.size(), 2u);
    EXPECT_EQ(workers_[1].queues.size(), 2u);
}

TEST_F(PlaneTest, WiredComesOnceWhenConnectedAndProgrammedInEitherOrder) {
    const PortId first = *plane_->add_port(kVm1);
    device_event(first, DeviceEvent::Type::kConnected);
    EXPECT_EQ(event_types(), (std::vector{Event::kConnected}));
    settle();
    EXPECT_EQ(event_types(), (std::vector{Event::kConnected, Event::kWired}));
    events_.clear();

    const PortId second = *plane_->add_port(kVm2);
    settle();
    device_event(second, DeviceEvent::Type::kConnected);
    device_event(second, DeviceEvent::Type::kRingsReady);
    settle();
    EXPECT_EQ(event_types(), (std::vector{Event::kConnected, Event::kWired, Event::kRingsReady}));
    EXPECT_EQ(plane_->actual(second).state, PortState::kRunning);
}

TEST_F(PlaneTest, ReconnectedFrontendIsWiredAgain) {
    const PortId id = *plane_->add_port(kVm1);
    settle();
    device_event(id, DeviceEvent::Type::kConnected);
    device_event(id, DeviceEvent::Type::kDisconnected);
    EXPECT_EQ(plane_->actual(id).state, PortState::kWaiting);
    device_event(id, DeviceEvent::Type::kConnected);
    EXPECT_EQ(event_types(), (std::vector{Event::kConnected, Event::kWired, Event::kDisconnected,
                                          Event::kConnected, Event::kWired}));
}

TEST_F(PlaneTest, ChangeKeepsWhatStaysInPlace) {
    const PortId id = *plane_->add_port(kVm1);
    settle();
    const NextHopId before = *route("10.0.0.11/32");
    PortIntent changed = kVm1;
    changed.addresses[1] = FixedAddress{*parse_ip("10.0.0.99"), 32};
    changed.mtu = 9000;
    ASSERT_TRUE(plane_->change_port(id, changed));
    EXPECT_EQ(route("10.0.0.11/32"), before);  // no blink
    EXPECT_EQ(port_of("10.0.0.99/32"), id);
    EXPECT_FALSE(route("2001:db8::11/128"));
    settle();
    EXPECT_EQ(workers_[0].adjacencies.at(before).mtu, 9000);
    EXPECT_TRUE(devices_.closed.empty());
    EXPECT_EQ(devices_.opened.size(), 1u);
}

TEST_F(PlaneTest, NewMacReachesTheAdjacency) {
    const PortId id = *plane_->add_port(kVm1);
    PortIntent changed = kVm1;
    changed.mac = *parse_mac("52:54:00:00:00:77");
    ASSERT_TRUE(plane_->change_port(id, changed));
    settle();
    EXPECT_EQ(workers_[1].adjacencies.at(*route("10.0.0.11/32")).destination, changed.mac);
}

TEST_F(PlaneTest, AddressesSwapWithinOneTurn) {
    const PortId first = *plane_->add_port(vm("vm1", "52:54:00:00:00:01", {"10.0.0.11"}));
    const PortId second = *plane_->add_port(vm("vm2", "52:54:00:00:00:02", {"10.0.0.12"}));
    ASSERT_TRUE(plane_->change_port(first, vm("vm1", "52:54:00:00:00:01", {"10.0.0.12"})));
    ASSERT_TRUE(plane_->change_port(second, vm("vm2", "52:54:00:00:00:02", {"10.0.0.11"})));
    settle();
    EXPECT_EQ(port_of("10.0.0.12/32"), first);
    EXPECT_EQ(port_of("10.0.0.11/32"), second);
}

TEST_F(PlaneTest, OtherSocketMakesTheDeviceAnewWithWorkersOutOfTheWay) {
    const PortId id = *plane_->add_port(kVm1);
    settle();
    PortIntent changed = kVm1;
    changed.socket = "/run/elsewhere";
    ASSERT_TRUE(plane_->change_port(id, changed));
    EXPECT_TRUE(devices_.closed.empty());  // workers have not let go yet
    settle();
    EXPECT_EQ(devices_.closed, std::vector{id});
    EXPECT_EQ(devices_.opened, (std::vector{id, id}));
    EXPECT_EQ(workers_[0].ports.at(id)->tx, &devices_.devices.at(id).tx);
    EXPECT_EQ(workers_[0].queues.size() + workers_[1].queues.size(), 1u);
}

TEST_F(PlaneTest, RemovedPortLeavesNothing) {
    const PortId id = *plane_->add_port(kVm1);
    settle();
    plane_->remove_port(id);
    EXPECT_FALSE(route("10.0.0.11/32"));
    EXPECT_TRUE(devices_.closed.empty());
    settle();
    EXPECT_EQ(devices_.closed, std::vector{id});
    EXPECT_EQ(workers_[0].ports.at(id), nullptr);
    EXPECT_TRUE(workers_[0].queues.empty() && workers_[1].queues.empty());
    EXPECT_EQ(plane_->next_hops().size(), 0u);
    EXPECT_EQ(*plane_->add_port(kVm2), id);  // the id is free again
}

TEST_F(PlaneTest, DeviceThatCannotBeMadeChangesNothing) {
    devices_.refuse = true;
    const auto added = plane_->add_port(kVm1);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code, ErrorCode::kUnavailable);
    EXPECT_FALSE(route("10.0.0.11/32"));
    EXPECT_EQ(plane_->next_hops().size(), 0u);
}

TEST_F(PlaneTest, NeighbourCompletesAndChangesAdjacenciesOverIt) {
    const PortId up = *plane_->add_uplink(uplink("up0"));
    const NextHopId hop = *plane_->acquire_next_hop(over_uplink(up, "192.0.2.1"));
    ASSERT_TRUE(plane_->set_route(VrfId{0}, *parse_prefix("198.51.100.0/24"), hop));
    settle();
    EXPECT_EQ(workers_[0].adjacencies.at(hop).kind, AdjacencyKind::kIncomplete);
    plane_->set_neighbor(up, *parse_ip("192.0.2.1"), parse_mac("02:00:00:00:00:aa"));
    settle();
    EXPECT_EQ(workers_[0].adjacencies.at(hop).kind, AdjacencyKind::kEthernet);
    EXPECT_EQ(to_string(workers_[0].adjacencies.at(hop).destination), "02:00:00:00:00:aa");
    EXPECT_EQ(to_string(workers_[0].adjacencies.at(hop).source), "02:00:00:00:09:09");
    plane_->set_neighbor(up, *parse_ip("192.0.2.1"), std::nullopt);
    settle();
    EXPECT_EQ(workers_[0].adjacencies.at(hop).kind, AdjacencyKind::kIncomplete);
}

TEST_F(PlaneTest, EqualNextHopsShareOneAdjacencyUntilTheLastIsReleased) {
    const NextHopSpec blackhole{
        .kind = NextHopSpec::Kind::kBlackhole, .port = {}, .via = {}, .mac = {}};
    const NextHopId first = *plane_->acquire_next_hop(blackhole);
    EXPECT_EQ(*plane_->acquire_next_hop(blackhole), first);
    plane_->release_next_hop(first);
    settle();
    EXPECT_EQ(workers_[0].adjacencies.at(first).kind, AdjacencyKind::kBlackhole);
    plane_->release_next_hop(first);
    settle();
    EXPECT_EQ(workers_[0].adjacencies.at(first).kind, AdjacencyKind::kNone);
}

// What the world may be told, by port, as the plane has said last.
class ReachableTest : public PlaneTest {
  protected:
    void SetUp() override {
        PlaneTest::SetUp();
        plane_->on_reachable([this](PortId id, const Reachable& reachable) {
            reachable_[id] = texts_of(reachable);
            last_ = reachable;
        });
    }
    using Texts = std::vector<std::string>;
    static Texts texts_of(const Reachable& reachable) {
        Texts texts;
        for (const IpAddress& address : reachable.addresses)
            texts.push_back(to_string(address));
        return texts;
    }
    std::map<PortId, Texts> reachable_;
    Reachable last_;
};

TEST_F(ReachableTest, OnlyAVmThatIsThere) {
    const PortId id = *plane_->add_port(kVm1);
    settle();
    EXPECT_EQ(reachable_[id], Texts{});
    device_event(id, DeviceEvent::Type::kConnected);
    EXPECT_EQ(reachable_[id], (Texts{"10.0.0.11", "2001:db8::11"}));
    device_event(id, DeviceEvent::Type::kRingsReady);
    device_event(id, DeviceEvent::Type::kRingsOff);  // paused, or between two drivers
    EXPECT_EQ(reachable_[id], (Texts{"10.0.0.11", "2001:db8::11"}));
    device_event(id, DeviceEvent::Type::kDisconnected);
    EXPECT_EQ(reachable_[id], Texts{});
    device_event(id, DeviceEvent::Type::kConnected);
    device_event(id, DeviceEvent::Type::kFailed);
    EXPECT_EQ(reachable_[id], Texts{});
}

TEST_F(ReachableTest, NotBeforeEveryWorkerHasItsPolicy) {
    const PortId id = *plane_->add_port(kVm1);
    device_event(id, DeviceEvent::Type::kConnected);
    EXPECT_EQ(reachable_[id], Texts{});
    settle();
    EXPECT_EQ(reachable_[id], (Texts{"10.0.0.11", "2001:db8::11"}));
}

TEST_F(ReachableTest, ChangesFollowWithoutABlink) {
    const PortId id = *plane_->add_port(kVm1);
    device_event(id, DeviceEvent::Type::kConnected);
    settle();
    std::vector<Texts> said;
    plane_->on_reachable(
        [&](PortId, const Reachable& reachable) { said.push_back(texts_of(reachable)); });
    PortIntent changed = kVm1;
    changed.groups.clear();
    changed.addresses.pop_back();
    ASSERT_TRUE(plane_->change_port(id, changed));
    settle();
    for (const Texts& texts : said)
        EXPECT_EQ(texts, Texts{"10.0.0.11"});
    EXPECT_FALSE(said.empty());
}

TEST_F(ReachableTest, AsThePortSaysAndOnlyInTheUnderlay) {
    const PortId id = *plane_->add_port(kVm1);
    device_event(id, DeviceEvent::Type::kConnected);
    settle();
    for (const Announce announce : {Announce::kHold, Announce::kWithdrawn}) {
        PortIntent changed = kVm1;
        changed.announce = announce;
        ASSERT_TRUE(plane_->change_port(id, changed));
        EXPECT_EQ(reachable_[id], Texts{});
        ASSERT_TRUE(plane_->change_port(id, kVm1));
        EXPECT_EQ(reachable_[id], (Texts{"10.0.0.11", "2001:db8::11"}));
    }
    PortIntent tenant = kVm1;
    tenant.vrf = VrfId{7};
    ASSERT_TRUE(plane_->change_port(id, tenant));
    settle();
    EXPECT_EQ(reachable_[id], Texts{});
    plane_->remove_port(id);
    EXPECT_EQ(reachable_[id], Texts{});
}

TEST_F(ReachableTest, TableMetricAndDelayAreThePorts) {
    PortIntent intent = kVm1;
    intent.announce_table = 100;
    intent.announce_metric = 7;
    intent.withdraw_delay_ms = 1500;
    const PortId id = *plane_->add_port(intent);
    device_event(id, DeviceEvent::Type::kConnected);
    settle();
    EXPECT_EQ(last_.table, 100u);
    EXPECT_EQ(last_.metric, 7u);
    EXPECT_EQ(last_.linger.count(), 0);
    device_event(id, DeviceEvent::Type::kDisconnected);
    EXPECT_EQ(last_.linger.count(), 1500);
    EXPECT_FALSE(last_.removed);
    PortIntent withdrawn = intent;
    withdrawn.announce = Announce::kWithdrawn;
    ASSERT_TRUE(plane_->change_port(id, withdrawn));
    EXPECT_EQ(last_.linger.count(), 0);
    ASSERT_TRUE(plane_->change_port(id, intent));
    plane_->remove_port(id);
    EXPECT_EQ(last_.linger.count(), 1500);
    EXPECT_TRUE(last_.removed);
}

TEST_F(ReachableTest, SharedAddressGoesWithItsHolder) {
    std::array<PortId, 2> ports;
    for (size_t i = 0; i < ports.size(); ++i) {
        PortIntent intent = i == 0 ? kVm1 : kVm2;
        intent.addresses = {};
        intent.allowed_pairs = {AllowedPair{*parse_prefix("10.0.0.100"), std::nullopt}};
        ports[i] = *plane_->add_port(intent);
        device_event(ports[i], DeviceEvent::Type::kConnected);
    }
    settle();
    plane_->address_announced(ports[0], *parse_ip("10.0.0.100"));
    EXPECT_EQ(reachable_[ports[0]], Texts{"10.0.0.100"});
    plane_->address_announced(ports[1], *parse_ip("10.0.0.100"));
    EXPECT_EQ(reachable_[ports[0]], Texts{});
    EXPECT_EQ(reachable_[ports[1]], Texts{"10.0.0.100"});
    const NextHopId blackhole =
        *plane_->acquire_next_hop(NextHopSpec{.kind = NextHopSpec::Kind::kBlackhole});
    ASSERT_TRUE(plane_->set_route(VrfId{0}, *parse_prefix("10.0.0.100"), blackhole));
    EXPECT_EQ(reachable_[ports[1]], Texts{});
}

class HolderTest : public PlaneTest {
  protected:
    void SetUp() override {
        PlaneTest::SetUp();
        for (auto [intent, id] : {std::pair{kVm1, &first_}, {kVm2, &second_}}) {
            intent.allowed_pairs = {AllowedPair{*parse_prefix("10.0.0.100"), std::nullopt}};
            *id = *plane_->add_port(intent);
        }
        settle();
    }
    PortId first_, second_;
    const IpAddress shared_ = *parse_ip("10.0.0.100");
};

TEST_F(HolderTest, LastAnnouncerHoldsASharedAddress) {
    EXPECT_FALSE(route("10.0.0.100/32"));
    plane_->address_announced(first_, shared_);
    EXPECT_EQ(port_of("10.0.0.100/32"), first_);
    plane_->address_announced(second_, shared_);
    EXPECT_EQ(port_of("10.0.0.100/32"), second_);
    plane_->address_announced(second_, shared_);
    EXPECT_EQ(event_types(), (std::vector{Event::kAddressMoved, Event::kAddressMoved}));
}

TEST_F(HolderTest, NobodyTakesWhatIsNotItsPair) {
    plane_->address_announced(first_, *parse_ip("10.0.0.101"));
    plane_->address_announced(first_, *parse_ip("10.0.0.12"));  // the fixed address of the other
    EXPECT_FALSE(route("10.0.0.101/32"));
    EXPECT_EQ(port_of("10.0.0.12/32"), second_);
}

TEST_F(HolderTest, HolderThatGoesOrMayNoLongerLosesTheAddress) {
    plane_->address_announced(first_, shared_);
    ASSERT_TRUE(plane_->change_port(first_, kVm1));  // without the pair
    EXPECT_FALSE(route("10.0.0.100/32"));
    plane_->address_announced(second_, shared_);
    plane_->remove_port(second_);
    EXPECT_FALSE(route("10.0.0.100/32"));
}

TEST_F(HolderTest, OwnersRouteWinsAndStays) {
    plane_->address_announced(first_, shared_);
    const NextHopId hop = *plane_->acquire_next_hop(
        NextHopSpec{.kind = NextHopSpec::Kind::kUnreachable, .port = {}, .via = {}, .mac = {}});
    ASSERT_TRUE(plane_->set_route(VrfId{0}, *parse_prefix("10.0.0.100"), hop));
    plane_->address_announced(second_, shared_);
    plane_->remove_port(first_);
    EXPECT_EQ(route("10.0.0.100/32"), hop);
}

TEST(Compile, RouterAdvertisementNamesSubnetsOfIpv6Addresses) {
    PortIntent intent = kVm1;
    const RouterIdentity router{*parse_mac("02:00:5e:00:01:01"), parse_ip("169.254.0.1")->ipv4(),
                                parse_ip("fe80::1")->ipv6()};
    // The EUI-64 address of 52:54:00:00:00:01 is configured by SLAAC, any other by DHCPv6.
    intent.addresses = {FixedAddress{*parse_ip("2001:db8:1:0:5054:ff:fe00:1"), 64},
                        FixedAddress{*parse_ip("2001:db8:2::5"), 64}};
    intent.gateways = {*parse_ip("fe80::1"), *parse_ip("2001:db8:1::1")};
    const auto config = compile_port(PortId{1}, intent, router, nullptr, nullptr);
    ASSERT_EQ(config->ra_prefix_count, 2);
    EXPECT_TRUE(config->ra_prefixes[0].autonomous);
    EXPECT_EQ(to_string(IpAddress(config->ra_prefixes[0].prefix)), "2001:db8:1::");
    EXPECT_FALSE(config->ra_prefixes[1].autonomous);
    EXPECT_TRUE(config->has(kSendRa));
    EXPECT_TRUE(config->has(kRaManaged));
    EXPECT_EQ(to_string(IpAddress(config->gateway6)), "2001:db8:1::1");
    EXPECT_EQ(to_string(IpAddress(config->gateway4)), "169.254.0.1");
}

TEST(Compile, FilterAndPortSecurityAreTwoThings) {
    const RouterIdentity router{};
    PortIntent intent = kVm1;
    intent.groups = {};
    EXPECT_TRUE(compile_port(PortId{1}, intent, router, nullptr, nullptr)->has(kPortSecurity));
    EXPECT_FALSE(compile_port(PortId{1}, intent, router, nullptr, nullptr)->has(kFilterOpen));
    intent.port_security = false;
    EXPECT_FALSE(compile_port(PortId{1}, intent, router, nullptr, nullptr)->has(kPortSecurity));
    EXPECT_TRUE(compile_port(PortId{1}, intent, router, nullptr, nullptr)->has(kFilterOpen));
}

}  // namespace
}  // namespace slash32
