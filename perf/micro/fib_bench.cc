// SPDX-License-Identifier: Apache-2.0
// Route lookup and table writing, beside what DPDK has for it
// (docs/decisions/0006-prefix-table.md). "items" are lookups or changes; the time of a lookup is
// its share of a pass over many addresses.
#include "ctrl/fib/fib.h"

#include <benchmark/benchmark.h>
#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace slash32 {
namespace {

constexpr size_t kQueries = 65536;  // addresses a pass looks up; a multiple of kBurstSize

class NoReaders final : public Reclaimer {
  public:
    ~NoReaders() override { drain(); }
    void defer(Callback callback, void* argument) override {
        deferred_.emplace_back(callback, argument);
    }
    void drain() override {
        for (auto& [callback, argument] : std::exchange(deferred_, {}))
            callback(argument);
    }

  private:
    std::vector<std::pair<Callback, void*>> deferred_;
};

NoReaders g_reclaimer;

std::unique_ptr<Fib> make_fib() {
    auto fib = Fib::create({}, mapped_memory(), g_reclaimer);
    if (!fib) std::abort();
    return std::move(*fib);
}

template <typename Address>
Address random_address(std::mt19937_64& random) {
    Address address;
    if constexpr (sizeof(Address) == 4) {
        address = Ip4{Be32{static_cast<uint32_t>(random())}};
    } else {
        const std::array<uint64_t, 2> halves{random(), random()};
        std::memcpy(address.bytes.data(), halves.data(), sizeof(address));
        address.bytes[0] = 0x20;
    }
    return address;
}

// Lengths in about the shares of the Internet's tables.
template <typename Address>
uint8_t random_length(std::mt19937_64& random) {
    static constexpr std::array<uint8_t, 20> kIpv4{24, 24, 24, 24, 24, 24, 24, 24, 24, 24,
                                                   24, 24, 23, 22, 22, 21, 20, 19, 18, 16};
    static constexpr std::array<uint8_t, 20> kIpv6{48, 48, 48, 48, 48, 48, 48, 48, 48, 48,
                                                   32, 32, 32, 29, 40, 44, 44, 46, 36, 64};
    return (sizeof(Address) == 4 ? kIpv4 : kIpv6)[random() % 20];
}

IpPrefix cut(IpAddress address, uint8_t length) {
    for (unsigned bit = length; bit < address.bits(); ++bit) {
        address.bytes[bit / 8] =
            static_cast<uint8_t>(address.bytes[bit / 8] & ~(0x80U >> (bit % 8)));
    }
    return {address, length};
}

// The same for every table of a size: routes, and addresses that lie in them.
template <typename Address>
struct Prefixes {
    std::vector<IpPrefix> routes;
    std::vector<Address> queries;

    static const Prefixes& of(size_t count) {
        static std::map<size_t, Prefixes> made;
        Prefixes& prefixes = made[count];
        if (!prefixes.routes.empty()) return prefixes;
        std::mt19937_64 random(count);
        std::set<IpPrefix> routes;
        while (routes.size() < count) {
            // Registries hand out a part of the space: the routes cluster.
            Address address = random_address<Address>(random);
            auto* bytes = reinterpret_cast<uint8_t*>(&address);
            bytes[0] = sizeof(Address) == 4 ? static_cast<uint8_t>(1 + random() % 220) : 0x20;
            if (sizeof(Address) == 16) bytes[1] = static_cast<uint8_t>(random() % 32);
            if (sizeof(Address) == 16) bytes[2] = static_cast<uint8_t>(random() % 64);
            routes.insert(cut(IpAddress(address), random_length<Address>(random)));
        }
        prefixes.routes.assign(routes.begin(), routes.end());
        std::shuffle(prefixes.routes.begin(), prefixes.routes.end(), random);
        for (size_t i = 0; i < kQueries; ++i) {
            const IpPrefix& route = prefixes.routes[random() % count];
            Address address = random_address<Address>(random);
            IpAddress inside(address);
            for (unsigned bit = 0; bit < route.length; ++bit) {
                const unsigned mask = 0x80U >> (bit % 8);
                inside.bytes[bit / 8] = static_cast<uint8_t>((inside.bytes[bit / 8] & ~mask) |
                                                             (route.address.bytes[bit / 8] & mask));
            }
            std::memcpy(static_cast<void*>(&address), inside.bytes.data(), sizeof(address));
            prefixes.queries.push_back(address);
        }
        return prefixes;
    }
};

template <typename Address>
std::vector<Address> host_addresses(size_t count) {
    std::mt19937_64 random(count);
    std::set<Address> addresses;
    while (addresses.size() < count)
        addresses.insert(random_address<Address>(random));
    std::vector<Address> all(addresses.begin(), addresses.end());
    std::shuffle(all.begin(), all.end(), random);
    return all;
}

// 1,024,000 host routes in so many VRFs, the same addresses in each.
template <typename Address>
void vrf_lookup(benchmark::State& state) {
    constexpr size_t kRoutes = 1'024'000;
    const auto vrfs = static_cast<size_t>(state.range(0));
    const auto addresses = host_addresses<Address>(kRoutes / vrfs);
    auto fib = make_fib();
    for (size_t vrf = 0; vrf < vrfs; ++vrf) {
        for (const Address& address : addresses) {
            const IpAddress any(address);
            const auto added =
                fib->add(VrfId{static_cast<uint16_t>(vrf)}, {any, any.bits()}, NextHopId{1});
            if (!added) std::abort();
        }
    }
    std::mt19937_64 random(1);
    std::vector<Address> queries;
    std::vector<VrfId> of;
    for (size_t i = 0; i < kQueries; ++i) {
        queries.push_back(addresses[random() % addresses.size()]);
        of.push_back(VrfId{static_cast<uint16_t>(random() % vrfs)});
    }
    const FibView view = fib->view();
    std::array<NextHopId, kBurstSize> found;
    for (auto _ : state) {
        for (size_t i = 0; i < kQueries; i += kBurstSize) {
            view.lookup_bulk(UINT32_MAX, &of[i], &queries[i], found.data());
            benchmark::DoNotOptimize(found);
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kQueries));
}

template <typename Address>
void look_up(benchmark::State& state, const FibView& view, const std::vector<Address>& queries,
             bool bulk) {
    const std::array<VrfId, kBurstSize> vrfs{};
    std::array<NextHopId, kBurstSize> found;
    // The first touch of a page is not what is measured.
    for (const Address& query : queries)
        benchmark::DoNotOptimize(view.lookup(VrfId{0}, query));
    for (auto _ : state) {
        uint32_t sum = 0;
        for (size_t i = 0; i < kQueries; i += kBurstSize) {
            if (bulk) {
                view.lookup_bulk(UINT32_MAX, vrfs.data(), &queries[i], found.data());
            } else {
                for (size_t n = 0; n < kBurstSize; ++n) {
                    found[n] = view.lookup(VrfId{0}, queries[i + n]);
                }
            }
            for (const NextHopId id : found)
                sum += id.value();
        }
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kQueries));
}

template <typename Address>
void host_lookup(benchmark::State& state, bool bulk) {
    const auto count = static_cast<size_t>(state.range(0));
    const auto addresses = host_addresses<Address>(count);
    auto fib = make_fib();
    for (const Address& address : addresses) {
        const IpAddress any(address);
        if (!fib->add(VrfId{0}, {any, any.bits()}, NextHopId{1})) std::abort();
    }
    std::vector<Address> queries;
    std::mt19937_64 random(1);
    for (size_t i = 0; i < kQueries; ++i)
        queries.push_back(addresses[random() % count]);
    look_up(state, fib->view(), queries, bulk);
}

template <typename Address>
void prefix_lookup(benchmark::State& state, bool bulk) {
    const auto& prefixes = Prefixes<Address>::of(static_cast<size_t>(state.range(0)));
    auto fib = make_fib();
    for (const IpPrefix& route : prefixes.routes) {
        if (!fib->add(VrfId{0}, route, NextHopId{1})) std::abort();
    }
    g_reclaimer.drain();
    const FibUsage usage = fib->usage();
    state.counters["bytes/route"] =
        static_cast<double>(usage.prefix_bytes_ipv4 + usage.prefix_bytes_ipv6) /
        static_cast<double>(state.range(0));
    look_up(state, fib->view(), prefixes.queries, bulk);
}

template <typename Address>
void host_add(benchmark::State& state, size_t ahead) {
    const auto count = static_cast<size_t>(state.range(0));
    std::vector<IpPrefix> routes;
    for (const Address& address : host_addresses<Address>(count)) {
        routes.push_back({IpAddress(address), IpAddress(address).bits()});
    }
    for (auto _ : state) {
        state.PauseTiming();
        auto fib = make_fib();
        state.ResumeTiming();
        for (size_t i = 0; i < count; ++i) {
            if (ahead != 0 && i + ahead < count) fib->prefetch(VrfId{0}, routes[i + ahead]);
            if (!fib->add(VrfId{0}, routes[i], NextHopId{1})) std::abort();
        }
        state.PauseTiming();
        fib.reset();
        state.ResumeTiming();
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * count));
}

// Adds all, gives all another next hop, removes all; every 64th change a grace period.
template <typename Address>
void prefix_change(benchmark::State& state) {
    const auto& prefixes = Prefixes<Address>::of(static_cast<size_t>(state.range(0)));
    for (auto _ : state) {
        auto fib = make_fib();
        size_t changes = 0;
        for (const uint32_t id : {1U, 2U, 0U}) {
            for (const IpPrefix& route : prefixes.routes) {
                const auto done = id == 0 ? fib->remove(VrfId{0}, route)
                                          : fib->add(VrfId{0}, route, NextHopId{id});
                if (!done) std::abort();
                if (++changes % 64 == 0) g_reclaimer.drain();
            }
        }
    }
    state.SetItemsProcessed(state.iterations() * state.range(0) * 3);
}

// ---- DPDK's own --------------------------------------------------------------------------------

void rte_lpm_lookups(benchmark::State& state, bool bulk) {
    const auto& prefixes = Prefixes<Ip4>::of(static_cast<size_t>(state.range(0)));
    const rte_lpm_config config{
        .max_rules = static_cast<uint32_t>(state.range(0)), .number_tbl8s = 4096, .flags = 0};
    rte_lpm* lpm = rte_lpm_create("bench", SOCKET_ID_ANY, &config);
    if (lpm == nullptr) return state.SkipWithError("no memory");
    for (const IpPrefix& route : prefixes.routes) {
        if (rte_lpm_add(lpm, route.address.ipv4().value.to_host(), route.length, 1) != 0) {
            std::abort();
        }
    }
    std::vector<uint32_t> queries;
    for (const Ip4& address : prefixes.queries)
        queries.push_back(address.value.to_host());
    std::array<uint32_t, kBurstSize> found{};
    for (auto _ : state) {
        for (size_t i = 0; i < kQueries; i += kBurstSize) {
            if (bulk) {
                rte_lpm_lookup_bulk(lpm, &queries[i], found.data(), kBurstSize);
            } else {
                for (size_t n = 0; n < kBurstSize; ++n) {
                    rte_lpm_lookup(lpm, queries[i + n], &found[n]);
                }
            }
            benchmark::DoNotOptimize(found);
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kQueries));
    rte_lpm_free(lpm);
}

void rte_fib_lookups(benchmark::State& state) {
    const auto& prefixes = Prefixes<Ip4>::of(static_cast<size_t>(state.range(0)));
    rte_fib_conf config{};
    config.type = RTE_FIB_DIR24_8;
    config.max_routes = static_cast<int>(state.range(0)) * 2;
    config.dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = 4096};
    rte_fib* fib = rte_fib_create("bench", SOCKET_ID_ANY, &config);
    if (fib == nullptr) return state.SkipWithError("no memory");
    for (const IpPrefix& route : prefixes.routes) {
        if (rte_fib_add(fib, route.address.ipv4().value.to_host(), route.length, 1) != 0) {
            std::abort();
        }
    }
    std::vector<uint32_t> queries;
    for (const Ip4& address : prefixes.queries)
        queries.push_back(address.value.to_host());
    std::array<uint64_t, kBurstSize> found{};
    for (auto _ : state) {
        for (size_t i = 0; i < kQueries; i += kBurstSize) {
            rte_fib_lookup_bulk(fib, &queries[i], found.data(), kBurstSize);
            benchmark::DoNotOptimize(found);
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kQueries));
    rte_fib_free(fib);
}

void rte_fib6_lookups(benchmark::State& state) {
    const auto& prefixes = Prefixes<Ip6>::of(static_cast<size_t>(state.range(0)));
    rte_fib6_conf config{};
    config.type = RTE_FIB6_TRIE;
    config.max_routes = static_cast<int>(state.range(0)) * 2;
    config.trie = {.nh_sz = RTE_FIB6_TRIE_4B,
                   .num_tbl8 = static_cast<uint32_t>(state.range(0)) * 2 + 1024};
    rte_fib6* fib = rte_fib6_create("bench", SOCKET_ID_ANY, &config);
    if (fib == nullptr) return state.SkipWithError("no memory");
    for (const IpPrefix& route : prefixes.routes) {
        std::array<uint8_t, 16> bytes = route.address.bytes;
        if (rte_fib6_add(fib, bytes.data(), route.length, 1) != 0) {
            rte_fib6_free(fib);
            return state.SkipWithError("table full");
        }
    }
    auto queries = prefixes.queries;
    std::array<uint64_t, kBurstSize> found{};
    for (auto _ : state) {
        for (size_t i = 0; i < kQueries; i += kBurstSize) {
            rte_fib6_lookup_bulk(fib,
                                 reinterpret_cast<uint8_t(*)[RTE_FIB6_IPV6_ADDR_SIZE]>(&queries[i]),
                                 found.data(), kBurstSize);
            benchmark::DoNotOptimize(found);
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kQueries));
    rte_fib6_free(fib);
}

template <typename Address>
void register_family(const std::string& family) {
    const auto add = [&family](const char* name, auto function, auto argument) {
        return benchmark::RegisterBenchmark((family + "/" + name).c_str(), function, argument);
    };
    for (const bool bulk : {false, true}) {
        add(bulk ? "host_lookup_bulk" : "host_lookup", host_lookup<Address>, bulk)
            ->Arg(1000)
            ->Arg(100000)
            ->Arg(1000000);
        add(bulk ? "prefix_lookup_bulk" : "prefix_lookup", prefix_lookup<Address>, bulk)
            ->Arg(1000)
            ->Arg(1000000);
    }
    benchmark::RegisterBenchmark((family + "/vrf_lookup_bulk").c_str(), vrf_lookup<Address>)
        ->Arg(1)
        ->Arg(4096);
    add("host_add", host_add<Address>, size_t{0})->Arg(100000)->Arg(1000000);
    add("host_add_prefetched", host_add<Address>, size_t{8})->Arg(100000)->Arg(1000000);
    benchmark::RegisterBenchmark((family + "/prefix_change").c_str(), prefix_change<Address>)
        ->Arg(1000)
        ->Arg(1000000);
}

void register_dpdk() {
    // rte_lpm finds a rule by walking all of the same length: it is not loaded with more.
    for (const bool bulk : {false, true}) {
        benchmark::RegisterBenchmark(bulk ? "rte_lpm/bulk" : "rte_lpm/single", rte_lpm_lookups,
                                     bulk)
            ->Arg(1000)
            ->Arg(30000);
    }
    benchmark::RegisterBenchmark("rte_fib/bulk", rte_fib_lookups)->Arg(1000)->Arg(1000000);
    benchmark::RegisterBenchmark("rte_fib6/bulk", rte_fib6_lookups)->Arg(1000)->Arg(1000000);
}

}  // namespace
}  // namespace slash32

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    std::array<const char*, 9> eal{"fib_bench", "--no-huge", "--no-shconf", "--no-telemetry", "-m",
                                   "3072",      "--no-pci",  "--lcores=0",  nullptr};
    if (rte_eal_init(static_cast<int>(eal.size()) - 1, const_cast<char**>(eal.data())) < 0)
        return 1;
    slash32::register_family<slash32::Ip4>("ipv4");
    slash32::register_family<slash32::Ip6>("ipv6");
    slash32::register_dpdk();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
