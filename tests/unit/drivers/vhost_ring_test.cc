// SPDX-License-Identifier: Apache-2.0
// The short way through a ring and librte_vhost's take turns at it: whatever comes, and whatever
// the frontend has to say meanwhile, nothing is lost, doubled, overtaken or changed.
#include "tests/unit/drivers/vhost_fixture.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <random>

namespace slash32::testing {
namespace {

using frontend::MemoryTable;
using frontend::NetHeader;
using frontend::Request;
using frontend::RxFrame;

// What a guest agrees to, by which rings and headers differ.
struct Guest {
    const char* name;
    void (*change)(FrontendOptions&);
};

const Guest kGuests[] = {
    {"Modern", [](FrontendOptions&) {}},
    // Without mergeable buffers, one large segment would take most of a ring.
    {"NoMergeableBuffers", [](FrontendOptions& o) { o.mergeable = false, o.offloads = 0; }},
    {"NoEventIndex", [](FrontendOptions& o) { o.event_index = false; }},
    {"NoIndirect", [](FrontendOptions& o) { o.indirect = false; }},
    {"HeaderApart", [](FrontendOptions& o) { o.separate_header = true; }},
    {"ShortHeader", [](FrontendOptions& o) { o.version1 = o.mergeable = false, o.offloads = 0; }},
    {"SmallRings", [](FrontendOptions& o) { o.tx.ring_size = o.rx.ring_size = 64; }},
};

class VhostRingTest : public VhostDriverTest, public ::testing::WithParamInterface<Guest> {
  protected:
    // What one guest sends goes to the other.
    void SetUp() override {
        VhostDriverTest::SetUp();
        const PortHandles a = add(spec(1));
        const PortHandles b = add(spec(2));
        worker_.connect(a, b.tx);
        from_ = std::make_unique<Frontend>(guest(1));
        to_ = std::make_unique<Frontend>(guest(2));
        ASSERT_NO_FATAL_FAILURE(run_both(*from_, a, *to_, b));
    }

    FrontendOptions guest(uint16_t id) const {
        FrontendOptions o = options(id);
        GetParam().change(o);
        return o;
    }

    // Frames of all sizes, which differ; one of four is not for the short way.
    std::vector<uint8_t> next_frame() {
        const size_t largest = 1514;
        std::vector<uint8_t> f = frame(18 + random_() % (largest - 17), 0);
        for (size_t i = 14; i < f.size(); ++i)
            f[i] = static_cast<uint8_t>(random_());
        return f;
    }
    NetHeader next_header() {
        NetHeader header{};
        if (random_() % 4 == 0) header.flags = frontend::kNetDataValid;
        return header;
    }

    // Takes what has come, and compares it with what was sent.
    void receive() {
        to_->receive_all([&](const RxFrame& r) {
            ASSERT_FALSE(under_way_.empty());
            ASSERT_EQ(std::vector(r.data.begin(), r.data.end()), under_way_.front());
            EXPECT_EQ(r.header.gso_type, 0);
            under_way_.pop_front();
        });
    }
    void drain() {
        for (int i = 0; i < 5000 && !under_way_.empty() && !HasFatalFailure(); ++i) {
            from_->loop().run_once(0);
            to_->loop().run_once(1);
            receive();
        }
        EXPECT_EQ(under_way_.size(), 0u);
    }
    void send_burst(size_t frames) {
        for (size_t n = 0; n < frames; ++n) {
            std::vector<uint8_t> f = next_frame();
            ASSERT_TRUE(from_->send(f, next_header()));
            under_way_.push_back(std::move(f));
        }
    }

    std::unique_ptr<Frontend> from_;
    std::unique_ptr<Frontend> to_;
    std::minstd_rand random_{32};
    std::deque<std::vector<uint8_t>> under_way_;
};

TEST_P(VhostRingTest, PassesPlainAndOtherPacketsInTheirOrder) {
    for (int round = 0; round < 200; ++round) {
        ASSERT_NO_FATAL_FAILURE(send_burst(1 + random_() % 20));
        ASSERT_NO_FATAL_FAILURE(drain()) << "round " << round;
    }
    EXPECT_EQ(from_->malformed() + to_->malformed(), 0u);
}

// Those that change what the rings lie on, or may.
TEST_P(VhostRingTest, LosesNothingToMessages) {
    for (int round = 0; round < 100; ++round) {
        ASSERT_NO_FATAL_FAILURE(send_burst(20));
        Frontend& talker = round % 2 == 0 ? *from_ : *to_;
        if (round % 4 < 2) {
            // Other regions, or the library would see that nothing is new.
            MemoryTable table = talker.memory_table();
            const uint64_t half = table.region[0].size / 2 / 4096 * 4096;
            if (round % 8 < 4) {
                table.regions = 2;
                table.region[1] = table.region[0];
                table.region[0].size = half;
                table.region[1].guest_address += half;
                table.region[1].user_address += half;
                table.region[1].mmap_offset += half;
                table.region[1].size -= half;
            }
            const int fds[] = {talker.memory().fd(), talker.memory().fd()};
            const auto bytes = frontend::memory_table_bytes(table.regions);
            ASSERT_TRUE(talker.request(Request::kSetMemTable,
                                       {reinterpret_cast<const uint8_t*>(&table), bytes},
                                       std::span(fds).first(table.regions)));
        } else {
            const uint64_t vring = round % 2 == 0 ? 1 : 0;
            const int fd = talker.call_fd(static_cast<uint16_t>(vring));
            ASSERT_TRUE(talker.request(Request::kSetVringCall,
                                       {reinterpret_cast<const uint8_t*>(&vring), sizeof vring},
                                       {&fd, 1}));
        }
        ASSERT_NO_FATAL_FAILURE(drain()) << "round " << round;
    }
    EXPECT_EQ(log_.count(PortId{1}, Type::kDisconnected), 0u);
    EXPECT_EQ(log_.count(PortId{2}, Type::kDisconnected), 0u);
}

INSTANTIATE_TEST_SUITE_P(Guests, VhostRingTest, ::testing::ValuesIn(kGuests),
                         [](const auto& guest) { return std::string(guest.param.name); });

class VhostRingsTest : public VhostDriverTest {};

// Several workers send to a port of one queue.
TEST_F(VhostRingsTest, AreSharedByWorkers) {
    const PortHandles a = add(spec(1));
    const PortHandles b = add(spec(2));
    const PortHandles c = add(spec(3));
    worker_.connect(a, c.tx);
    other_worker_.connect(b, c.tx);
    Frontend fa(options(1));
    Frontend fb(options(2));
    Frontend fc(options(3));
    ASSERT_NO_FATAL_FAILURE(run_both(fa, a, fb, b));
    ASSERT_NO_FATAL_FAILURE(run(fc, c));
    constexpr uint32_t kFrames = 20000;
    uint32_t sent[2] = {};
    uint32_t got[2] = {};
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (got[0] + got[1] < 2 * kFrames && std::chrono::steady_clock::now() < end) {
        for (unsigned from = 0; from < 2; ++from) {
            // No more under way than the ring holds.
            if (sent[from] == kFrames || sent[from] - got[from] > 100) continue;
            std::vector<uint8_t> f = frame(60 + sent[from] % 1000, static_cast<uint8_t>(from));
            std::memcpy(&f[16], &sent[from], 4);
            NetHeader header{};
            if (sent[from] % 3 == 0) header.flags = frontend::kNetDataValid;
            if ((from == 0 ? fa : fb).send(f, header)) ++sent[from];
        }
        for (Frontend* f : {&fa, &fb, &fc})
            f->loop().run_once(0);
        fc.receive([&](const RxFrame& r) {
            const uint8_t from = r.data[15];
            ASSERT_LT(from, 2);
            uint32_t number = 0;
            std::memcpy(&number, &r.data[16], 4);
            ASSERT_EQ(number, got[from]++);
            ASSERT_EQ(r.data.size(), 60 + number % 1000);
            ASSERT_TRUE(std::all_of(r.data.begin() + 20, r.data.end(),
                                    [&](uint8_t byte) { return byte == from; }));
        });
        if (HasFatalFailure()) break;
    }
    EXPECT_EQ(got[0] + got[1], 2 * kFrames);
    EXPECT_EQ(fc.malformed(), 0u);
    worker_.disconnect(a);
    other_worker_.disconnect(b);
}

// The pages that the router writes to are logged while the guest migrates, and not before.
TEST_F(VhostRingsTest, AreLoggedWhileTheGuestMigrates) {
    const PortHandles a = add(spec(1));
    worker_.connect(a, a.tx);
    Frontend f(options(1));
    ASSERT_NO_FATAL_FAILURE(run(f, a));
    ASSERT_TRUE(passes(f, f));

    const uint64_t bytes = (frontend::kGuestBase + f.memory().size()) / 4096 / 8 + 1;
    const uint64_t log[] = {bytes, 0};
    const int fd = memfd_create("log", MFD_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
    const auto* bitmap =
        static_cast<const uint8_t*>(mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0));
    ASSERT_NE(bitmap, MAP_FAILED);
    const auto logged = [&] {
        return std::any_of(bitmap, bitmap + bytes, [](uint8_t b) { return b != 0; });
    };
    ASSERT_TRUE(f.request(Request::kSetLogBase, {reinterpret_cast<const uint8_t*>(log), sizeof log},
                          {&fd, 1}));
    ASSERT_TRUE(passes(f, f));
    EXPECT_FALSE(logged());

    constexpr uint64_t kLogAll = 1u << 26;
    for (const uint64_t features : {f.features() | kLogAll, f.features()}) {
        ASSERT_TRUE(f.request(Request::kSetFeatures,
                              {reinterpret_cast<const uint8_t*>(&features), sizeof features}));
        ASSERT_TRUE(passes(f, f));
        EXPECT_TRUE(logged());
    }
    munmap(const_cast<uint8_t*>(bitmap), bytes);
    close(fd);
    worker_.disconnect(a);
}

// What QEMU asks for when a guest has come that does not announce itself.
TEST_F(VhostRingsTest, BringTheAnnouncementOfAGuestThatHasCome) {
    const PortHandles a = add(spec(1));
    std::atomic<bool> announced{false};
    worker_.inspect = [&](rte_mbuf* m) {
        constexpr uint8_t kRarp[] = {0x80, 0x35};
        if (std::memcmp(rte_pktmbuf_mtod_offset(m, const uint8_t*, 12), kRarp, 2) == 0)
            announced = true;
    };
    worker_.connect(a, a.tx);
    Frontend f(options(1));
    ASSERT_NO_FATAL_FAILURE(run(f, a));
    ASSERT_TRUE(passes(f, f));
    const uint64_t mac = 0x020000000001;
    ASSERT_TRUE(
        f.request(Request::kSendRarp, {reinterpret_cast<const uint8_t*>(&mac), sizeof mac}));
    for (int i = 0; i < 1000 && !announced; ++i)
        ASSERT_TRUE(passes(f, f));
    EXPECT_TRUE(announced);
    worker_.disconnect(a);
}

}  // namespace
}  // namespace slash32::testing
