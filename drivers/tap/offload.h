// SPDX-License-Identifier: Apache-2.0
// Between virtio-net headers and mbuf flags, the way librte_vhost does it with compliant flags.
#pragma once

#include "drivers/virtio_net.h"

struct rte_mbuf;

namespace slash32 {

// Sets ol_flags and tso_segsz of a received packet. A checksum that is not TCP's or UDP's at the
// place where ours would be is filled here instead; a header that makes no sense is ignored.
void flags_from_header(rte_mbuf& packet, const VirtioNetHeader& header);

// The header that asks for what the packet's ol_flags ask for. The pseudo-header sum stands in the
// packet already. Fills the IPv4 header checksum if that is asked for, as the header cannot.
VirtioNetHeader header_from_flags(rte_mbuf& packet);

}  // namespace slash32
