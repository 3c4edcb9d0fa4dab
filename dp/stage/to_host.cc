// SPDX-License-Identifier: Apache-2.0
#include "dp/stage/to_host.h"

#include "dp/abi/host_class.h"
#include "dp/packet/headers.h"
#include "dp/packet/nd.h"
#include "dp/stage/disposition.h"

namespace slash32 {
namespace {

bool is_routing(const PacketMeta& meta) {
    if (meta.protocol == kProtoOspf) return true;
    if (meta.l4_length == 0) return false;
    // TCP's ports stand where UDP's do.
    const auto& ports = *reinterpret_cast<const UdpHeader*>(meta.l3 + meta.l3_length);
    const Be16 to = ports.destination.get();
    if (meta.protocol == kProtoTcp) return to == kPortBgp || ports.source.get() == kPortBgp;
    return meta.protocol == kProtoUdp &&
           (to == kPortBfdControl || to == kPortBfdEcho || to == kPortBfdMultihop);
}

HostClass class_of(const Burst& burst, unsigned i) {
    const uint32_t bit = 1u << i;
    const PacketMeta& meta = burst.meta[i];
    if ((burst.foreign & bit) != 0) return HostClass::kLink;
    if ((burst.arp & bit) != 0) return HostClass::kNeighbour;
    if ((burst.icmp6 & bit) != 0 && is_neighbour_discovery(meta)) return HostClass::kNeighbour;
    if ((burst.icmp & bit) != 0) return HostClass::kIcmp;
    if (is_routing(meta)) return HostClass::kRouting;
    return meta.has(kLinkBroadcast | kLinkMulticast) ? HostClass::kGroup : HostClass::kOther;
}

}  // namespace

void to_host(WorkerContext& context, Burst& burst, unsigned i) {
    const auto kind = static_cast<size_t>(class_of(burst, i));
    if (!context.host_tokens[kind].take(context.now)) {
        return drop(context, burst, i, kHostClasses[kind].limited);
    }
    pass(burst, i, burst.in->twin);
}

}  // namespace slash32
