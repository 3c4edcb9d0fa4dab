// SPDX-License-Identifier: Apache-2.0
// A whole frontend against a small backend in the same process, which can die at any point.
#include "tests/frontend/frontend.h"

#include "tests/frontend/probe.h"
#include "tests/frontend/ring_arith.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace slash32::frontend {
namespace {

// Connects as slash32d does, answers the handshake, and reads transmit rings. It maps the shared
// memory itself, so that it sees only what the protocol gave it.
class SmallBackend {
  public:
    uint64_t offered = kFeatureVersion1 | kFeatureMergeable | kFeatureIndirect |
                       kFeatureEventIndex | kFeatureMultiQueue | kFeatureControlQueue |
                       kFeatureProtocolFeatures;
    uint64_t protocol = kProtocolMq | kProtocolReplyAck;
    uint64_t queue_pairs = 8;
    uint64_t refuse = 0;  // the request that gets a negative acknowledgement

    ~SmallBackend() { die(); }

    bool connect(const std::string& path) {
        fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        return ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    }
    void die() {
        if (base_ != nullptr) munmap(base_, size_);
        if (fd_ >= 0) ::close(fd_);
        for (const int fd : fds_)
            ::close(fd);
        fds_.clear();
        base_ = nullptr;
        fd_ = -1;
        rings_.clear();
    }
    // Handles one message if there is one.
    void serve() {
        struct __attribute__((packed)) {
            MessageHeader header;
            std::array<uint8_t, 512> payload;
        } message;
        if (!receive(&message.header, sizeof(message.header))) return;
        while (message.header.size > 0 && !receive(message.payload.data(), message.header.size)) {
        }
        requests.push_back(message.header.request);
        VringState state{};
        uint64_t value = 0;
        std::memcpy(&state, message.payload.data(), sizeof(state));
        std::memcpy(&value, message.payload.data(), sizeof(value));
        std::optional<uint64_t> reply;
        switch (static_cast<Request>(message.header.request)) {
            case Request::kGetFeatures:
                reply = offered;
                break;
            case Request::kGetProtocolFeatures:
                reply = protocol;
                break;
            case Request::kGetQueueNum:
                reply = queue_pairs;
                break;
            case Request::kSetMemTable:
                map(message.payload.data());
                break;
            case Request::kSetVringNum:
                rings_[state.index].size = state.num;
                break;
            case Request::kSetVringBase:
                rings_[state.index].next = static_cast<uint16_t>(state.num);
                break;
            case Request::kGetVringBase: {
                const VringState base{state.index, rings_[state.index].next};
                std::memcpy(&value, &base, sizeof(value));
                reply = value;
                break;
            }
            case Request::kSetVringAddr:
                std::memcpy(&rings_[state.index].address, message.payload.data(),
                            sizeof(VringAddr));
                break;
            default:
                break;
        }
        if (!reply && (message.header.flags & kFlagNeedReply) != 0) {
            reply = message.header.request == refuse ? 1 : 0;
        }
        if (!reply) return;
        const struct __attribute__((packed)) {
            MessageHeader header;
            uint64_t value;
        } answer{{message.header.request, kFlagVersion1 | kFlagReply, 8}, *reply};
        EXPECT_EQ(::send(fd_, &answer, sizeof(answer), MSG_NOSIGNAL),
                  static_cast<ssize_t>(sizeof(answer)));
    }
    // Reads up to n frames of a transmit ring and returns them; without `give_back` it dies
    // before it has told so.
    std::vector<Probe> consume(uint32_t vring, size_t n, bool give_back = true) {
        std::vector<Probe> probes;
        Ring& ring = rings_.at(vring);
        auto* available = reinterpret_cast<uint16_t*>(at_user(ring.address.available));
        auto* used = reinterpret_cast<uint16_t*>(at_user(ring.address.used));
        auto* table = reinterpret_cast<Descriptor*>(at_user(ring.address.descriptors));
        while (probes.size() < n && ring.next != available[1]) {
            const uint16_t head = available[2 + ring.next % ring.size];
            const uint8_t* at = base_ + (table[head].address - guest_);
            const auto probe =
                parse_probe({at + sizeof(NetHeader), table[head].bytes - sizeof(NetHeader)});
            EXPECT_TRUE(probe.has_value());
            probes.push_back(probe.value_or(Probe()));
            ring.next = index_add(ring.next, 1);
            if (!give_back) continue;
            auto* elements = reinterpret_cast<UsedElement*>(used + 2);
            elements[used[1] % ring.size] = {head, 0};
            used[1] = index_add(used[1], 1);
        }
        return probes;
    }
    std::vector<uint32_t> requests;
    size_t rings() const { return rings_.size(); }

  private:
    struct Ring {
        uint32_t size = 0;
        uint16_t next = 0;
        VringAddr address{};
    };

    bool receive(void* to, size_t n) {
        if (fd_ < 0) return false;
        iovec iov{to, n};
        alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control{};
        msghdr header{};
        header.msg_iov = &iov;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        if (recvmsg(fd_, &header, 0) != static_cast<ssize_t>(n)) return false;
        if (const cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
            fds_.push_back(fd);
        }
        return true;
    }
    void map(const uint8_t* payload) {
        MemoryTable table{};
        std::memcpy(&table, payload, memory_table_bytes(1));
        guest_ = table.region[0].guest_address;
        user_ = table.region[0].user_address;
        size_ = table.region[0].size;
        void* base = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fds_.back(), 0);
        ASSERT_NE(base, MAP_FAILED);
        base_ = static_cast<uint8_t*>(base);
    }
    uint8_t* at_user(uint64_t address) { return base_ + (address - user_); }

    int fd_ = -1;
    std::vector<int> fds_;
    uint8_t* base_ = nullptr;
    size_t size_ = 0;
    uint64_t guest_ = 0;
    uint64_t user_ = 0;
    std::map<uint32_t, Ring> rings_;
};

class FrontendTest : public testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/s32-frontend-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        dir_ = name;
        options_ = FrontendOptions::small(dir_ + "/vm0.sock");
    }
    void TearDown() override { rmdir(dir_.c_str()); }

    static bool run(Frontend& f, SmallBackend& b) {
        for (int i = 0; i < 2000 && !f.running(); i++) {
            f.loop().run_once(0);
            b.serve();
        }
        return f.running();
    }
    static void send(Frontend& f, uint32_t sequence) {
        std::vector<uint8_t> frame;
        build_probe({1, 0, 1, sequence, 0}, Mac{}, 80, frame);
        ASSERT_TRUE(f.send(frame));
    }
    static std::vector<uint32_t> sequences(const std::vector<Probe>& probes) {
        std::vector<uint32_t> list;
        for (const Probe& p : probes)
            list.push_back(p.sequence);
        return list;
    }

    std::string dir_;
    FrontendOptions options_;
};

TEST_F(FrontendTest, OffersAgainExactlyWhatADeadBackendHadNotReturned) {
    Frontend f(options_);
    ASSERT_TRUE(f.open().has_value());
    SmallBackend first;
    ASSERT_TRUE(first.connect(options_.path));
    ASSERT_TRUE(run(f, first)) << f.error();
    for (uint32_t i = 0; i < 10; i++)
        send(f, i);
    EXPECT_EQ(sequences(first.consume(1, 4)), (std::vector<uint32_t>{0, 1, 2, 3}));
    // Two more are read, and the backend dies before it says so: they may come again.
    EXPECT_EQ(sequences(first.consume(1, 2, false)), (std::vector<uint32_t>{4, 5}));
    first.die();
    ASSERT_TRUE(f.wait_disconnected(1000));
    send(f, 10);  // while there is no backend

    SmallBackend second;
    ASSERT_TRUE(second.connect(options_.path));
    ASSERT_TRUE(run(f, second)) << f.error();
    EXPECT_EQ(f.connections(), 2u);
    EXPECT_EQ(sequences(second.consume(1, 100)), (std::vector<uint32_t>{4, 5, 6, 7, 8, 9, 10}));
    send(f, 11);
    EXPECT_EQ(sequences(second.consume(1, 100)), (std::vector<uint32_t>{11}));
    EXPECT_EQ(f.malformed(), 0u);
}

TEST_F(FrontendTest, ResumesWhereIndicesHaveWrapped) {
    Frontend f(options_);
    ASSERT_TRUE(f.open().has_value());
    SmallBackend first;
    ASSERT_TRUE(first.connect(options_.path));
    ASSERT_TRUE(run(f, first));
    for (uint32_t i = 0; i < 65536 + 5; i++) {
        send(f, i);
        ASSERT_EQ(first.consume(1, 1).size(), 1u);
    }
    send(f, 7);
    first.die();
    ASSERT_TRUE(f.wait_disconnected(1000));
    SmallBackend second;
    ASSERT_TRUE(second.connect(options_.path));
    ASSERT_TRUE(run(f, second));
    EXPECT_EQ(sequences(second.consume(1, 100)), (std::vector<uint32_t>{7}));
}

TEST_F(FrontendTest, UsesAsManyQueuePairsAsTheBackendHas) {
    options_.queue_pairs = 4;
    Frontend f(options_);
    ASSERT_TRUE(f.open().has_value());
    SmallBackend b;
    b.queue_pairs = 2;
    ASSERT_TRUE(b.connect(options_.path));
    ASSERT_TRUE(run(f, b));
    EXPECT_EQ(f.queue_pairs(), 2);
    EXPECT_EQ(b.rings(), 4u);
}

TEST_F(FrontendTest, RefusesABackendThatLostFeatures) {
    Frontend f(options_);
    ASSERT_TRUE(f.open().has_value());
    SmallBackend first;
    ASSERT_TRUE(first.connect(options_.path));
    ASSERT_TRUE(run(f, first));
    first.die();
    ASSERT_TRUE(f.wait_disconnected(1000));
    SmallBackend second;
    second.offered &= ~kFeatureMergeable;
    ASSERT_TRUE(second.connect(options_.path));
    EXPECT_FALSE(run(f, second));
    EXPECT_NE(f.error().find("no longer offers"), std::string::npos) << f.error();
}

TEST_F(FrontendTest, ReportsARefusedMemoryTable) {
    Frontend f(options_);
    ASSERT_TRUE(f.open().has_value());
    SmallBackend b;
    b.refuse = static_cast<uint64_t>(Request::kSetMemTable);
    ASSERT_TRUE(b.connect(options_.path));
    EXPECT_FALSE(run(f, b));
    EXPECT_NE(f.error().find("refused request 5"), std::string::npos) << f.error();
}

TEST_F(FrontendTest, SpeaksToABackendWithoutProtocolFeatures) {
    Frontend f(options_);
    ASSERT_TRUE(f.open().has_value());
    SmallBackend b;
    b.offered = kFeatureVersion1;
    ASSERT_TRUE(b.connect(options_.path));
    ASSERT_TRUE(run(f, b)) << f.error();
    for (int i = 0; i < 100; i++)
        b.serve();
    EXPECT_EQ(std::count(b.requests.begin(), b.requests.end(),
                         static_cast<uint32_t>(Request::kSetVringEnable)),
              0);
    send(f, 3);
    EXPECT_EQ(sequences(b.consume(1, 9)), (std::vector<uint32_t>{3}));
}

TEST_F(FrontendTest, FailsOnAPathThatCannotBe) {
    options_.path = "/nonexistent/dir/vm0.sock";
    Frontend f(options_);
    EXPECT_FALSE(f.open().has_value());
    options_.path = std::string(200, 'x');
    Frontend g(options_);
    EXPECT_FALSE(g.open().has_value());
}

TEST(ProbeTest, SurvivesOnlyIntact) {
    for (const size_t bytes : {62, 63, 64, 100, 1514, 9000}) {
        std::vector<uint8_t> frame;
        build_probe({7, 3, 999, 0x01020304, 55}, Mac{}, bytes, frame);
        ASSERT_EQ(frame.size(), bytes);
        const auto probe = parse_probe(frame);
        ASSERT_TRUE(probe.has_value());
        EXPECT_EQ(probe->run, 7);
        EXPECT_EQ(probe->source, 3);
        EXPECT_EQ(probe->target, 999);
        EXPECT_EQ(probe->sequence, 0x01020304u);
        EXPECT_EQ(probe->sent_ns, 55u);
        for (const size_t at : {size_t{22}, size_t{30}, size_t{44}, bytes - 1}) {
            std::vector<uint8_t> damaged = frame;
            damaged[at] ^= 0x10;
            EXPECT_FALSE(parse_probe(damaged).has_value()) << bytes << ' ' << at;
        }
        EXPECT_FALSE(parse_probe(std::span(frame).first(bytes - 1)).has_value());
    }
}

}  // namespace
}  // namespace slash32::frontend
