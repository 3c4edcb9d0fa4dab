// SPDX-License-Identifier: Apache-2.0
// Differential fuzzer of the forwarding tables: the input is a list of changes, made to the real
// tables and to the naive ones, which must answer alike after each.
//
// A change is 8 bytes: what to do, VRF, prefix length, four address bytes, next hop.
#include "ctrl/fib/fib.h"
#include "tests/unit/ctrl/fib/naive_fib.h"
#include "tests/unit/ctrl/fib/reclaimers.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace slash32::test {
namespace {

constexpr size_t kChangeBytes = 8;
constexpr size_t kChangesMax = 256;

void require(bool holds, const char* what, VrfId vrf, const IpPrefix& route) {
    if (holds) return;
    std::fprintf(stderr, "%s differs: %s in VRF %u\n", what, to_string(route).c_str(), vrf.value());
    std::abort();
}

// Spread over the address, so that few bytes reach every stride.
IpAddress address_of(Family family, const uint8_t* bytes) {
    IpAddress address;
    address.family = family;
    static constexpr std::array<size_t, 4> kPlacesIpv4{0, 1, 2, 3};
    static constexpr std::array<size_t, 4> kPlacesIpv6{0, 5, 8, 15};
    for (size_t i = 0; i < 4; ++i) {
        address.bytes[family == Family::kIpv4 ? kPlacesIpv4[i] : kPlacesIpv6[i]] = bytes[i];
    }
    return address;
}

class Differential {
  public:
    Differential() {
        // Host tables that are soon full, and prefixes that are not.
        auto made = Fib::create(
            {.hosts_ipv4 = 56, .hosts_ipv6 = 56, .prefixes_ipv4 = 1024, .prefixes_ipv6 = 1024},
            mapped_memory(), reclaimer_);
        if (!made) std::abort();
        fib_ = std::move(*made);
    }

    void change(const uint8_t* bytes) {
        const Family family = (bytes[0] & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
        const VrfId vrf{static_cast<uint16_t>((bytes[1] & 3) * 1365)};
        const IpAddress address = address_of(family, bytes + 3);
        const IpPrefix route = cut_prefix(address, bytes[2] % (address.bits() + 1U));
        switch (bytes[0] >> 1 & 7) {
            case 0:
            case 1:
            case 2:
                add(vrf, route, NextHopId{bytes[7] + 1U});
                break;
            case 3:
                add(vrf, IpPrefix{address, address.bits()}, NextHopId{bytes[7] + 1U});
                break;
            case 4:
            case 5:
                require(fib_->remove(vrf, route).has_value() == naive_.remove(vrf, route),
                        "removal", vrf, route);
                break;
            case 6:
                require(fib_->remove_vrf(vrf) == naive_.remove_vrf(vrf), "VRF removal", vrf, route);
                break;
            default:
                reclaimer_.drain();
                break;
        }
        compare(vrf, route);
    }

    void finish() {
        for (const auto& [key, id] : naive_.routes()) {
            require(fib_->get(key.first, key.second) == id, "route", key.first, key.second);
            compare(key.first, key.second);
        }
        for (const auto& [key, id] : naive_.routes()) {
            require(fib_->remove(key.first, key.second).has_value(), "last removal", key.first,
                    key.second);
        }
        naive_ = {};
        reclaimer_.run_all();
        const FibUsage usage = fib_->usage();
        if (usage.prefix_bytes_ipv4 + usage.prefix_bytes_ipv6 + usage.retired_pending != 0) {
            std::fprintf(stderr, "an empty table holds memory\n");
            std::abort();
        }
    }

  private:
    void add(VrfId vrf, const IpPrefix& route, NextHopId id) {
        if (fib_->add(vrf, route, id)) {
            naive_.add(vrf, route, id);
            return;
        }
        // Only a host table can be full here, and only for a new route.
        const FibUsage usage = fib_->usage();
        require(route.is_host() && !naive_.routes().contains({vrf, route}), "refusal", vrf, route);
        require((route.address.is_ipv4() ? usage.hosts_ipv4 : usage.hosts_ipv6) > 28,
                "refusal by a half empty table", vrf, route);
    }

    void compare(VrfId vrf, const IpPrefix& route) {
        std::array<IpAddress, 3> addresses{route.address, last_of(route), last_of(route)};
        if (route.length > 0) addresses[2] = flip_bit(route.address, route.length - 1U);
        if (route.address.is_ipv4()) {
            compare_bulk<Ip4>(vrf, addresses);
        } else {
            compare_bulk<Ip6>(vrf, addresses);
        }
    }
    template <typename Address>
    void compare_bulk(VrfId vrf, const std::array<IpAddress, 3>& addresses) {
        std::array<VrfId, 3> vrfs;
        vrfs.fill(vrf);
        std::array<Address, 3> keys;
        std::array<NextHopId, 3> bulk;
        for (size_t i = 0; i < keys.size(); ++i) {
            std::memcpy(&keys[i], addresses[i].bytes.data(), sizeof(Address));
        }
        fib_->view().lookup_bulk(7, vrfs.data(), keys.data(), bulk.data());
        for (size_t i = 0; i < keys.size(); ++i) {
            const auto expected = naive_.lookup(vrf, addresses[i]);
            const NextHopId id = expected ? expected->next_hop : kNoNextHop;
            const IpPrefix at{addresses[i], addresses[i].bits()};
            require(bulk[i] == id, "bulk lookup", vrf, at);
            require(fib_->view().lookup(vrf, keys[i]) == id, "lookup", vrf, at);
            require(fib_->explain(vrf, addresses[i]) == expected, "explanation", vrf, at);
        }
    }

    ManualReclaimer reclaimer_;
    std::unique_ptr<Fib> fib_;
    NaiveFib naive_;
};

}  // namespace
}  // namespace slash32::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace slash32::test;
    // Each input leaves it empty.
    static Differential differential;
    const size_t changes = std::min(size / kChangeBytes, kChangesMax);
    for (size_t i = 0; i < changes; ++i)
        differential.change(data + i * kChangeBytes);
    differential.finish();
    return 0;
}
