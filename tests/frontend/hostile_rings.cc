// SPDX-License-Identifier: Apache-2.0
// Hostile guests: rings and headers that a network driver would never write.
#include "tests/frontend/hostile.h"

#include <cstring>

namespace slash32::frontend {

namespace {

constexpr uint32_t kHeader = sizeof(NetHeader);

// Ends of chains, for readability: `next` is an index into the chain given to send_chain.
Descriptor outside(uint64_t address, uint32_t bytes) {
    return {address, bytes, 0, 0};
}

Descriptor* indirect_table(Attack& a) {
    return reinterpret_cast<Descriptor*>(a.port.memory().at(a.port.tx().indirect_at(a.top(0))));
}

void send_indirect(Attack& a, std::vector<Descriptor> table, uint32_t table_bytes,
                   uint16_t flags = kDescIndirect) {
    const size_t most = a.port.tx().max_chain();
    for (size_t i = 0; i < table.size() && i < most; i++)
        indirect_table(a)[i] = table[i];
    a.send_chain({{a.port.memory().guest_address(a.port.tx().indirect_at(a.top(0))), table_bytes,
                   flags, 0}});
}

const HostileCase kRing[] = {
    {"tx-loop-self", "a descriptor whose next is itself",
     [](Attack& a) { a.send_chain({a.buffer(0, 100, kDescNext, 0)}); }},
    {"tx-loop-two", "two descriptors that point at each other",
     [](Attack& a) {
         a.send_chain({a.buffer(0, 100, kDescNext, 1), a.buffer(1, 100, kDescNext, 0)});
     }},
    {"tx-loop-ring", "a loop through every descriptor of the ring",
     [](Attack& a) {
         std::vector<Descriptor> chain;
         const uint16_t n = a.port.tx().ring().size();
         for (uint16_t i = 0; i < n; i++) {
             chain.push_back(a.buffer(0, 64, kDescNext, static_cast<uint16_t>((i + 1) % n)));
         }
         a.send_chain(chain);
     }},
    {"tx-next-out-of-range", "next beyond the ring",
     [](Attack& a) {
         a.port.tx().ring().descriptor(a.top(0)) = a.buffer(0, 100, kDescNext, 0xfff0);
         a.publish(a.top(0));
     }},
    {"tx-zero-length", "a descriptor of no bytes after the header",
     [](Attack& a) {
         a.send_chain({a.buffer(0, kHeader, kDescNext, 1), a.buffer(1, 0)});
     }},
    {"tx-zero-header", "a first descriptor of no bytes",
     [](Attack& a) {
         a.send_chain({a.buffer(0, 0, kDescNext, 1), a.buffer(1, 100)});
     }},
    {"tx-empty", "a chain of one descriptor of no bytes",
     [](Attack& a) { a.send_chain({a.buffer(0, 0)}); }},
    {"tx-address-outside", "data outside the memory table",
     [](Attack& a) {
         a.send_chain({a.buffer(0, kHeader, kDescNext, 1), outside(0x7000'0000'0000ULL, 100)});
     }},
    {"tx-address-zero", "data at guest address zero",
     [](Attack& a) {
         a.send_chain({a.buffer(0, kHeader, kDescNext, 1), outside(0, 100)});
     }},
    {"tx-header-outside", "a header outside the memory table",
     [](Attack& a) { a.send_chain({outside(0x7000'0000'0000ULL, 100)}); }},
    {"tx-address-wrap", "address plus length wraps round 64 bits",
     [](Attack& a) {
         a.send_chain({a.buffer(0, kHeader, kDescNext, 1), outside(~0ULL - 10, 100)});
     }},
    {"tx-length-huge", "a length of 4 GB",
     [](Attack& a) { a.send_chain({a.buffer(0, 0xffffffffu)}); }},
    {"tx-crosses-end", "data that runs over the end of the region",
     [](Attack& a) {
         const uint64_t end = kGuestBase + a.port.memory().size();
         a.send_chain({a.buffer(0, kHeader, kDescNext, 1), outside(end - 50, 100)});
     }},
    {"tx-alone-crosses-end", "a packet in one buffer that runs over the end of the region",
     [](Attack& a) {
         const uint64_t end = kGuestBase + a.port.memory().size();
         a.send_chain({outside(end - 50, 100)});
     }},
    {"tx-alone-wraps", "a packet in one buffer whose address plus length wraps round 64 bits",
     [](Attack& a) { a.send_chain({outside(~0ULL - 10, 100)}); }},
    {"tx-alone-and-marked", "a packet in one buffer with flags that nobody has defined",
     [](Attack& a) { a.send_chain({a.buffer(0, 100, 0xfff8)}); }},
    {"tx-writable", "a transmit chain that the device should write",
     [](Attack& a) { a.send_chain({a.buffer(0, 100, kDescWrite)}); }},
    {"tx-head-out-of-range", "an available head beyond the ring",
     [](Attack& a) { a.publish(0xfff0); }},
    {"tx-index-jump", "an available index further ahead than the ring is long",
     [](Attack& a) {
         SplitRing& ring = a.port.tx().ring();
         ring.set_available_index(static_cast<uint16_t>(ring.available_index() + 3 * ring.size()));
         a.port.kick(1);
     }},
    {"tx-index-back", "an available index that goes backwards",
     [](Attack& a) {
         SplitRing& ring = a.port.tx().ring();
         ring.set_available_index(static_cast<uint16_t>(ring.available_index() - 1));
         a.port.kick(1);
     }},
    {"tx-used-scribbled", "the device's own used index overwritten",
     [](Attack& a) {
         SplitRing& ring = a.port.tx().ring();
         ring.set_used_index(static_cast<uint16_t>(ring.used_index() + 1000));
         a.port.send(a.frame);
     }},
    {"tx-header-split", "the header a byte at a time (allowed, and must work or be dropped)",
     [](Attack& a) {
         std::vector<Descriptor> chain;
         std::memset(a.port.memory().at(a.port.tx().segment_at(0)), 0, kHeader);
         for (uint16_t i = 0; i < kHeader; i++) {
             Descriptor d = a.buffer(0, 1, kDescNext, static_cast<uint16_t>(i + 1));
             d.address += i;
             chain.push_back(d);
         }
         std::memcpy(a.port.memory().at(a.port.tx().segment_at(1)), a.frame.data(), a.frame.size());
         chain.push_back(a.buffer(1, static_cast<uint32_t>(a.frame.size())));
         a.send_chain(chain);
     }},
    {"tx-header-short", "a chain shorter than the header",
     [](Attack& a) { a.send_chain({a.buffer(0, 4)}); }},
    {"tx-header-only", "a header and no frame",
     [](Attack& a) { a.send_chain({a.buffer(0, kHeader)}); }},
    {"tx-runt", "frames of 1 to 13 bytes",
     [](Attack& a) {
         for (uint32_t n = 1; n < 14; n++)
             a.port.send(std::span(a.frame).first(n));
     }},
    {"tx-giant", "a chain as long as the ring, of full buffers",
     [](Attack& a) {
         std::vector<Descriptor> chain;
         const uint16_t n = a.port.tx().ring().size();
         std::memset(a.port.memory().at(a.port.tx().segment_at(0)), 0, kHeader);
         for (uint16_t i = 0; i < n; i++) {
             const bool last = i + 1 == n;
             chain.push_back(a.buffer(0, 2048, last ? 0 : kDescNext, static_cast<uint16_t>(i + 1)));
         }
         a.send_chain(chain);
     }},
    {"tx-indirect-nested", "an indirect table that holds an indirect descriptor",
     [](Attack& a) {
         const uint64_t table = a.port.memory().guest_address(a.port.tx().indirect_at(a.top(0)));
         send_indirect(a, {{table, 16, kDescIndirect, 0}}, 16);
     }},
    {"tx-indirect-loop", "an indirect table that loops",
     [](Attack& a) {
         send_indirect(a, {a.buffer(0, 64, kDescNext, 1), a.buffer(1, 64, kDescNext, 0)}, 32);
     }},
    {"tx-indirect-next-out", "an indirect table whose next is beyond it",
     [](Attack& a) { send_indirect(a, {a.buffer(0, 64, kDescNext, 9999)}, 16); }},
    {"tx-indirect-outside", "an indirect table outside the memory",
     [](Attack& a) {
         a.send_chain({{0x7000'0000'0000ULL, 64, kDescIndirect, 0}});
     }},
    {"tx-indirect-crosses-end", "an indirect table that runs over the end of the region",
     [](Attack& a) {
         const uint64_t end = kGuestBase + a.port.memory().size();
         a.send_chain({{end - 16, 64, kDescIndirect, 0}});
     }},
    {"tx-indirect-odd-length", "an indirect table of 17 bytes",
     [](Attack& a) { send_indirect(a, {a.buffer(0, 100)}, 17); }},
    {"tx-indirect-empty", "an indirect table of no bytes",
     [](Attack& a) { send_indirect(a, {a.buffer(0, 100)}, 0); }},
    {"tx-indirect-huge", "an indirect table of more entries than a ring can have",
     [](Attack& a) { send_indirect(a, {a.buffer(0, 100)}, 16u * 70000); }},
    {"tx-indirect-and-next", "both indirect and chained",
     [](Attack& a) { send_indirect(a, {a.buffer(0, 100)}, 16, kDescIndirect | kDescNext); }},
    {"tx-all-bad", "a ring full of chains that lead nowhere",
     [](Attack& a) {
         const uint16_t n = a.port.tx().ring().size();
         for (uint16_t i = 0; i < n; i++) {
             a.port.tx().ring().descriptor(i) = outside(0x7000'0000'0000ULL + i, 1500);
             a.port.tx().ring().stage_unchecked(i);
         }
         a.port.tx().ring().publish();
         a.port.kick(1);
     }},
    {"tx-spoiled-under-way", "descriptors rewritten while the device reads them",
     [](Attack& a) {
         for (int round = 0; round < 2000; round++) {
             a.port.send(a.frame);
             for (uint16_t i = 0; i < a.port.tx().ring().size(); i++) {
                 Descriptor& d = a.port.tx().ring().descriptor(i);
                 d.bytes = round % 3 == 0 ? 0xffffffffu : 100;
                 d.next = static_cast<uint16_t>(round);
                 d.flags = static_cast<uint16_t>(round % 8);
             }
         }
     }},
    {"rx-tiny", "receive buffers of one byte",
     [](Attack& a) { a.spoil_receive([](uint16_t, Descriptor& d) { d.bytes = 1; }); }},
    {"rx-zero-length", "receive buffers of no bytes",
     [](Attack& a) { a.spoil_receive([](uint16_t, Descriptor& d) { d.bytes = 0; }); }},
    {"rx-read-only", "receive buffers that the device must not write",
     [](Attack& a) { a.spoil_receive([](uint16_t, Descriptor& d) { d.flags = 0; }); }},
    {"rx-outside", "receive buffers outside the memory",
     [](Attack& a) {
         a.spoil_receive([](uint16_t, Descriptor& d) { d.address = 0x7000'0000'0000ULL; });
     }},
    {"rx-over-the-end", "receive buffers that run over the end of the region",
     [](Attack& a) {
         const uint64_t end = kGuestBase + a.port.memory().size();
         a.spoil_receive([end](uint16_t, Descriptor& d) { d.address = end - 20; });
     }},
    {"rx-length-huge", "receive buffers of 4 GB",
     [](Attack& a) { a.spoil_receive([](uint16_t, Descriptor& d) { d.bytes = 0xffffffffu; }); }},
    {"rx-loop", "receive chains that loop",
     [](Attack& a) {
         a.spoil_receive([](uint16_t i, Descriptor& d) {
             d.bytes = 1;
             d.flags |= kDescNext;
             d.next = i;
         });
     }},
    {"rx-next-out-of-range", "receive chains that lead beyond the ring",
     [](Attack& a) {
         a.spoil_receive([](uint16_t, Descriptor& d) {
             d.bytes = 20;
             d.flags |= kDescNext;
             d.next = 0xfff0;
         });
     }},
    {"rx-indirect-outside", "receive buffers behind an indirect table outside the memory",
     [](Attack& a) {
         a.spoil_receive([](uint16_t, Descriptor& d) {
             d.address = 0x7000'0000'0000ULL;
             d.flags = kDescIndirect;
         });
     }},
    {"rx-onto-rings", "receive buffers that are the rings themselves",
     [](Attack& a) { a.spoil_receive([](uint16_t, Descriptor& d) { d.address = kGuestBase; }); }},
    {"rx-index-jump", "an available index further ahead than the ring is long",
     [](Attack& a) {
         SplitRing& ring = a.port.rx().ring();
         ring.set_available_index(static_cast<uint16_t>(ring.available_index() + 5 * ring.size()));
         a.attract();
     }},
    {"rx-no-buffers", "no receive buffer is ever given back",
     [](Attack& a) {
         a.port.on_call = nullptr;
         a.attract(3 * size_t{a.port.rx().ring().size()});
     }},
};

NetHeader needs_csum(uint16_t start, uint16_t offset) {
    NetHeader h{};
    h.flags = kNetNeedsCsum;
    h.csum_start = start;
    h.csum_offset = offset;
    return h;
}

NetHeader gso(uint8_t type, uint16_t segment, uint16_t header_bytes = 54) {
    NetHeader h = needs_csum(34, 16);
    h.gso_type = type;
    h.gso_bytes = segment;
    h.header_bytes = header_bytes;
    return h;
}

const HostileCase kHeaders[] = {
    {"csum-start-beyond", "a checksum that starts after the frame",
     [](Attack& a) { a.send_header(needs_csum(5000, 16)); }},
    {"csum-start-zero", "a checksum over the Ethernet header",
     [](Attack& a) { a.send_header(needs_csum(0, 0)); }},
    {"csum-in-ip-header", "a checksum that starts inside the IP header",
     [](Attack& a) { a.send_header(needs_csum(20, 6)); }},
    {"csum-offset-beyond", "a checksum to be put after the frame",
     [](Attack& a) { a.send_header(needs_csum(34, 5000)); }},
    {"csum-largest", "start and offset of 65,535",
     [](Attack& a) { a.send_header(needs_csum(0xffff, 0xffff)); }},
    {"csum-at-last-byte", "a checksum field half outside the frame",
     [](Attack& a) {
         a.send_header(needs_csum(34, static_cast<uint16_t>(a.frame.size() - 34 - 1)));
     }},
    {"gso-zero", "segments of no bytes", [](Attack& a) { a.send_header(gso(kGsoTcp4, 0)); }},
    {"gso-one", "segments of one byte", [](Attack& a) { a.send_header(gso(kGsoTcp4, 1)); }},
    {"gso-largest", "segments of 65,535 bytes",
     [](Attack& a) { a.send_header(gso(kGsoTcp4, 0xffff)); }},
    {"gso-tcp4-on-udp", "TCP segmentation of a UDP frame",
     [](Attack& a) { a.send_header(gso(kGsoTcp4, 20)); }},
    {"gso-tcp6-on-ipv4", "IPv6 segmentation of an IPv4 frame",
     [](Attack& a) { a.send_header(gso(kGsoTcp6, 20)); }},
    {"gso-udp", "UDP fragmentation, which nobody negotiated",
     [](Attack& a) { a.send_header(gso(kGsoUdp, 20, 42)); }},
    {"gso-ecn", "the ECN bit, which nobody negotiated",
     [](Attack& a) { a.send_header(gso(kGsoTcp4 | kGsoEcn, 20)); }},
    {"gso-unknown", "a type that does not exist", [](Attack& a) { a.send_header(gso(0x7f, 20)); }},
    {"gso-without-csum", "segmentation without a checksum request",
     [](Attack& a) {
         NetHeader h = gso(kGsoTcp4, 20);
         h.flags = 0;
         a.send_header(h);
     }},
    {"gso-header-beyond", "a header length beyond the frame",
     [](Attack& a) { a.send_header(gso(kGsoTcp4, 20, 0xffff)); }},
    {"gso-header-one", "a header length of one",
     [](Attack& a) { a.send_header(gso(kGsoTcp4, 20, 1)); }},
    {"gso-runt", "segmentation of a frame of 14 bytes",
     [](Attack& a) { a.port.send(std::span(a.frame).first(14), gso(kGsoTcp4, 1000)); }},
    {"header-all-ones", "a header of 0xff bytes",
     [](Attack& a) {
         NetHeader h;
         std::memset(&h, 0xff, sizeof(h));
         a.send_header(h);
     }},
};

}  // namespace

std::span<const HostileCase> ring_cases() {
    return kRing;
}
std::span<const HostileCase> header_cases() {
    return kHeaders;
}

}  // namespace slash32::frontend
