// SPDX-License-Identifier: Apache-2.0
#include "ctrl/plane/compile.h"

#include "dp/base/assert.h"

#include <algorithm>

namespace slash32 {
namespace {

Ip6 masked(Ip6 address, uint8_t length) {
    for (unsigned bit = length; bit < 128; ++bit)
        address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> (bit % 8)));
    return address;
}

void add_gateways(PortConfig& config, const std::vector<IpAddress>& gateways,
                  const RouterIdentity& router) {
    config.gateway4 = router.gateway4;
    config.gateway6 = router.gateway6;
    bool own4 = false;
    bool own6 = false;  // a global address is preferred: ICMP errors must get through a network
    for (const IpAddress& gateway : gateways) {
        S32_ASSERT(config.gateway_count < config.gateways.size());
        config.gateways[config.gateway_count++] = gateway;
        if (gateway.is_ipv4() && !own4) {
            config.gateway4 = gateway.ipv4();
            own4 = true;
        } else if (!gateway.is_ipv4() && !own6 && !gateway.ipv6().is_link_local()) {
            config.gateway6 = gateway.ipv6();
            own6 = true;
        }
    }
}

// On-link prefixes for router advertisements: one for each subnet of a fixed IPv6 address.
void add_ra_prefixes(PortConfig& config, const PortIntent& intent) {
    bool managed = false;
    for (const FixedAddress& fixed : intent.addresses) {
        if (fixed.address.is_ipv4()) continue;
        const Ip6 address = fixed.address.ipv6();
        const bool autonomous = fixed.length == 64 && address == eui64_address(address, intent.mac);
        managed |= !autonomous;
        if (fixed.length == 128 || config.ra_prefix_count == config.ra_prefixes.size()) continue;
        config.ra_prefixes[config.ra_prefix_count++] =
            RaPrefix{masked(address, fixed.length), fixed.length, autonomous};
    }
    if (managed) config.flags |= kRaManaged;
}

}  // namespace

Ip6 eui64_address(const Ip6& prefix, const Mac& mac) {
    Ip6 address = prefix;
    address.bytes[8] = mac.bytes[0] ^ 0x02;
    address.bytes[9] = mac.bytes[1];
    address.bytes[10] = mac.bytes[2];
    address.bytes[11] = 0xff;
    address.bytes[12] = 0xfe;
    std::copy_n(mac.bytes.begin() + 3, 3, address.bytes.begin() + 13);
    return address;
}

std::unique_ptr<PortConfig> compile_port(PortId id, const PortIntent& intent,
                                         const RouterIdentity& router, TxPort* tx,
                                         const Policy* policy) {
    auto config = std::make_unique<PortConfig>();
    config->id = id;
    config->kind = intent.kind;
    config->vrf = intent.vrf;
    config->mtu = intent.mtu;
    config->mac = intent.mac;
    config->router_mac = router.mac;
    config->tx = tx;
    config->policy = policy;

    const bool open = std::ranges::find(intent.groups, kGroupAny) != intent.groups.end();
    if (intent.port_security) config->flags |= kPortSecurity;
    if (open || !intent.port_security) config->flags |= kFilterOpen;
    if (intent.log_denied) config->flags |= kLogDenied;
    if (intent.owner == kHostOwner) config->flags |= kHostLink;
    const bool has_ipv6 =
        std::ranges::any_of(intent.addresses, [](const auto& a) { return !a.address.is_ipv4(); }) ||
        std::ranges::any_of(intent.gateways, [](const auto& g) { return !g.is_ipv4(); });
    if (has_ipv6) config->flags |= kSendRa;

    S32_ASSERT(intent.addresses.size() + intent.allowed_pairs.size() <= config->sources.size());
    for (const FixedAddress& fixed : intent.addresses) {
        const IpPrefix host{fixed.address, fixed.address.bits()};
        config->sources[config->source_count++] = SourcePair{host, intent.mac, true};
    }
    for (const AllowedPair& pair : intent.allowed_pairs) {
        config->sources[config->source_count++] =
            SourcePair{pair.prefix, pair.mac.value_or(intent.mac), false};
    }
    add_gateways(*config, intent.gateways, router);
    add_ra_prefixes(*config, intent);
    return config;
}

std::unique_ptr<PortConfig> compile_uplink(PortId id, const UplinkSpec& spec,
                                           const RouterIdentity& router, const UplinkLink& link) {
    auto config = std::make_unique<PortConfig>();
    config->id = id;
    config->kind = PortKind::kUplink;
    config->flags = kFilterOpen;
    if (spec.l2) config->flags |= kAnswersForVms;
    config->vrf = spec.vrf;
    config->mtu = spec.mtu;
    config->mac = link.mac;
    config->router_mac = link.mac;
    config->tx = link.tx;
    config->twin = link.host_view;
    config->vlans = link.vlans;
    add_gateways(*config, spec.addresses, router);
    for (const IpAddress& address : link.addresses) {
        if (address.is_ipv4())
            config->gateway4 = address.ipv4();
        else
            config->gateway6 = address.ipv6();
    }
    return config;
}

std::unique_ptr<PortConfig> compile_host_view(PortId id, PortId uplink, const Mac& mac,
                                              TxPort* tx) {
    auto config = std::make_unique<PortConfig>();
    config->id = id;
    config->kind = PortKind::kHost;
    config->flags = kFilterOpen;
    config->mac = mac;
    config->router_mac = mac;
    config->tx = tx;
    config->twin = uplink;
    return config;
}

std::unique_ptr<PortConfig> compile_resolver(TxPort* tx) {
    auto config = std::make_unique<PortConfig>();
    config->id = kResolverPort;
    config->kind = PortKind::kUplink;
    config->flags = kFilterOpen;
    config->mtu = kMaxMtu;
    config->tx = tx;
    return config;
}

}  // namespace slash32
