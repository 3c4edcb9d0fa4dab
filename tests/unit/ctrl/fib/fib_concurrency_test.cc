// SPDX-License-Identifier: Apache-2.0
// One writer, readers without locks, grace periods by rte_rcu_qsbr. Run under ThreadSanitizer and
// AddressSanitizer too: the first sees a missing memory order, the second a reuse that came too
// early.
#include "ctrl/fib/fib.h"
#include "tests/unit/ctrl/fib/naive_fib.h"
#include "tests/unit/ctrl/fib/reclaimers.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace slash32::test {
namespace {

constexpr unsigned kReaders = 2;
#if defined(S32_SANITIZED)
constexpr uint32_t kChanges = 10000;
#else
constexpr uint32_t kChanges = 100000;
#endif

IpPrefix host(Family family, uint32_t n) {
    IpAddress address(Ip4{Be32{0x0a000000 + n}});
    address.family = family;
    return {address, address.bits()};
}

template <typename Address>
Address of(const IpAddress& address) {
    if constexpr (sizeof(Address) == 4) {
        return address.ipv4();
    } else {
        return address.ipv6();
    }
}

class FibConcurrencyTest : public testing::TestWithParam<Family> {
  protected:
    void create(const FibSizes& sizes) {
        auto made = Fib::create(sizes, mapped_memory(), reclaimer_);
        ASSERT_TRUE(made);
        fib_ = std::move(*made);
    }

    // Runs `read` over and over on each reader thread, in a quiescent state between two calls,
    // while this thread runs `write`.
    void race(const std::function<void(uint32_t turn)>& read, const std::function<void()>& write) {
        std::atomic<unsigned> reading{0};
        std::atomic<bool> stop{false};
        std::vector<std::thread> readers;
        for (unsigned id = 0; id < kReaders; ++id) {
            readers.emplace_back([&, id] {
                rte_rcu_qsbr* qsbr = reclaimer_.variable();
                rte_rcu_qsbr_thread_register(qsbr, id);
                rte_rcu_qsbr_thread_online(qsbr, id);
                reading.fetch_add(1);
                for (uint32_t turn = id; !stop.load(std::memory_order_relaxed); ++turn) {
                    read(turn);
                    rte_rcu_qsbr_quiescent(qsbr, id);
                }
                rte_rcu_qsbr_thread_offline(qsbr, id);
                rte_rcu_qsbr_thread_unregister(qsbr, id);
            });
        }
        while (reading.load() < kReaders)
            std::this_thread::yield();
        write();
        stop.store(true);
        for (std::thread& reader : readers)
            reader.join();
        while (!reclaimer_.idle())
            reclaimer_.drain();
    }

    // Looks up 32 addresses in bulk and one by one and hands each result to `check`.
    template <typename Address>
    void read_all(const std::array<IpAddress, kBurstSize>& addresses,
                  const std::function<void(unsigned lane, NextHopId)>& check) const {
        const FibView view = fib_->view();
        std::array<VrfId, kBurstSize> vrfs{};
        std::array<Address, kBurstSize> keys;
        std::array<NextHopId, kBurstSize> found;
        for (unsigned i = 0; i < kBurstSize; ++i)
            keys[i] = of<Address>(addresses[i]);
        view.lookup_bulk(UINT32_MAX, vrfs.data(), keys.data(), found.data());
        for (unsigned i = 0; i < kBurstSize; ++i) {
            check(i, found[i]);
            check(i, view.lookup(vrfs[i], keys[i]));
        }
    }
    void read_any(const std::array<IpAddress, kBurstSize>& addresses,
                  const std::function<void(unsigned lane, NextHopId)>& check) const {
        if (GetParam() == Family::kIpv4) {
            read_all<Ip4>(addresses, check);
        } else {
            read_all<Ip6>(addresses, check);
        }
    }

    QsbrReclaimer reclaimer_{kReaders};
    std::unique_ptr<Fib> fib_;
};

// A table so full that additions keep moving words about: what is present is always found.
TEST_P(FibConcurrencyTest, APresentHostRouteIsFoundWhileOthersMove) {
    constexpr uint32_t kCapacity = 896;  // of 1,024 words
    constexpr uint32_t kStable = 600;
    create({.hosts_ipv4 = kCapacity, .hosts_ipv6 = kCapacity});
    for (uint32_t n = 0; n < kStable; ++n) {
        ASSERT_TRUE(fib_->add(VrfId{0}, host(GetParam(), n), NextHopId{n + 1}));
    }
    std::atomic<uint32_t> wrong{0};
    race(
        [&](uint32_t turn) {
            std::array<IpAddress, kBurstSize> addresses;
            const auto first = static_cast<uint32_t>(turn * 31 % (kStable - kBurstSize));
            for (unsigned i = 0; i < kBurstSize; ++i) {
                addresses[i] = host(GetParam(), first + i).address;
            }
            read_any(addresses, [&](unsigned lane, NextHopId id) {
                if (id != NextHopId{first + lane + 1}) wrong.fetch_add(1);
            });
        },
        [&] {
            std::mt19937 random(5);
            std::vector<uint32_t> others;
            uint32_t next = kStable;
            for (uint32_t change = 0; change < kChanges; ++change) {
                if (others.size() + kStable < kCapacity) {
                    // Refused only if there is no path; then another address is tried.
                    if (fib_->add(VrfId{0}, host(GetParam(), next), NextHopId{1})) {
                        others.push_back(next);
                    }
                    ++next;
                } else {
                    std::swap(others[random() % others.size()], others.back());
                    ASSERT_TRUE(fib_->remove(VrfId{0}, host(GetParam(), others.back())));
                    others.pop_back();
                }
                if (change % 64 == 0) reclaimer_.poll();
            }
        });
    EXPECT_EQ(wrong.load(), 0U);
    EXPECT_GT(fib_->usage().host_moves, kChanges / 100) << "the test moved too little";
}

TEST_P(FibConcurrencyTest, AReaderSeesTheOldOrTheNewNextHop) {
    create({});
    const unsigned bits = GetParam() == Family::kIpv4 ? 32 : 128;
    const IpPrefix exact = host(GetParam(), 77);
    const std::array<IpPrefix, 3> routes{exact, cut_prefix(exact.address, bits - 8),
                                         cut_prefix(exact.address, 0)};
    const std::array<IpAddress, 3> targets{exact.address, flip_bit(exact.address, bits - 1),
                                           flip_bit(exact.address, 0)};
    for (const IpPrefix& route : routes)
        ASSERT_TRUE(fib_->add(VrfId{0}, route, NextHopId{100}));
    std::atomic<uint32_t> wrong{0};
    race(
        [&](uint32_t) {
            std::array<IpAddress, kBurstSize> addresses;
            for (unsigned i = 0; i < kBurstSize; ++i)
                addresses[i] = targets[i % targets.size()];
            read_any(addresses, [&](unsigned, NextHopId id) {
                if (id.value() < 100 || id.value() > 109) wrong.fetch_add(1);
            });
        },
        [&] {
            for (uint32_t change = 0; change < kChanges; ++change) {
                ASSERT_TRUE(fib_->add(VrfId{0}, routes[change % routes.size()],
                                      NextHopId{100 + change % 10}));
            }
        });
    EXPECT_EQ(wrong.load(), 0U);
}

// Prefixes come and go above, below and beside the stable ones; nodes are replaced all the time.
TEST_P(FibConcurrencyTest, APresentPrefixIsFoundWhileTheTrieChanges) {
    create({});
    CloseAddresses close(GetParam(), 21);
    constexpr uint32_t kStableId = 1000;
    std::array<IpAddress, kBurstSize> addresses;
    std::array<uint32_t, kBurstSize> longest{};
    NaiveFib stable;
    for (IpAddress& address : addresses) {
        address = close.address();
        const IpPrefix route = cut_prefix(address, close.below(address.bits()));
        stable.add(VrfId{0}, route, NextHopId{kStableId + route.length});
    }
    for (const auto& [key, id] : stable.routes())
        ASSERT_TRUE(fib_->add(key.first, key.second, id));
    for (unsigned i = 0; i < kBurstSize; ++i) {
        longest[i] = stable.lookup(VrfId{0}, addresses[i])->prefix.length;
    }
    std::set<IpPrefix> others;
    while (others.size() < 400) {
        const IpPrefix route = close.prefix();
        if (!stable.routes().contains({VrfId{0}, route})) others.insert(route);
    }
    const std::vector<IpPrefix> changing(others.begin(), others.end());

    // An id is the length of its prefix, plus kStableId for the stable ones. (A changing /0 would
    // be id 0, which is none; 1 does as well, being shorter than what it is compared with.)
    std::atomic<uint32_t> wrong{0};
    race(
        [&](uint32_t) {
            read_any(addresses, [&](unsigned lane, NextHopId id) {
                const bool is_stable = id.value() == kStableId + longest[lane];
                const bool is_longer = id.value() < kStableId && id.value() > longest[lane];
                if (!is_stable && !is_longer) wrong.fetch_add(1);
            });
        },
        [&] {
            std::vector<bool> present(changing.size());
            for (uint32_t change = 0; change < kChanges; ++change) {
                const size_t which = close.below(static_cast<uint32_t>(changing.size()));
                const IpPrefix& route = changing[which];
                if (present[which]) {
                    ASSERT_TRUE(fib_->remove(VrfId{0}, route));
                } else {
                    const NextHopId id{std::max<uint32_t>(route.length, 1)};
                    ASSERT_TRUE(fib_->add(VrfId{0}, route, id));
                }
                present[which] = !present[which];
                if (change % 64 == 0) reclaimer_.poll();
            }
        });
    EXPECT_EQ(wrong.load(), 0U);
}

TEST_P(FibConcurrencyTest, AVrfGoesAndComesBackUnderReaders) {
    create({.hosts_ipv4 = 1000, .hosts_ipv6 = 1000});
    std::array<IpAddress, kBurstSize> addresses;
    for (uint32_t i = 0; i < kBurstSize; ++i)
        addresses[i] = host(GetParam(), i).address;
    std::atomic<uint32_t> wrong{0};
    race(
        [&](uint32_t) {
            read_any(addresses, [&](unsigned, NextHopId id) {
                if (id.value() > 3) wrong.fetch_add(1);
            });
        },
        [&] {
            for (uint32_t change = 0; change < kChanges / 50; ++change) {
                for (uint32_t i = 0; i < kBurstSize; i += 2) {
                    ASSERT_TRUE(fib_->add(VrfId{0}, host(GetParam(), i), NextHopId{1}));
                }
                ASSERT_TRUE(fib_->add(VrfId{0}, cut_prefix(addresses[0], 8), NextHopId{2}));
                ASSERT_TRUE(fib_->add(VrfId{0}, cut_prefix(addresses[0], 31), NextHopId{3}));
                ASSERT_EQ(fib_->remove_vrf(VrfId{0}), kBurstSize / 2 + 2);
                reclaimer_.poll();
            }
        });
    EXPECT_EQ(wrong.load(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Families, FibConcurrencyTest,
                         testing::Values(Family::kIpv4, Family::kIpv6), [](const auto& test) {
                             return test.param == Family::kIpv4 ? std::string("Ipv4")
                                                                : std::string("Ipv6");
                         });

}  // namespace
}  // namespace slash32::test
