// SPDX-License-Identifier: Apache-2.0
#include "ctrl/publish/publisher.h"

#include "ctrl/publish/qsbr_reclaimer.h"
#include "tests/support/quiescent.h"

#include <gtest/gtest.h>
#include <rte_rcu_qsbr.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <vector>

namespace slash32 {
namespace {

// Control's end with workers that the test drives by hand.
class PublisherTest : public testing::Test {
  protected:
    static constexpr size_t kWorkers = 2;

    void SetUp() override {
        quiescent_ = test::make_quiescent(kWorkers);
        std::vector<WorkerChannel> channels;
        for (size_t i = 0; i < kWorkers; ++i) {
            rings_.push_back(std::make_unique<CommandRing>());
            channels.push_back(WorkerChannel{rings_[i].get(), eventfd(0, EFD_NONBLOCK)});
            doorbells_.push_back(channels[i].doorbell);
            rte_rcu_qsbr_thread_register(quiescent_.get(), static_cast<unsigned>(i));
            rte_rcu_qsbr_thread_online(quiescent_.get(), static_cast<unsigned>(i));
        }
        publisher_ = std::make_unique<Publisher>(channels, quiescent_.get());
    }
    void TearDown() override {
        for (const int fd : doorbells_)
            close(fd);
    }

    // The worker carries out everything in its ring; returns the number of commands.
    size_t work(size_t worker) {
        Command command;
        size_t count = 0;
        while (rings_[worker]->pop(command)) {
            rings_[worker]->acknowledge(command.sequence);
            ++count;
        }
        return count;
    }
    void report_quiescent(unsigned worker) { rte_rcu_qsbr_quiescent(quiescent_.get(), worker); }
    bool was_rung(size_t worker) {
        uint64_t value = 0;
        return read(doorbells_[worker], &value, sizeof value) == sizeof value;
    }

    test::QuiescentPtr quiescent_;
    std::vector<std::unique_ptr<CommandRing>> rings_;
    std::vector<int> doorbells_;
    std::unique_ptr<Publisher> publisher_;
};

TEST_F(PublisherTest, WaitsForEveryWorker) {
    bool done = false;
    publisher_->broadcast(Command{});
    publisher_->when_acknowledged([&] { done = true; });
    publisher_->poll();
    EXPECT_FALSE(done);
    work(0);
    publisher_->poll();
    EXPECT_FALSE(done);
    work(1);
    publisher_->poll();
    EXPECT_TRUE(done);
    EXPECT_TRUE(publisher_->idle());
}

TEST_F(PublisherTest, WaitsOnlyForWhatWasSentBefore) {
    bool done = false;
    publisher_->send(0, Command{});
    publisher_->when_acknowledged([&] { done = true; });
    work(0);
    publisher_->send(1, Command{});
    publisher_->poll();
    EXPECT_TRUE(done);
}

TEST_F(PublisherTest, FullRingDelaysInOrderAndLosesNothing) {
    constexpr size_t kCommands = CommandRing::kCapacity + 100;
    bool done = false;
    for (uint32_t n = 1; n <= kCommands; ++n)
        publisher_->send(0, Command::set_adjacency(NextHopId{n}, Adjacency{}));
    publisher_->when_acknowledged([&] { done = true; });
    EXPECT_EQ(publisher_->state(0).waiting, 100u);
    EXPECT_EQ(publisher_->state(0).lag(), kCommands);

    Command command;
    uint32_t expected = 1;
    while (expected <= kCommands) {
        while (rings_[0]->pop(command)) {
            ASSERT_EQ(command.payload.adjacency.id.value(), expected++);
            rings_[0]->acknowledge(command.sequence);
        }
        EXPECT_FALSE(done);
        publisher_->poll();
    }
    EXPECT_TRUE(done);
    EXPECT_EQ(publisher_->state(0).lag(), 0u);
}

TEST_F(PublisherTest, RingsTheDoorbellOfASleeperOnly) {
    ASSERT_TRUE(rings_[1]->announce_sleep());
    publisher_->broadcast(Command{});
    EXPECT_FALSE(was_rung(0));
    EXPECT_TRUE(was_rung(1));
    EXPECT_TRUE(publisher_->state(1).asleep);
}

TEST_F(PublisherTest, GraceComesAfterAcknowledgementAndAQuiescentState) {
    bool done = false;
    publisher_->broadcast(Command{});
    publisher_->when_quiescent([&] { done = true; });
    report_quiescent(0);
    report_quiescent(1);
    publisher_->poll();  // not acknowledged yet: those states do not count
    EXPECT_FALSE(done);
    work(0);
    work(1);
    publisher_->poll();
    EXPECT_FALSE(done);
    report_quiescent(0);
    publisher_->poll();
    EXPECT_FALSE(done);
    report_quiescent(1);
    publisher_->poll();
    EXPECT_TRUE(done);
}

TEST_F(PublisherTest, SleepersDoNotHoldUpAGracePeriod) {
    bool done = false;
    rte_rcu_qsbr_thread_offline(quiescent_.get(), 0);
    rte_rcu_qsbr_thread_offline(quiescent_.get(), 1);
    publisher_->when_quiescent([&] { done = true; });
    publisher_->poll();
    EXPECT_TRUE(done);
}

TEST_F(PublisherTest, CallbacksMaySendAndWaitAgain) {
    int steps = 0;
    publisher_->broadcast(Command{});
    publisher_->when_acknowledged([&] {
        ++steps;
        publisher_->broadcast(Command{});
        publisher_->when_acknowledged([&] { ++steps; });
    });
    for (int turn = 0; turn < 2; ++turn) {
        work(0);
        work(1);
        publisher_->poll();
    }
    EXPECT_EQ(steps, 2);
}

TEST_F(PublisherTest, ReclaimerRunsInOrderAfterTheGracePeriod) {
    QsbrReclaimer reclaimer(quiescent_.get());
    std::vector<int> freed;
    const auto push = [](void* argument) {
        auto* list = static_cast<std::vector<int>*>(argument);
        list->push_back(static_cast<int>(list->size()));
    };
    reclaimer.defer(push, &freed);
    reclaimer.defer(push, &freed);
    reclaimer.poll();
    EXPECT_TRUE(freed.empty());
    report_quiescent(0);
    report_quiescent(1);
    reclaimer.poll();
    EXPECT_EQ(freed, (std::vector<int>{0, 1}));
    EXPECT_EQ(reclaimer.pending(), 0u);
}

}  // namespace
}  // namespace slash32
