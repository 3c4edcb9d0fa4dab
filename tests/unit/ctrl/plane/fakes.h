// SPDX-License-Identifier: Apache-2.0
// A plane on fakes: devices that only record, and workers that acknowledge when they are told to.
#pragma once

#include "ctrl/fib/fib.h"
#include "ctrl/plane/devices.h"
#include "ctrl/plane/forwarding_plane.h"
#include "ctrl/publish/publisher.h"
#include "ctrl/publish/qsbr_reclaimer.h"
#include "dp/base/pages.h"
#include "tests/support/quiescent.h"

#include <gtest/gtest.h>
#include <rte_rcu_qsbr.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace slash32 {

class FakeDevices final : public Devices {
  public:
    Result<DeviceHandles> open(PortId id, const PortIntent& intent) override {
        if (refuse) return fail(ErrorCode::kUnavailable, "", "no such device today");
        opened.push_back(id);
        Device& device = devices[id];
        device.tx.port = id;
        DeviceHandles handles{.tx = &device.tx, .rx = {}};
        for (uint16_t i = 0; i < intent.queues; ++i) {
            device.rx.push_back(std::make_unique<RxQueue>());
            device.rx.back()->port = id;
            device.rx.back()->index = i;
            handles.rx.push_back(device.rx.back().get());
        }
        return handles;
    }
    Result<DeviceHandles> open_uplink(PortId id, const UplinkSpec& spec, Mac& mac) override {
        mac = Mac{{2, 0, 0, 0, 9, 9}};
        PortIntent intent;
        intent.queues = spec.queues;
        return open(id, intent);
    }
    DeviceHandles open_vlan(PortId id, PortId, const UplinkSpec&, Mac& mac) override {
        mac = Mac{{2, 0, 0, 0, 9, 9}};
        return {.tx = open(id, PortIntent{})->tx, .rx = {}};
    }
    DeviceCounters counters(PortId) override { return {}; }
    std::vector<DeviceOffload> offloads(PortId) override { return {}; }
    Result<DeviceHandles> open_host_view(PortId id, const UplinkSpec&, const Mac&) override {
        return open(id, PortIntent{});
    }
    void set_carrier(PortId view, bool up) override { carriers[view] = up; }
    void close(PortId id, std::function<void()> done) override {
        closed.push_back(id);
        devices.erase(id);
        done();
    }
    void on_event(std::function<void(const DeviceEvent&)> f) override { listener = std::move(f); }

    struct Device {
        TxPort tx;
        std::vector<std::unique_ptr<RxQueue>> rx;
    };
    std::map<PortId, Device> devices;
    std::vector<PortId> opened;
    std::vector<PortId> closed;
    std::function<void(const DeviceEvent&)> listener;
    std::map<PortId, bool> carriers;
    bool refuse = false;
};

// What one worker would hold after its commands.
struct FakeWorker {
    std::map<PortId, const PortConfig*> ports;
    std::map<NextHopId, Adjacency> adjacencies;
    std::set<RxQueue*> queues;
};

class PlaneTest : public testing::Test {
  protected:
    static constexpr size_t kWorkers = 2;

    void SetUp() override {
        quiescent_ = test::make_quiescent(kWorkers);
        std::vector<WorkerChannel> channels;
        for (size_t i = 0; i < kWorkers; ++i) {
            rings_.push_back(std::make_unique<CommandRing>());
            channels.push_back(WorkerChannel{rings_[i].get(), eventfd(0, EFD_NONBLOCK)});
            doorbells_.push_back(channels[i].doorbell);
        }
        reclaimer_ = std::make_unique<QsbrReclaimer>(quiescent_.get());
        FibSizes sizes{
            .hosts_ipv4 = 1024, .hosts_ipv6 = 1024, .prefixes_ipv4 = 64, .prefixes_ipv6 = 64};
        fib_ = std::move(*Fib::create(sizes, mapped_memory(), *reclaimer_));
        sets_ = std::move(*AddressSets::create(mapped_memory(), *reclaimer_, *generations_));
        publisher_ = std::make_unique<Publisher>(channels, quiescent_.get());
        plane_ = std::make_unique<ForwardingPlane>(
            *publisher_, *fib_, devices_,
            RouterIdentity{*parse_mac("02:00:5e:00:01:01"), parse_ip("169.254.0.1")->ipv4(),
                           parse_ip("fe80::1")->ipv6()},
            FirewallTables{*sets_, *generations_});
        plane_->on_event([this](const PlaneEvent& event) { events_.push_back(event); });
    }
    void TearDown() override {
        settle();
        plane_.reset();
        publisher_.reset();
        reclaimer_->drain();
        reclaimer_->drain();  // what the callbacks of the first deferred
        sets_.reset();
        fib_.reset();
        for (const int fd : doorbells_)
            close(fd);
    }

    // Workers carry out all commands, and control hears of it, until nothing is left to do.
    void settle() {
        for (int turn = 0; turn < 8; ++turn) {
            for (size_t i = 0; i < kWorkers; ++i)
                work(i);
            publisher_->poll();
        }
    }
    void work(size_t index) {
        Command c;
        FakeWorker& worker = workers_[index];
        while (rings_[index]->pop(c)) {
            switch (c.opcode) {
                case Opcode::kSetPort:
                    worker.ports[c.payload.port.port] = c.payload.port.config;
                    break;
                case Opcode::kSetAdjacency:
                    worker.adjacencies[c.payload.adjacency.id] = c.payload.adjacency.adjacency;
                    break;
                case Opcode::kAddRxQueue:
                    // A packet of this queue must find its port.
                    EXPECT_NE(worker.ports[c.payload.rx_queue->port], nullptr);
                    EXPECT_TRUE(worker.queues.insert(c.payload.rx_queue).second);
                    break;
                case Opcode::kRemoveRxQueue:
                    EXPECT_EQ(worker.queues.erase(c.payload.rx_queue), 1u);
                    break;
                default:
                    break;
            }
            rings_[index]->acknowledge(c.sequence);
        }
    }
    void device_event(PortId port, DeviceEvent::Type type) {
        devices_.listener(DeviceEvent{.type = type,
                                      .port = port,
                                      .reason = "",
                                      .last_error = "",
                                      .mtu = 1500,
                                      .queue_pairs = 1,
                                      .features = {}});
    }
    std::vector<PlaneEvent::Type> event_types() const {
        std::vector<PlaneEvent::Type> types;
        for (const PlaneEvent& event : events_)
            types.push_back(event.type);
        return types;
    }
    std::optional<NextHopId> route(const char* prefix, uint16_t vrf = 0) const {
        return fib_->get(VrfId{vrf}, *parse_prefix(prefix));
    }
    PortId port_of(const char* prefix) const {
        const auto next_hop = route(prefix);
        return next_hop ? plane_->next_hops().adjacency(*next_hop).port : kNoPort;
    }

    test::QuiescentPtr quiescent_;
    std::vector<std::unique_ptr<CommandRing>> rings_;
    std::vector<int> doorbells_;
    FakeDevices devices_;
    FakeWorker workers_[kWorkers];
    std::unique_ptr<QsbrReclaimer> reclaimer_;
    std::unique_ptr<Fib> fib_;
    std::unique_ptr<Generations> generations_ = std::make_unique<Generations>();
    std::unique_ptr<AddressSets> sets_;
    std::unique_ptr<Publisher> publisher_;
    std::unique_ptr<ForwardingPlane> plane_;
    std::vector<PlaneEvent> events_;
};

}  // namespace slash32
