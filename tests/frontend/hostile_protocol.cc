// SPDX-License-Identifier: Apache-2.0
// Hostile frontends: messages, descriptors and deaths that QEMU would never send.
#include "dp/base/assert.h"
#include "tests/frontend/hostile.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <random>

namespace slash32::frontend {

namespace {

// A descriptor for the length of a case; the backend gets a duplicate.
class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) { S32_ASSERT(fd >= 0); }
    ~Fd() { close(fd_); }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    int get() const { return fd_; }
    std::span<const int> span() const { return {&fd_, 1}; }

  private:
    int fd_;
};

template <typename T>
std::span<const uint8_t> bytes_of(const T& value) {
    return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)};
}

void raw(Attack& a, uint32_t request, uint32_t flags, uint32_t size,
         std::span<const uint8_t> payload = {}, std::span<const int> fds = {}) {
    const MessageHeader header{request, flags, size};
    std::vector<uint8_t> all(sizeof(header) + payload.size());
    std::memcpy(all.data(), &header, sizeof(header));
    if (!payload.empty()) std::memcpy(all.data() + sizeof(header), payload.data(), payload.size());
    a.port.channel().send_bytes(all, fds);
}

constexpr uint32_t number(Request request) {
    return static_cast<uint32_t>(request);
}

// A memory table made from the honest one by `change`, with `fds` descriptors of the memory.
void memory(Attack& a, void (*change)(MemoryTable&), size_t fds = 1) {
    MemoryTable table = a.port.memory_table();
    change(table);
    const std::vector<int> list(fds, a.port.memory().fd());
    const size_t n = table.regions <= kMaxMemoryRegions ? table.regions : kMaxMemoryRegions;
    a.message(Request::kSetMemTable,
              {reinterpret_cast<const uint8_t*>(&table), memory_table_bytes(n)}, list);
}

void vring_address(Attack& a, uint64_t descriptors, uint64_t available, uint64_t used) {
    const uint64_t eventfd_index = 1;
    const Fd kick(eventfd(1, EFD_CLOEXEC));
    a.message_value(Request::kSetVringAddr, VringAddr{1, 0, descriptors, used, available, 0});
    a.message_value(Request::kSetVringKick, eventfd_index, kick.span());
}

void call_descriptor(Attack& a, std::span<const int> fds) {
    for (const uint64_t vring : {0, 1})
        a.message_value(Request::kSetVringCall, vring, fds);
    a.pause(50);
    a.attract(10);
    for (int i = 0; i < 10; i++)
        a.port.send(a.frame);
}

const HostileCase kProtocol[] = {
    {"msg-oversized", "a payload length of 2 GB",
     [](Attack& a) {
         raw(a, number(Request::kSetFeatures), 1, 0x7fffffff, bytes_of(uint64_t{0}));
     }},
    {"msg-oversized-whole", "a payload of 4,096 bytes, all sent",
     [](Attack& a) {
         const std::array<uint8_t, 4096> payload{};
         raw(a, number(Request::kSetFeatures), 1, 4096, payload);
     }},
    {"msg-bad-version", "a header without the version",
     [](Attack& a) { raw(a, number(Request::kGetFeatures), 0, 0); }},
    {"msg-unknown", "a request number that does not exist",
     [](Attack& a) { raw(a, 200, 1, 8, bytes_of(uint64_t{0})); }},
    {"msg-unknown-acknowledged", "the same, with an acknowledgement asked for",
     [](Attack& a) { raw(a, 0xffffffffu, 1 | kFlagNeedReply, 8, bytes_of(uint64_t{0})); }},
    {"msg-half-header", "five bytes and then nothing",
     [](Attack& a) {
         const std::array<uint8_t, 5> half{1, 0, 0, 0, 1};
         a.port.channel().send_bytes(half);
     }},
    {"msg-half-payload", "half a payload and then nothing",
     [](Attack& a) { raw(a, number(Request::kSetVringAddr), 1, 40, bytes_of(uint64_t{0})); }},
    {"msg-payload-never", "a header whose payload never comes",
     [](Attack& a) { raw(a, number(Request::kSetFeatures), 1, 8); }},
    {"msg-payload-empty", "requests that need a payload, without one",
     [](Attack& a) {
         for (const uint32_t request : {2u, 8u, 9u, 10u, 12u, 13u, 18u})
             raw(a, request, 1, 0);
     }},
    {"msg-many-fds", "32 descriptors with a request that takes none",
     [](Attack& a) {
         const std::vector<int> fds(32, a.port.memory().fd());
         raw(a, number(Request::kGetFeatures), 1, 0, {}, fds);
     }},
    {"msg-fds-with-kick", "eight descriptors with a kick",
     [](Attack& a) {
         const std::vector<int> fds(8, a.port.memory().fd());
         a.message_value(Request::kSetVringKick, uint64_t{1}, fds);
     }},
    {"msg-noise", "64 KB of random bytes",
     [](Attack& a) {
         std::mt19937 random(32);  // NOLINT: the same noise every time
         std::vector<uint8_t> noise(65536);
         for (uint8_t& b : noise)
             b = static_cast<uint8_t>(random());
         a.port.channel().send_bytes(noise);
     }},
    {"msg-flood", "20,000 requests at once, no reply read",
     [](Attack& a) {
         for (int i = 0; i < 20000 && a.port.channel().is_open(); i++) {
             if (!a.port.channel().send(Request::kGetFeatures, 0, {})) break;
         }
     }},
    {"mem-regions-9", "one memory region too many",
     [](Attack& a) {
         memory(
             a, [](MemoryTable& t) { t.regions = 9; }, 9);
     }},
    {"mem-regions-max", "4 G memory regions",
     [](Attack& a) { memory(a, [](MemoryTable& t) { t.regions = 0xffffffffu; }); }},
    {"mem-regions-none", "no memory region",
     [](Attack& a) {
         memory(
             a, [](MemoryTable& t) { t.regions = 0; }, 0);
     }},
    {"mem-no-fds", "a memory table without a descriptor",
     [](Attack& a) {
         memory(
             a, [](MemoryTable& t) { t.region[0].size /= 2; }, 0);
     }},
    {"mem-size-zero", "a region of no bytes",
     [](Attack& a) { memory(a, [](MemoryTable& t) { t.region[0].size = 0; }); }},
    {"mem-size-huge", "a region of 4 EB",
     [](Attack& a) { memory(a, [](MemoryTable& t) { t.region[0].size = 1ULL << 62; }); }},
    {"mem-size-beyond", "a region larger than its file",
     [](Attack& a) {
         memory(a, [](MemoryTable& t) { t.region[0].size += 1ULL << 30; });
         a.attract();
     }},
    {"mem-offset-huge", "an offset whose sum with the size wraps",
     [](Attack& a) { memory(a, [](MemoryTable& t) { t.region[0].mmap_offset = ~0ULL - 4095; }); }},
    {"mem-offset-beyond", "an offset after the end of the file",
     [](Attack& a) { memory(a, [](MemoryTable& t) { t.region[0].mmap_offset = 1ULL << 30; }); }},
    {"mem-overlap", "two regions at one guest address",
     [](Attack& a) {
         memory(
             a,
             [](MemoryTable& t) {
                 t.regions = 2;
                 t.region[1] = t.region[0];
             },
             2);
     }},
    {"mem-address-wrap", "a region whose end wraps round 64 bits",
     [](Attack& a) {
         memory(a, [](MemoryTable& t) { t.region[0].guest_address = ~0ULL - 8191; });
     }},
    {"mem-eventfd", "an event descriptor for memory",
     [](Attack& a) {
         const Fd fd(eventfd(0, EFD_CLOEXEC));
         MemoryTable table = a.port.memory_table();
         table.region[0].guest_address += 4096;
         a.message(Request::kSetMemTable,
                   {reinterpret_cast<const uint8_t*>(&table), memory_table_bytes(1)}, fd.span());
     }},
    {"mem-read-only", "memory that the backend may not write",
     [](Attack& a) {
         const std::string path = "/proc/self/fd/" + std::to_string(a.port.memory().fd());
         const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
         MemoryTable table = a.port.memory_table();
         table.region[0].guest_address += 4096;
         a.message(Request::kSetMemTable,
                   {reinterpret_cast<const uint8_t*>(&table), memory_table_bytes(1)}, fd.span());
     }},
    {"mem-moved", "the memory moves while the rings run; the ring addresses are now wrong",
     [](Attack& a) {
         memory(a, [](MemoryTable& t) { t.region[0].user_address += 1ULL << 30; });
         a.attract();
     }},
    {"mem-truncated", "the memory's file shrinks to nothing under the backend",
     [](Attack& a) {
         a.port.memory().truncate();
         for (int i = 0; i < 20; i++)
             a.witness.send(a.to_us);
         a.port.kick(0);
         a.port.kick(1);
     }},
    {"vring-index-beyond", "ring numbers beyond every limit",
     [](Attack& a) {
         a.message_value(Request::kSetVringNum, VringState{256, 64});
         a.message_value(Request::kSetVringNum, VringState{0x7fffffff, 64});
     }},
    {"vring-index-negative", "a ring number of 4 G",
     [](Attack& a) {
         a.message_value(Request::kGetVringBase, VringState{0xffffffffu, 0});
     }},
    {"vring-num-zero", "a ring of no entries",
     [](Attack& a) {
         a.message_value(Request::kSetVringNum, VringState{1, 0});
     }},
    {"vring-num-odd", "a ring of 63 entries",
     [](Attack& a) {
         a.message_value(Request::kSetVringNum, VringState{1, 63});
         for (int i = 0; i < 100; i++)
             a.port.send(a.frame);
     }},
    {"vring-num-max", "a ring of 65,535 entries",
     [](Attack& a) {
         a.message_value(Request::kSetVringNum, VringState{1, 65535});
     }},
    {"vring-num-grown", "a ring of 32,768 entries over memory for fewer",
     [](Attack& a) {
         a.message_value(Request::kSetVringNum, VringState{1, 32768});
         SplitRing& ring = a.port.tx().ring();
         vring_address(a, ring.descriptors_user_address(), ring.available_user_address(),
                       ring.used_user_address());
         for (int i = 0; i < 100; i++)
             a.port.send(a.frame);
     }},
    {"vring-num-alone", "a ring of 32,768 entries, and nothing said of where they are",
     [](Attack& a) {
         a.message_value(Request::kSetVringNum, VringState{1, 32768});
         a.message_value(Request::kSetVringNum, VringState{0, 32768});
         for (int i = 0; i < 100; i++)
             a.port.send(a.frame);
         a.attract();
     }},
    {"vring-addr-outside", "ring addresses outside the memory",
     [](Attack& a) { vring_address(a, 0x1000, 0x2000, 0x3000); }},
    {"vring-addr-null", "ring addresses of zero", [](Attack& a) { vring_address(a, 0, 0, 0); }},
    {"vring-addr-at-end", "rings whose ends are outside the memory",
     [](Attack& a) {
         const uint64_t end = a.port.memory().user_address(a.port.memory().size());
         vring_address(a, end - 16, end - 8, end - 4);
     }},
    {"vring-addr-unaligned", "rings at odd addresses",
     [](Attack& a) {
         const uint64_t base = a.port.memory().user_address(0);
         vring_address(a, base + 1, base + 4097, base + 8193);
         a.port.kick(1);
     }},
    {"vring-base-jump", "the base moves while the ring runs",
     [](Attack& a) {
         a.message_value(Request::kSetVringBase, VringState{1, 40000});
         a.message_value(Request::kSetVringBase, VringState{0, 40000});
         a.attract();
         for (int i = 0; i < 10; i++)
             a.port.send(a.frame);
     }},
    {"queue-pairs-beyond", "eight more queue pairs than the port has",
     [](Attack& a) {
         for (uint32_t v = 2; v < 18; v++) {
             SplitRing& ring = v % 2 == 0 ? a.port.rx().ring() : a.port.tx().ring();
             const Fd kick(eventfd(1, EFD_CLOEXEC));
             const Fd call(eventfd(0, EFD_CLOEXEC));
             a.message_value(Request::kSetVringNum, VringState{v, ring.size()});
             a.message_value(Request::kSetVringBase, VringState{v, ring.used_index()});
             a.message_value(Request::kSetVringAddr,
                             VringAddr{v, 0, ring.descriptors_user_address(),
                                       ring.used_user_address(), ring.available_user_address(), 0});
             a.message_value(Request::kSetVringKick, uint64_t{v}, kick.span());
             a.message_value(Request::kSetVringCall, uint64_t{v}, call.span());
             a.message_value(Request::kSetVringEnable, VringState{v, 1});
         }
         for (int i = 0; i < 10; i++)
             a.port.send(a.frame);
     }},
    {"kick-no-fd", "a kick without its descriptor",
     [](Attack& a) { a.message_value(Request::kSetVringKick, uint64_t{1}); }},
    {"kick-polling", "no kick descriptor, and said so",
     [](Attack& a) { a.message_value(Request::kSetVringKick, uint64_t{1} | kVringNoFd); }},
    {"kick-file", "a regular file for a kick",
     [](Attack& a) {
         a.message_value(Request::kSetVringKick, uint64_t{1},
                         Fd(a.port.memory().fd() >= 0 ? dup(a.port.memory().fd()) : -1).span());
     }},
    {"kick-null", "/dev/null for a kick",
     [](Attack& a) {
         const Fd fd(open("/dev/null", O_RDWR | O_CLOEXEC));
         a.message_value(Request::kSetVringKick, uint64_t{1}, fd.span());
     }},
    {"kick-always-readable", "a pipe with 64 KB in it for a kick",
     [](Attack& a) {
         std::array<int, 2> ends{};
         S32_ASSERT(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
         const Fd in(ends[0]);
         const Fd out(ends[1]);
         const std::array<uint8_t, 4096> filler{};
         while (write(out.get(), filler.data(), filler.size()) > 0) {
         }
         a.message_value(Request::kSetVringKick, uint64_t{1}, in.span());
         a.pause(200);
     }},
    {"kick-dead-pipe", "a pipe without a writer for a kick",
     [](Attack& a) {
         std::array<int, 2> ends{};
         S32_ASSERT(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
         const Fd in(ends[0]);
         close(ends[1]);
         a.message_value(Request::kSetVringKick, uint64_t{1}, in.span());
         a.pause(200);
     }},
    {"call-saturated", "a blocking call descriptor whose counter is full",
     [](Attack& a) {
         const Fd fd(eventfd(0, EFD_CLOEXEC));
         const uint64_t full = ~0ULL - 1;
         S32_ASSERT(write(fd.get(), &full, sizeof(full)) == sizeof(full));
         call_descriptor(a, fd.span());
     }},
    {"call-pipe-full", "a blocking pipe that is full for a call",
     [](Attack& a) {
         std::array<int, 2> ends{};
         S32_ASSERT(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
         const Fd in(ends[0]);
         const Fd out(ends[1]);
         const uint8_t one = 1;
         while (write(out.get(), &one, 1) == 1) {
         }
         fcntl(out.get(), F_SETFL, 0);
         call_descriptor(a, out.span());
         a.pause(300);
     }},
    {"call-dead-pipe", "a pipe without a reader for a call",
     [](Attack& a) {
         std::array<int, 2> ends{};
         S32_ASSERT(pipe2(ends.data(), O_CLOEXEC) == 0);
         const Fd out(ends[1]);
         close(ends[0]);
         call_descriptor(a, out.span());
     }},
    {"features-not-offered", "features that the backend does not have",
     [](Attack& a) {
         a.message_value(Request::kSetFeatures, a.port.features() | 1ULL << 60 | 1ULL << 50);
     }},
    {"features-changed", "other features while the rings run",
     [](Attack& a) {
         a.message_value(Request::kSetFeatures, a.port.features() & ~kFeatureMergeable);
     }},
    {"protocol-features-all", "every protocol feature there could be",
     [](Attack& a) { a.message_value(Request::kSetProtocolFeatures, ~0ULL); }},
    {"mtu-zero", "an MTU of zero",
     [](Attack& a) { a.message_value(Request::kNetSetMtu, uint64_t{0}); }},
    {"mtu-huge", "an MTU of 4 EB",
     [](Attack& a) { a.message_value(Request::kNetSetMtu, 1ULL << 62); }},
    {"owner-reset", "RESET_OWNER while the rings run",
     [](Attack& a) {
         a.message(Request::kResetOwner, {});
         a.attract();
     }},
    {"base-twice", "rings stopped twice",
     [](Attack& a) {
         for (uint32_t i = 0; i < 4; i++) {
             a.message_value(Request::kGetVringBase, VringState{i % 2, 0});
         }
     }},
    {"log-garbage", "a dirty log without a descriptor",
     [](Attack& a) {
         const std::array<uint64_t, 2> log{1ULL << 40, ~0ULL};
         a.message_value(Request::kSetLogBase, log);
     }},
    {"log-tiny", "a dirty log that is much too small, then logging of everything",
     [](Attack& a) {
         const std::array<uint64_t, 2> log{1, 0};
         const Fd fd(dup(a.port.memory().fd()));
         a.message_value(Request::kSetLogBase, log, fd.span());
         a.message_value(Request::kSetFeatures, a.port.features() | 1ULL << 26);
         a.attract();
     }},
    {"inflight-garbage", "an inflight area of 65,535 queues",
     [](Attack& a) {
         struct Inflight {
             uint64_t size = ~0ULL;
             uint64_t offset = ~0ULL;
             uint16_t queues = 65535;
             uint16_t entries = 65535;
             uint32_t padding = 0;
         };
         raw(a, number(Request::kGetInflightFd), 1, 20, bytes_of(Inflight{}).first(20));
         const Fd fd(dup(a.port.memory().fd()));
         raw(a, number(Request::kSetInflightFd), 1, 20, bytes_of(Inflight{}).first(20), fd.span());
     }},
    {"iotlb-garbage", "an IOTLB message that nobody negotiated",
     [](Attack& a) {
         std::array<uint64_t, 4> iotlb{};
         iotlb.fill(~0ULL);
         a.message_value(Request::kIotlbMsg, iotlb);
     }},
    {"postcopy", "post-copy migration that nobody negotiated",
     [](Attack& a) { a.message(Request::kPostcopyAdvise, {}); }},
    {"rarp", "a RARP request that nobody negotiated",
     [](Attack& a) { a.message_value(Request::kSendRarp, ~0ULL); }},
    {"backend-channel-garbage", "memory for the backend's own channel",
     [](Attack& a) {
         const Fd fd(dup(a.port.memory().fd()));
         a.message(Request::kSetBackendReqFd, {}, fd.span());
     }},
    {"fresh-silence", "a new connection on which nothing is said",
     [](Attack& a) {
         a.fresh_connection();
         a.pause(300);
     }},
    {"fresh-enable-first", "rings enabled before anything is set up",
     [](Attack& a) {
         if (!a.fresh_connection()) return;
         a.message_value(Request::kSetVringEnable, VringState{0, 1});
         a.message_value(Request::kSetVringEnable, VringState{1, 1});
     }},
    {"fresh-rings-without-memory", "rings before any memory table",
     [](Attack& a) {
         if (!a.fresh_connection()) return;
         a.message_value(Request::kSetVringNum, VringState{1, 64});
         const uint64_t base = a.port.memory().user_address(0);
         vring_address(a, base, base + 4096, base + 8192);
     }},
    {"fresh-base-first", "GET_VRING_BASE of rings that never were",
     [](Attack& a) {
         if (!a.fresh_connection()) return;
         a.message_value(Request::kGetVringBase, VringState{0, 0});
         a.message_value(Request::kGetVringBase, VringState{77, 0});
     }},
    {"fresh-last-ring-first", "the highest ring number before the first",
     [](Attack& a) {
         if (!a.fresh_connection()) return;
         a.message_value(Request::kSetVringNum, VringState{255, 64});
         a.message_value(Request::kSetVringEnable, VringState{255, 1});
     }},
    {"reconnect-storm", "500 connections, closed at every stage of the handshake",
     [](Attack& a) {
         a.port.set_handshake(true);
         a.left = true;
         for (uint64_t i = 0; i < 500; i++) {
             const uint64_t before = a.port.connections();
             a.port.disconnect();
             const bool back = a.loop.run_until(
                 2000, [&] { return a.port.connections() != before || a.port.running(); });
             if (!back) return;
             const uint64_t until = now_ns() + i * 4000;  // up to 2 ms into the handshake
             while (now_ns() < until)
                 a.loop.run_once(0);
         }
     }},
    {"die-mid-burst", "the connection dies with a full ring under way",
     [](Attack& a) {
         while (a.port.send(a.frame)) {
         }
         a.port.disconnect();
         a.left = true;
     }},
    {"die-mid-chain", "the connection dies with half a chain published",
     [](Attack& a) {
         a.send_chain({a.buffer(0, 100, kDescNext, 1), a.buffer(1, 0xffffffu, kDescNext, 0)});
         a.port.disconnect();
         a.left = true;
     }},
};

}  // namespace

std::span<const HostileCase> protocol_cases() {
    return kProtocol;
}

}  // namespace slash32::frontend
