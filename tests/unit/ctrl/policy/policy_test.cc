// SPDX-License-Identifier: Apache-2.0
// Compiled policies against a linear evaluator, and the sets that rules refer to.
#include "dp/table/policy.h"

#include "ctrl/policy/address_sets.h"
#include "ctrl/policy/compile.h"
#include "dp/table/flow_key.h"
#include "tests/unit/ctrl/fib/reclaimers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace slash32::test {
namespace {

constexpr auto kIn = PolicyDirection::kIngress;

struct Query {
    IpAddress remote;
    uint8_t protocol = kProtoTcp;
    uint16_t port = 0;
};

PolicyQuery compiled(const Query& query) {
    return {.remote = query.remote.is_ipv4() ? flow_address(query.remote.ipv4())
                                             : flow_address(query.remote.ipv6()),
            .protocol = query.protocol,
            .port = query.port};
}

class PolicyTest : public testing::Test {
  protected:
    PolicyTest() {
        auto made = AddressSets::create(mapped_memory(), reclaimer_, generations_);
        if (!made) throw std::runtime_error(made.error().message);
        sets_ = std::move(*made);
    }
    AddressSetView view() const { return {sets_->view(), &generations_}; }

    PolicyVerdict judge(const PolicyTable* table, const Query& query) const {
        const PolicyQuery asked = compiled(query);
        PolicyVerdict verdict;
        classify_bulk(view(), 1, &table, &asked, &verdict);
        return verdict;
    }
    PolicyVerdict judge(const std::vector<PolicyRule>& rules, const Query& query) {
        policy_ = std::move(*compile_policy(rules, 1));
        return judge(policy_->table(kIn, !query.remote.is_ipv4()), query);
    }
    bool matches(const PolicyRule& rule, const Query& query) const {
        if (rule.family != query.remote.family) return false;
        if (rule.protocol && *rule.protocol != query.protocol) return false;
        if (query.port < rule.low || query.port > rule.high) return false;
        if (rule.prefix) return rule.prefix->contains(query.remote);
        return rule.set == kNoSet || sets_->contains(rule.set, query.remote);
    }

    ManualReclaimer reclaimer_;
    Generations generations_;
    std::unique_ptr<AddressSets> sets_;
    PolicyPtr policy_;
};

PolicyRule rule(uint16_t low, uint16_t high, uint16_t id = 0, bool stateful = true) {
    return {.direction = kIn,
            .family = Family::kIpv4,
            .protocol = kProtoTcp,
            .low = low,
            .high = high,
            .prefix = {},
            .set = {},
            .stateful = stateful,
            .id = RuleId{id}};
}
IpAddress ip(const char* text) {
    return parse_ip(text).value();
}

TEST_F(PolicyTest, DeniesWithoutARule) {
    policy_ = std::move(*compile_policy({}, 7));
    EXPECT_EQ(policy_->generation, 7u);
    EXPECT_FALSE(judge(policy_->table(kIn, false), {ip("10.0.0.1")}).allowed);
}

TEST_F(PolicyTest, StatefulRuleDecidesBeforeAStatelessOneWhereverItStands) {
    PolicyRule narrow = rule(80, 80, 2);
    narrow.prefix = parse_prefix("10.0.0.0/8").value();
    const PolicyVerdict verdict =
        judge({rule(0, 65535, 1, false), narrow}, {ip("10.0.0.1"), 6, 80});
    EXPECT_TRUE(verdict.stateful);
    EXPECT_EQ(verdict.rule, RuleId{2});
    EXPECT_EQ(judge({rule(0, 65535, 1, false), narrow}, {ip("11.0.0.1"), 6, 80}).rule, RuleId{1});
}

TEST_F(PolicyTest, LowestRuleCountsWhereSeveralMatch) {
    EXPECT_EQ(
        judge({rule(10, 50, 3), rule(20, 40, 2), rule(30, 60, 4)}, {ip("1.1.1.1"), 6, 35}).rule,
        RuleId{2});
    EXPECT_EQ(
        judge({rule(10, 50, 3), rule(20, 40, 2), rule(30, 60, 4)}, {ip("1.1.1.1"), 6, 45}).rule,
        RuleId{3});
    EXPECT_EQ(
        judge({rule(10, 50, 3), rule(20, 40, 2), rule(30, 60, 4)}, {ip("1.1.1.1"), 6, 55}).rule,
        RuleId{4});
}

TEST_F(PolicyTest, RangesReachTheLastPort) {
    EXPECT_TRUE(judge({rule(65535, 65535)}, {ip("1.1.1.1"), 6, 65535}).allowed);
    EXPECT_FALSE(judge({rule(65535, 65535)}, {ip("1.1.1.1"), 6, 65534}).allowed);
    EXPECT_TRUE(judge({rule(0, 0)}, {ip("1.1.1.1"), 6, 0}).allowed);
}

TEST_F(PolicyTest, SetAndItsGenerationAreToldOfADecision) {
    const SetId set = sets_->make().value();
    ASSERT_TRUE(sets_->add(set, parse_prefix("10.1.0.0/16").value()));
    generations_.raise_set(set);
    PolicyRule by_set = rule(0, 65535, 9);
    by_set.set = set;
    const PolicyVerdict verdict = judge({by_set}, {ip("10.1.2.3"), 6, 1});
    EXPECT_TRUE(verdict.allowed);
    EXPECT_EQ(verdict.set, set);
    EXPECT_EQ(verdict.set_generation, generations_.sets[set.value()].load());
    EXPECT_FALSE(judge({by_set}, {ip("10.2.0.0"), 6, 1}).allowed);
}

TEST_F(PolicyTest, TooManyRulesAreRefused) {
    EXPECT_EQ(compile_policy(std::vector<PolicyRule>(kMaxRulesPerPort + 1), 1).error().code,
              ErrorCode::kLimit);
}

TEST_F(PolicyTest, SetsKeepTheirMembersApart) {
    const SetId a = sets_->make().value();
    const SetId b = sets_->make().value();
    const IpPrefix member = parse_prefix("10.0.0.1").value();
    ASSERT_TRUE(sets_->add(a, member));
    ASSERT_TRUE(sets_->add(a, member));
    EXPECT_EQ(sets_->size(a), 1u);
    EXPECT_FALSE(sets_->contains(b, ip("10.0.0.1")));
    const uint32_t epoch = generations_.epoch;
    sets_->remove(a, member);
    EXPECT_NE(generations_.epoch.load(), epoch);
    sets_->remove(a, member);
    EXPECT_EQ(sets_->size(a), 0u);
    sets_->destroy(a);
    EXPECT_EQ(sets_->make().value(), a);
}

// Rules and packets that meet often: few addresses, ports and protocols.
class PolicyOracle : public PolicyTest {
  protected:
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
    IpAddress address(bool ipv6) {
        const uint32_t low = below(64);
        if (!ipv6) return Ip4{Be32{0x0a000000 + (below(3) << 8) + low}};
        Ip6 made{{0x20, 0x01, 0x0d, 0xb8}};
        made.bytes[7] = static_cast<uint8_t>(below(3));
        made.bytes[15] = static_cast<uint8_t>(low);
        return made;
    }
    IpPrefix prefix(bool ipv6) {
        const IpAddress from = address(ipv6);
        const auto length =
            static_cast<uint8_t>(from.bits() - below(from.bits() + 1) / (1 + below(8)));
        IpPrefix made{from, length};
        for (unsigned bit = length; bit < from.bits(); ++bit)
            made.address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> (bit % 8)));
        return made;
    }
    PolicyRule any_rule(uint16_t id, const std::vector<SetId>& sets) {
        constexpr uint8_t kProtocols[] = {kProtoTcp, kProtoUdp, kProtoIcmp, 47};
        const bool ipv6 = below(2) == 0;
        PolicyRule made = rule(0, 65535, id, below(3) != 0);
        made.family = ipv6 ? Family::kIpv6 : Family::kIpv4;
        made.protocol.reset();
        if (below(4) != 0) made.protocol = kProtocols[below(4)];
        if (made.protocol && *made.protocol != 47 && below(4) != 0) {
            made.low = static_cast<uint16_t>(below(100));
            made.high = static_cast<uint16_t>(made.low + below(30));
        }
        if (below(3) == 0)
            made.prefix = prefix(ipv6);
        else if (below(2) == 0)
            made.set = sets[below(static_cast<uint32_t>(sets.size()))];
        return made;
    }
    Query any_query() {
        constexpr uint8_t kProtocols[] = {kProtoTcp, kProtoUdp, kProtoIcmp, 47, 50};
        return {address(below(2) == 0), kProtocols[below(5)], static_cast<uint16_t>(below(140))};
    }

    std::mt19937 random_{11};
};

TEST_F(PolicyOracle, AgreesWithALinearEvaluator) {
#ifdef S32_SANITIZED
    constexpr int kRounds = 200;
#else
    constexpr int kRounds = 2000;
#endif
    constexpr int kQueries = 500;
    std::vector<SetId> sets;
    for (int i = 0; i < 4; ++i)
        sets.push_back(sets_->make().value());
    uint64_t allowed = 0;
    for (int round = 0; round < kRounds; ++round) {
        for (int i = 0; i < 8; ++i) {
            const SetId set = sets[below(4)];
            if (below(2) == 0)
                ASSERT_TRUE(sets_->add(set, prefix(below(2) == 0)).has_value());
            else
                sets_->remove(set, prefix(below(2) == 0));
        }
        std::vector<PolicyRule> rules;
        for (uint32_t n = below(40); n > 0; --n)
            rules.push_back(any_rule(static_cast<uint16_t>(1 + below(1000)), sets));
        policy_ = std::move(*compile_policy(rules, 1));
        for (int i = 0; i < kQueries; ++i) {
            const Query query = any_query();
            bool expected = false;
            bool stateful = false;
            for (const PolicyRule& candidate : rules) {
                if (!matches(candidate, query)) continue;
                expected = true;
                stateful |= candidate.stateful;
            }
            const PolicyVerdict verdict =
                judge(policy_->table(kIn, !query.remote.is_ipv4()), query);
            ASSERT_EQ(verdict.allowed, expected) << to_string(query.remote) << " " << query.port;
            ASSERT_EQ(verdict.stateful, stateful);
            allowed += expected;
            if (!expected) continue;
            // The rule that is counted is one that matches and is as stateful as said.
            EXPECT_TRUE(std::ranges::any_of(rules, [&](const PolicyRule& candidate) {
                return candidate.id == verdict.rule && candidate.stateful == verdict.stateful &&
                       candidate.set == verdict.set && matches(candidate, query);
            }));
        }
    }
    EXPECT_GT(allowed, uint64_t{kRounds} * kQueries / 10);
    EXPECT_LT(allowed, uint64_t{kRounds} * kQueries * 9 / 10);
}

TEST_F(PolicyOracle, BulkIsSingleAndLeavesOtherLanesAlone) {
    std::vector<SetId> sets{sets_->make().value()};
    std::vector<PolicyRule> rules;
    for (uint16_t n = 1; n < 60; ++n)
        rules.push_back(any_rule(n, sets));
    policy_ = std::move(*compile_policy(rules, 1));
    std::array<const PolicyTable*, kBurstSize> tables;
    std::array<PolicyQuery, kBurstSize> queries;
    std::array<PolicyVerdict, kBurstSize> verdicts;
    std::array<Query, kBurstSize> asked;
    for (unsigned i = 0; i < kBurstSize; ++i) {
        asked[i] = any_query();
        queries[i] = compiled(asked[i]);
        tables[i] = policy_->table(kIn, !asked[i].remote.is_ipv4());
        verdicts[i].rule = RuleId{60000};
    }
    constexpr uint32_t kMask = 0xf0f0ff31;
    classify_bulk(view(), kMask, tables.data(), queries.data(), verdicts.data());
    for (unsigned i = 0; i < kBurstSize; ++i) {
        const RuleId expected =
            (kMask >> i & 1) != 0 ? judge(tables[i], asked[i]).rule : RuleId{60000};
        EXPECT_EQ(verdicts[i].rule, expected) << i;
    }
}

// A member that is there before and after is found while others come and go.
TEST_F(PolicyTest, LookupsStandWhileControlChangesTheSet) {
    const SetId set = sets_->make().value();
    ASSERT_TRUE(sets_->add(set, parse_prefix("10.0.0.1").value()));
    PolicyRule by_set = rule(0, 65535, 9);
    by_set.set = set;
    policy_ = std::move(*compile_policy(std::vector{by_set}, 1));
    const PolicyTable* table = policy_->table(kIn, false);
    std::atomic<bool> stop = false;
    std::atomic<uint64_t> misses = 0;
    std::thread reader([&] {
        while (!stop) {
            if (!judge(table, {ip("10.0.0.1"), 6, 1}).allowed) ++misses;
        }
    });
    for (uint32_t n = 0; n < 20'000; ++n) {
        const IpPrefix member{Ip4{Be32{0x0a000100 + n % 5000}}, 32};
        if (n / 5000 % 2 == 0)
            ASSERT_TRUE(sets_->add(set, member).has_value());
        else
            sets_->remove(set, member);
    }
    stop = true;
    reader.join();
    EXPECT_EQ(misses.load(), 0u);
}

}  // namespace
}  // namespace slash32::test
