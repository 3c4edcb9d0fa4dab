// SPDX-License-Identifier: Apache-2.0
// vhost-user messages that librte_vhost must not be left alone with.
#include "drivers/vhost/message.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

namespace slash32::testing {
namespace {

constexpr uint32_t kBytes = 1 << 20;

struct Region {
    uint64_t guest_address = 0;
    uint64_t bytes = kBytes;
    uint64_t user_address = 1ULL << 40;
    uint64_t offset = 0;
};

// What librte_vhost 22.11 hands over: 644 bytes of message, 8 descriptors, their number.
class Context {
  public:
    Context(VhostRequest request, uint32_t bytes) {
        put(0, static_cast<uint32_t>(request));
        put(4, uint32_t{1});
        put(8, bytes);
        for (size_t i = 0; i < 8; ++i)
            put(644 + 4 * i, -1);
        put(676, 0);
    }
    template <typename T>
    Context& put(size_t offset, T value) {
        std::memcpy(data_.data() + offset, &value, sizeof value);
        return *this;
    }
    Context& fds(const std::vector<int>& list) {
        for (size_t i = 0; i < list.size(); ++i)
            put(644 + 4 * i, list[i]);
        return put(676, static_cast<int>(list.size()));
    }
    Context& regions(const std::vector<Region>& list) {
        put(12, static_cast<uint32_t>(list.size()));
        for (size_t i = 0; i < list.size(); ++i)
            put(20 + i * sizeof(Region), list[i]);
        return put(8, static_cast<uint32_t>(8 + list.size() * sizeof(Region)));
    }
    VhostMessage message() { return VhostMessage(data_.data()); }
    std::string objection() { return message().objection(); }

  private:
    std::array<std::byte, 680> data_{};
};

class VhostMemory : public ::testing::Test {
  protected:
    VhostMemory() : fd_(memfd_create("guest", MFD_CLOEXEC)) {
        EXPECT_EQ(ftruncate(fd_, kBytes), 0);
    }
    ~VhostMemory() override { close(fd_); }

    std::string objection(const std::vector<Region>& regions, int fd = -1) {
        const std::vector<int> fds(regions.size(), fd >= 0 ? fd : fd_);
        return Context(VhostRequest::kSetMemTable, 0).regions(regions).fds(fds).objection();
    }

    int fd_;
};

TEST_F(VhostMemory, TakesRegionsOfAFile) {
    Region second;
    second.guest_address = kBytes;
    second.bytes = kBytes / 2;
    second.offset = kBytes / 2;
    EXPECT_EQ(objection({Region(), second}), "");
}

TEST_F(VhostMemory, RefusesRegionsThatCannotBeOrLie) {
    Region r;
    r.bytes = 0;
    EXPECT_EQ(objection({r}), "region 0 of its memory has no bytes");
    r = Region();
    r.bytes = 1ULL << 62;
    EXPECT_EQ(objection({r}), "region 0 of its memory is larger than its file");
    r = Region();
    r.offset = ~0ULL - 4095;
    EXPECT_EQ(objection({r}), "region 0 of its memory wraps round 64 bits");
    r = Region();
    r.guest_address = ~0ULL - 4095;
    EXPECT_EQ(objection({Region(), r}), "region 1 of its memory wraps round 64 bits");
    EXPECT_EQ(objection({Region(), Region()}), "regions 0 and 1 of its memory overlap");
    EXPECT_NE(objection({}), "");
}

TEST_F(VhostMemory, RefusesWhatIsNoWritableFile) {
    const int event = eventfd(0, EFD_CLOEXEC);
    EXPECT_EQ(objection({Region()}, event), "region 0 of its memory is not in a file");
    close(event);
    const std::string path = "/proc/self/fd/" + std::to_string(fd_);
    const int read_only = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(objection({Region()}, read_only), "region 0 of its memory cannot be mapped");
    close(read_only);
}

TEST_F(VhostMemory, RefusesATableShorterThanItSays) {
    Context c(VhostRequest::kSetMemTable, 0);
    c.regions({Region()}).fds({fd_}).put(8, uint32_t{24});
    EXPECT_NE(c.objection(), "");
    c.regions({Region()}).fds({});
    EXPECT_NE(c.objection(), "");
}

TEST(VhostMessage, MakesTheCallDescriptorNonBlocking) {
    const int fd = eventfd(0, EFD_CLOEXEC);
    EXPECT_EQ(Context(VhostRequest::kSetVringCall, 8).fds({fd}).objection(), "");
    EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
}

TEST(VhostMessage, RefusesACallDescriptorThatIsNoEventfdAndClosesIt) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    Context c(VhostRequest::kSetVringCall, 8);
    c.fds({ends[1]});
    EXPECT_EQ(c.objection(), "its call descriptor is not an eventfd");
    VhostMessage message = c.message();
    message.close_descriptors();
    EXPECT_EQ(fcntl(ends[1], F_GETFD), -1);
    message.close_descriptors();  // closes nothing twice
    close(ends[0]);
}

TEST(VhostMessage, RefusesAShortPayloadAndAnotherVersion) {
    EXPECT_EQ(Context(VhostRequest::kSetVringAddr, 40).objection(), "");
    EXPECT_NE(Context(VhostRequest::kSetVringAddr, 8).objection(), "");
    EXPECT_NE(Context(VhostRequest::kSetVringNum, 0).objection(), "");
    EXPECT_NE(Context(VhostRequest::kSetFeatures, 8).put(4, uint32_t{2}).objection(), "");
}

TEST(VhostMessage, NamesTheVring) {
    EXPECT_EQ(Context(VhostRequest::kSetVringKick, 8).put(12, uint64_t{0x103}).message().vring(),
              3u);
    EXPECT_EQ(Context(VhostRequest::kSetVringNum, 8).put(12, uint64_t{5}).message().vring(), 5u);
    EXPECT_EQ(Context(VhostRequest::kSetFeatures, 8).message().vring(), UINT32_MAX);
}

}  // namespace
}  // namespace slash32::testing
