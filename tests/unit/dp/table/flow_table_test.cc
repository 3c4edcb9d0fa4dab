// SPDX-License-Identifier: Apache-2.0
#include "dp/table/flow_table.h"

#include "ctrl/flow/flow_memory.h"
#include "dp/table/flow_key.h"
#include "tests/support/lab.h"
#include "tests/support/quiescent.h"

#include <gtest/gtest.h>
#include <rte_rcu_qsbr.h>

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace slash32::test {
namespace {

constexpr uint64_t kHz = 1'000'000'000;
constexpr PortId kPort{7};

FlowKey key_of(uint32_t n, PortId ingress = kPort) {
    FlowKey key;
    key.source = flow_address(Ip4{Be32{0x0a000000 + n}});
    key.destination = flow_address(Ip4{Be32{0x0b000000 + n / 7}});
    key.source_port = Be16{static_cast<uint16_t>(n)}.raw();
    key.destination_port = Be16{443}.raw();
    key.where = FlowKey::pack(ingress, VrfId{1}, kProtoUdp);
    return key;
}

FlowEntry* entry_of(const FlowRef& flow) {
    return flow ? &flow.entry() : nullptr;
}

class FlowTableTest : public testing::Test {
  protected:
    // The Lab starts the EAL.
    explicit FlowTableTest(size_t flows = 256, unsigned workers = 1) {
        auto made = FlowMemory::create({.flows = flows, .workers = workers}, mapped_memory());
        if (!made) throw std::runtime_error(made.error().message);
        memory_ = std::move(*made);
        quiescent_ = make_quiescent(8);
        for (unsigned w = 0; w < workers; ++w)
            tables_.push_back(
                std::make_unique<FlowTable>(&memory_->tables(), quiescent_.get(), w, workers));
    }
    FlowTable& table(unsigned worker = 0) { return *tables_[worker]; }
    FlowTables& shared() { return memory_->tables(); }

    struct Made {
        FlowTable::Linked linked = FlowTable::Linked::kFull;
        FlowEntry* entry = nullptr;
        FlowRef other;
        DropReason why{};
    };
    Made make(uint32_t n, FlowPhase phase = FlowPhase::kEmbryonic, PortId charged = kPort,
              unsigned worker = 0) {
        return make(key_of(n), reverse_key(key_of(n), PortId{8}), phase, charged, worker);
    }
    Made make(const FlowKey& forward, const FlowKey& back, FlowPhase phase = FlowPhase::kEmbryonic,
              PortId charged = kPort, unsigned worker = 0) {
        Made made;
        FlowEntry* entry = table(worker).allocate(charged, made.why);
        if (entry == nullptr) return made;
        entry->opening.key = forward;
        entry->answers.key = back;
        for (FlowDirection* direction : {&entry->opening, &entry->answers})
            direction->last_seen = now_;
        entry->first.status = FlowStatus{FlowState::kUdp, phase, 0};
        made.linked = table(worker).link(*entry, now_, made.other);
        if (made.linked == FlowTable::Linked::kYes)
            made.entry = entry;
        else
            table(worker).give_back(*entry);
        return made;
    }
    void maintain(unsigned times = 1, unsigned worker = 0) {
        for (unsigned i = 0; i < times; ++i)
            table(worker).maintain(tsc_ += kHz / 100, kHz, now_);
    }
    // Long enough for a pass over all entries.
    void pass_seconds(uint32_t seconds) {
        now_ += seconds;
        tsc_ += seconds * kHz;
        maintain(128);
    }
    bool has(uint32_t n) { return static_cast<bool>(table().lookup(key_of(n))); }
    uint32_t used() { return shared().used.load(); }
    uint32_t half_open() { return shared().half_open.load(); }

    Lab lab_;
    QuiescentPtr quiescent_;
    std::unique_ptr<FlowMemory> memory_;
    std::vector<std::unique_ptr<FlowTable>> tables_;
    uint32_t now_ = 100;
    uint64_t tsc_ = kHz;
};

TEST_F(FlowTableTest, FindsBothDirectionsOfAFlow) {
    const Made made = make(1);
    ASSERT_EQ(made.linked, FlowTable::Linked::kYes);
    const FlowRef forward = table().lookup(key_of(1));
    const FlowRef back = table().lookup(reverse_key(key_of(1), PortId{8}));
    EXPECT_EQ(entry_of(forward), made.entry);
    EXPECT_EQ(forward.direction(), 0u);
    EXPECT_EQ(entry_of(back), made.entry);
    EXPECT_EQ(back.direction(), 1u);
}

// One link leads to both: their hashes are the same but for the bit that tells them apart.
TEST(FlowHash, IsOfBothDirections) {
    std::mt19937_64 random(1);
    const FlowSeed seed{random(), random(), random()};
    constexpr uint64_t kBit = uint64_t{kTagDirection} << 48;
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp, kProtoSctp, kProtoIcmp, kProtoIcmp6}) {
        for (int round = 0; round < 1000; ++round) {
            FlowKey key;
            const bool ipv6 = protocol == kProtoIcmp6 || (protocol != kProtoIcmp && round % 2 == 0);
            for (FlowAddress* address : {&key.source, &key.destination}) {
                *address = flow_address(Ip4{Be32{static_cast<uint32_t>(random())}});
                if (ipv6) *address = {random(), random()};
            }
            const bool icmp = protocol == kProtoIcmp || protocol == kProtoIcmp6;
            const uint8_t request = protocol == kProtoIcmp ? uint8_t{kIcmpEcho} : uint8_t{128};
            const auto to = static_cast<uint16_t>(random());
            key.set_ends(
                FlowPorts{static_cast<uint16_t>(random()), icmp ? Be16{request}.raw() : to}.word(),
                FlowKey::pack(kPort, VrfId{static_cast<uint16_t>(random() % 4096)}, protocol));
            const FlowKey back = reverse_key(key, PortId{8});
            ASSERT_EQ(hash_key(key, seed) ^ hash_key(back, seed), kBit) << int{protocol};
            FlowKey other = key;
            other.source_port ^= 1;
            ASSERT_NE(hash_key(other, seed) | kBit, hash_key(key, seed) | kBit);
        }
    }
}

// A VM may send what looks as if it came from where it goes to.
TEST_F(FlowTableTest, TellsDirectionsApartWhoseEndsAreTheSame) {
    FlowKey key = key_of(1);
    key.destination = key.source;
    key.destination_port = key.source_port;
    const FlowKey back = reverse_key(key, PortId{8});
    const Made made = make(key, back);
    ASSERT_EQ(made.linked, FlowTable::Linked::kYes);
    const std::array<FlowKey, 2> keys{key, back};
    std::array<uint64_t, 2> hashes{};
    std::array<FlowRef, 2> guesses;
    for (unsigned i = 0; i < 2; ++i)
        hashes[i] = table().hasher().prepare(keys[i]);
    table().guess_bulk(3, hashes.data(), guesses.data());
    for (unsigned i = 0; i < 2; ++i) {
        const FlowRef found = table().confirm(guesses[i], keys[i], hashes[i]);
        EXPECT_EQ(entry_of(found), made.entry);
        EXPECT_EQ(found.direction(), i);
    }
}

TEST_F(FlowTableTest, ReservedFlowsAreCountedOnceAndTheRestIsGivenBack) {
    table().reserve(kPort, 5);
    EXPECT_EQ(used(), 5u);
    ASSERT_TRUE(make(1).entry);
    ASSERT_TRUE(make(2, FlowPhase::kEmbryonic, PortId{9}).entry)
        << "another port's is counted apart";
    EXPECT_EQ(used(), 6u);
    EXPECT_EQ(make(1).linked, FlowTable::Linked::kExists);
    EXPECT_EQ(used(), 5u) << "given back as any other";
    table().release();
    EXPECT_EQ(used(), 2u);
    EXPECT_EQ(half_open(), 2u);
    EXPECT_EQ(shared().shares[kPort.value()].flows.load(), 1u);
    EXPECT_EQ(shared().shares[kPort.value()].half_open.load(), 1u);
}

TEST_F(FlowTableTest, NothingIsReservedBeyondALimit) {
    shared().limits.flows_per_port = 4;
    table().reserve(kPort, 5);
    EXPECT_EQ(used(), 0u);
    for (uint32_t n = 0; n < 4; ++n)
        ASSERT_TRUE(make(n, FlowPhase::kAssured).entry);
    EXPECT_EQ(make(4).why, DropReason::kFlowLimit);
    table().release();
    EXPECT_EQ(used(), 4u);
}

class LargeFlowTable : public FlowTableTest {
  protected:
    static constexpr uint32_t kFlows = 65'536;
    LargeFlowTable() : FlowTableTest(kFlows) {
        for (auto* limit : {&shared().limits.flows_per_port, &shared().limits.half_open_per_port,
                            &shared().limits.half_open})
            limit->store(kFlows);
    }
};

// No bucket is short of links before the table is of entries.
TEST_F(LargeFlowTable, TakesAllThatItHasRoomFor) {
    for (uint32_t n = 0; n < kFlows; ++n)
        ASSERT_EQ(make(n).linked, FlowTable::Linked::kYes) << n;
    for (uint32_t n = 0; n < kFlows; ++n) {
        ASSERT_TRUE(has(n)) << n;
        ASSERT_TRUE(table().lookup(reverse_key(key_of(n), PortId{8}))) << n;
    }
}

TEST_F(FlowTableTest, DoesNotFindWhatDiffersInAnything) {
    ASSERT_TRUE(make(1).entry);
    const FlowKey key = key_of(1);
    std::vector<FlowKey> others(6, key);
    others[0].source[1] ^= uint64_t{1} << 63;
    others[1].destination[1] ^= uint64_t{1} << 40;
    others[2].source_port ^= 1;
    others[3].destination_port ^= 1;
    others[4].where = FlowKey::pack(PortId{9}, key.vrf(), key.protocol());  // another VM's port
    others[5].where = FlowKey::pack(key.ingress(), VrfId{2}, key.protocol());
    for (const FlowKey& other : others)
        EXPECT_FALSE(table().lookup(other));
    // Answers come from the other port only.
    EXPECT_FALSE(table().lookup(reverse_key(key, PortId{9})));
}

TEST_F(FlowTableTest, BulkIsSingleAndLeavesOtherLanesAlone) {
    std::array<FlowKey, kBurstSize> keys;
    std::array<uint64_t, kBurstSize> hashes;
    std::array<FlowRef, kBurstSize> guesses;
    const FlowRef untouched(shared().entries, 100, 1);
    for (uint32_t i = 0; i < kBurstSize; ++i) {
        keys[i] = key_of(i);
        hashes[i] = table().hasher().prepare(keys[i]);
        if (i % 3 != 0) {
            ASSERT_TRUE(make(i).entry);
        }
        guesses[i] = untouched;
    }
    constexpr uint32_t kMask = 0x0ff0f0f3;
    table().guess_bulk(kMask, hashes.data(), guesses.data());
    unsigned hits = 0;
    for (uint32_t i = 0; i < kBurstSize; ++i) {
        if ((kMask >> i & 1) == 0) {
            EXPECT_EQ(entry_of(guesses[i]), entry_of(untouched));
            continue;
        }
        const FlowRef found = table().confirm(guesses[i], keys[i], hashes[i]);
        EXPECT_EQ(entry_of(found), entry_of(table().lookup(keys[i])));
        hits += static_cast<bool>(found);
    }
    EXPECT_GT(hits, 0u);
}

// A guess is by 16 bits of a hash, and may be any flow.
TEST_F(FlowTableTest, ConfirmsNoFlowButTheKeys) {
    const Made made = make(1);
    const Made other = make(2);
    ASSERT_TRUE(made.entry);
    ASSERT_TRUE(other.entry);
    const FlowRef wrong = table().lookup(key_of(2));
    const FlowRef back = table().lookup(reverse_key(key_of(1), PortId{8}));
    const uint64_t hash = table().hasher().prepare(key_of(1));
    for (const FlowRef guess : {FlowRef(), wrong, back}) {
        const FlowRef found = table().confirm(guess, key_of(1), hash);
        EXPECT_EQ(entry_of(found), made.entry);
        EXPECT_EQ(found.direction(), 0u);
    }
    EXPECT_FALSE(table().confirm(wrong, key_of(3), table().hasher().prepare(key_of(3))));
}

TEST_F(FlowTableTest, SecondFlowOfATupleIsTheFirst) {
    const Made first = make(1);
    const Made second = make(1);
    EXPECT_EQ(second.linked, FlowTable::Linked::kExists);
    EXPECT_EQ(entry_of(second.other), first.entry);
    EXPECT_EQ(used(), 1u);
}

TEST_F(FlowTableTest, FlowWhoseAnswersAreAnothersClashes) {
    const Made first = make(1);
    // The same packet from another port: its answers would be the same.
    const Made second = make(key_of(1, PortId{9}), reverse_key(key_of(1), PortId{8}));
    EXPECT_EQ(second.linked, FlowTable::Linked::kClash);
    EXPECT_EQ(entry_of(second.other), first.entry);
    EXPECT_EQ(used(), 1u);
}

TEST_F(FlowTableTest, AnswerAsAFirstPacketIsTheFlowOfTheOther) {
    const Made first = make(1);
    const FlowKey answer = reverse_key(key_of(1), PortId{8});
    const Made second = make(answer, key_of(1));
    EXPECT_EQ(second.linked, FlowTable::Linked::kExists);
    EXPECT_EQ(entry_of(second.other), first.entry);
    EXPECT_EQ(second.other.direction(), 1u);
}

TEST_F(FlowTableTest, KilledFlowIsGoneAndItsEntryComesBackAfterAGracePeriod) {
    rte_rcu_qsbr_thread_register(quiescent_.get(), 0);
    rte_rcu_qsbr_thread_online(quiescent_.get(), 0);
    const Made made = make(1);
    EXPECT_TRUE(table().kill(*made.entry));
    EXPECT_FALSE(table().kill(*made.entry));
    EXPECT_FALSE(has(1));
    EXPECT_FALSE(table().lookup(reverse_key(key_of(1), PortId{8})));
    EXPECT_EQ(used(), 0u);
    const uint32_t version = made.entry->second.version.load();
    maintain(4);
    EXPECT_EQ(made.entry->second.version.load(), version) << "a reader may still be there";
    rte_rcu_qsbr_quiescent(quiescent_.get(), 0);
    maintain(2);
    EXPECT_EQ(made.entry->second.version.load(), version + 1);
}

TEST_F(FlowTableTest, ExpiresAfterTheTimeoutOfItsStateAndNotBefore) {
    shared().limits.timeouts[static_cast<size_t>(FlowState::kUdp)] = 30;
    ASSERT_TRUE(make(1).entry);
    pass_seconds(29);
    EXPECT_TRUE(has(1));
    pass_seconds(3);
    EXPECT_FALSE(has(1));
    EXPECT_EQ(used(), 0u);
    EXPECT_EQ(half_open(), 0u);
}

TEST_F(FlowTableTest, LivesAsLongAsOneDirectionIsSeen) {
    const Made made = make(1);
    for (int i = 0; i < 10; ++i) {
        pass_seconds(20);
        ASSERT_TRUE(has(1)) << i;
        made.entry->direction(i % 2).last_seen = now_;
    }
    pass_seconds(40);
    EXPECT_FALSE(has(1));
}

TEST_F(FlowTableTest, ShorterTimeoutOfANewStateHolds) {
    const Made made = make(1, FlowPhase::kAssured);
    const FlowStatus before{FlowState::kTcpEstablished, FlowPhase::kAssured, 0};
    const FlowStatus after{FlowState::kTcpClose, FlowPhase::kClosing, 0};
    made.entry->first.status = before;
    table().status_changed(*made.entry, before, before, now_);
    pass_seconds(1000);
    EXPECT_TRUE(has(1));
    made.entry->first.status = after;
    made.entry->opening.last_seen = now_;
    table().status_changed(*made.entry, before, after, now_);
    pass_seconds(20);
    EXPECT_FALSE(has(1));
}

TEST_F(FlowTableTest, NewTimeoutsHoldForFlowsThatAreThere) {
    ASSERT_TRUE(make(1).entry);
    shared().limits.timeouts[static_cast<size_t>(FlowState::kUdp)] = 500;
    pass_seconds(400);
    EXPECT_TRUE(has(1));
}

TEST_F(FlowTableTest, FlushedFlowIsOverAndTakenOut) {
    const Made made = make(1);
    const auto index = static_cast<uint32_t>(made.entry - shared().entries);
    EXPECT_TRUE(flush_flow(shared(), index));
    EXPECT_FALSE(flush_flow(shared(), index));
    EXPECT_EQ(half_open(), 0u);
    // Its tuple can be used at once.
    const Made second = make(1);
    EXPECT_EQ(second.linked, FlowTable::Linked::kYes);
    EXPECT_NE(second.entry, made.entry);
    pass_seconds(2);
    EXPECT_EQ(used(), 1u);
    EXPECT_EQ(entry_of(table().lookup(key_of(1))), second.entry);
}

TEST_F(FlowTableTest, PortAtItsLimitOfHalfOpenFlowsLosesItsOwn) {
    shared().limits.half_open_per_port = 10;
    for (uint32_t n = 0; n < 10; ++n)
        ASSERT_TRUE(make(n).entry);
    const PortId neighbour{9};
    ASSERT_TRUE(make(100, FlowPhase::kEmbryonic, neighbour).entry);
    for (uint32_t n = 10; n < 50; ++n)
        ASSERT_TRUE(make(n).entry) << n;
    EXPECT_TRUE(has(100));
    EXPECT_EQ(shared().shares[kPort.value()].half_open.load(), 10u);
    EXPECT_EQ(shared().shares[neighbour.value()].half_open.load(), 1u);
}

TEST_F(FlowTableTest, PortAtItsLimitOfAssuredFlowsIsRefused) {
    shared().limits.flows_per_port = 10;
    for (uint32_t n = 0; n < 10; ++n)
        ASSERT_TRUE(make(n, FlowPhase::kAssured).entry);
    const Made refused = make(10);
    EXPECT_EQ(refused.entry, nullptr);
    EXPECT_EQ(refused.why, DropReason::kFlowLimit);
    EXPECT_TRUE(make(11, FlowPhase::kEmbryonic, PortId{9}).entry);
    for (uint32_t n = 0; n < 10; ++n)
        EXPECT_TRUE(has(n));
}

TEST_F(FlowTableTest, FullTableEvictsEmbryonicFlowsOfWhoHasMost) {
    shared().limits.flows_per_port = 1000;
    shared().limits.half_open_per_port = 1000;
    shared().limits.half_open = 1000;
    for (uint32_t n = 0; n < 128; ++n)
        ASSERT_TRUE(make(n, FlowPhase::kAssured, PortId{3}).entry);
    for (uint32_t n = 128; n < 256; ++n)
        ASSERT_TRUE(make(n, FlowPhase::kEmbryonic, PortId{4}).entry);
    for (uint32_t n = 256; n < 300; ++n)
        ASSERT_TRUE(make(n, FlowPhase::kEmbryonic, PortId{5}).entry) << n;
    EXPECT_EQ(used(), 256u);
    EXPECT_EQ(shared().shares[4].flows.load(), 128u - 44u);
    for (uint32_t n = 0; n < 128; ++n)
        EXPECT_TRUE(has(n));
}

TEST_F(FlowTableTest, FullTableOfAssuredFlowsRefuses) {
    shared().limits.flows_per_port = 1000;
    for (uint32_t n = 0; n < 256; ++n)
        ASSERT_TRUE(make(n, FlowPhase::kAssured).entry);
    const Made refused = make(256);
    EXPECT_EQ(refused.entry, nullptr);
    EXPECT_EQ(refused.why, DropReason::kFlowTableFull);
    for (uint32_t n = 0; n < 256; ++n)
        EXPECT_TRUE(has(n));
    // A closing flow makes room.
    FlowEntry& closing = table().lookup(key_of(5)).entry();
    const FlowStatus before = closing.first.status;
    const FlowStatus after{FlowState::kTcpTimeWait, FlowPhase::kClosing, 0};
    closing.first.status = after;
    table().status_changed(closing, before, after, now_);
    EXPECT_TRUE(make(256).entry);
    EXPECT_FALSE(has(5));
}

TEST_F(FlowTableTest, CountsAreRightThroughRandomChanges) {
    std::mt19937 random(1);
    std::map<uint32_t, FlowEntry*> alive;
    shared().limits.flows_per_port = 200;
    shared().limits.half_open_per_port = 1000;
    for (int step = 0; step < 20'000; ++step) {
        const auto n = static_cast<uint32_t>(random() % 400);
        if (random() % 2 == 0) {
            const bool assured = random() % 2 == 0;
            const Made made = make(n, assured ? FlowPhase::kAssured : FlowPhase::kEmbryonic,
                                   PortId{static_cast<uint16_t>(1 + n % 3)});
            if (made.entry != nullptr) alive[n] = made.entry;
        } else if (const FlowRef found = table().lookup(key_of(n))) {
            ASSERT_EQ(entry_of(found), alive.at(n));
            ASSERT_TRUE(table().kill(found.entry()));
        }
        if (step % 16 == 0) maintain();
    }
    uint32_t flows = 0;
    uint32_t embryonic = 0;
    for (const auto& [n, entry] : alive) {
        const FlowRef found = table().lookup(key_of(n));
        if (!found) continue;
        ++flows;
        embryonic += found.entry().first.status.load().phase == FlowPhase::kEmbryonic;
    }
    EXPECT_EQ(used(), flows);
    EXPECT_EQ(half_open(), embryonic);
    EXPECT_GT(flows, 100u);
}

class SmallBuckets : public FlowTableTest {
  protected:
    SmallBuckets() { shared().bucket_mask = 3; }  // 4 buckets of 8 links
};

TEST_F(SmallBuckets, OverflowGoesToTheSecondBucketAndComesBack) {
    std::vector<uint32_t> made;
    for (uint32_t n = 0; n < 64; ++n) {
        if (make(n, FlowPhase::kAssured).entry != nullptr) made.push_back(n);
    }
    EXPECT_GE(made.size(), 20u);
    EXPECT_LE(made.size(), 32u);
    for (const uint32_t n : made) {
        ASSERT_TRUE(has(n));
        ASSERT_TRUE(table().lookup(reverse_key(key_of(n), PortId{8})));
    }
    for (const uint32_t n : made) {
        ASSERT_TRUE(table().kill(table().lookup(key_of(n)).entry()));
        ASSERT_FALSE(has(n));
    }
    for (uint32_t b = 0; b < 4; ++b) {
        EXPECT_EQ(shared().buckets[b].overflow.load(), 0u);
        for (const auto& link : shared().buckets[b].links)
            EXPECT_EQ(link.load(), 0u);
    }
    EXPECT_EQ(used(), 0u);
}

// Two workers make, find and end the same flows; each tuple has at most one at any time.
class FlowTableRace : public FlowTableTest {
  protected:
    FlowTableRace() : FlowTableTest(1024, 2) { shared().limits.flows_per_port = 1024; }

    void play(unsigned worker, int rounds) {
        rte_rcu_qsbr_thread_register(quiescent_.get(), worker);
        rte_rcu_qsbr_thread_online(quiescent_.get(), worker);
        std::mt19937 random(worker + 1);
        uint64_t tsc = kHz;
        for (int round = 0; round < rounds; ++round) {
            const auto n = static_cast<uint32_t>(random() % 64);
            const bool back = random() % 2 == 0;
            const FlowKey forward = key_of(n);
            const FlowKey answer = reverse_key(forward, PortId{8});
            if (random() % 3 == 0) {
                const FlowRef found = table(worker).lookup(back ? answer : forward);
                if (found) {
                    found.forward().last_seen.store(now_, std::memory_order_relaxed);
                    if (random() % 2 == 0) table(worker).kill(found.entry());
                }
            } else {
                make(back ? answer : forward, back ? forward : answer,
                     random() % 2 == 0 ? FlowPhase::kAssured : FlowPhase::kEmbryonic, kPort,
                     worker);
            }
            table(worker).maintain(tsc += kHz / 1000, kHz, now_);
            rte_rcu_qsbr_quiescent(quiescent_.get(), worker);
        }
        rte_rcu_qsbr_thread_offline(quiescent_.get(), worker);
        rte_rcu_qsbr_thread_unregister(quiescent_.get(), worker);
    }
};

TEST_F(FlowTableRace, KeepsOneFlowATupleAndEveryEntry) {
#ifdef S32_SANITIZED
    constexpr int kRounds = 20'000;
#else
    constexpr int kRounds = 200'000;
#endif
    std::thread other([this] { play(1, kRounds); });
    play(0, kRounds);
    other.join();
    uint32_t alive = 0;
    for (uint32_t n = 0; n < 64; ++n) {
        const FlowRef forward = table().lookup(key_of(n));
        const FlowRef answer = table().lookup(reverse_key(key_of(n), PortId{8}));
        ASSERT_EQ(entry_of(forward), entry_of(answer));
        alive += forward ? 1 : 0;
        if (forward) table().kill(forward.entry());
    }
    EXPECT_GT(alive, 0u);
    EXPECT_EQ(used(), 0u);
    EXPECT_EQ(half_open(), 0u);
    for (uint32_t i = 0; i < shared().entry_count; ++i)
        EXPECT_EQ(shared().summaries[i].expires.load(), 0u) << "entry " << i << " is not there";
}

TEST(FlowKeys, TellAnIcmpQueryFromItsAnswer) {
    FlowKey query = key_of(1);
    query.where = FlowKey::pack(kPort, VrfId{0}, kProtoIcmp);
    query.source_port = 0x3412;
    query.destination_port = Be16{kIcmpEcho}.raw();
    const FlowKey answer = reverse_key(query, PortId{8});
    EXPECT_EQ(answer.source_port, query.source_port);
    EXPECT_EQ(answer.destination_port, Be16{kIcmpEchoReply}.raw());
    EXPECT_EQ(reverse_key(answer, kPort), query);
}

TEST(FlowKeys, CounterpartOfACounterpartIsTheTypeItself) {
    for (const uint8_t protocol : {kProtoIcmp, kProtoIcmp6}) {
        for (unsigned type = 0; type < 256; ++type) {
            const auto t = static_cast<uint8_t>(type);
            EXPECT_EQ(icmp_counterpart(protocol, icmp_counterpart(protocol, t)), t);
        }
    }
}

}  // namespace
}  // namespace slash32::test
