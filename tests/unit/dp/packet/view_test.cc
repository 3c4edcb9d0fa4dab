// SPDX-License-Identifier: Apache-2.0
// Chains: headers gathered, tails cut, buffers accounted for.
#include "dp/packet/view.h"

#include "dp/packet/headers.h"
#include "tests/support/lab.h"

#include <gtest/gtest.h>
#include <rte_mempool.h>

namespace slash32::test {
namespace {

Bytes read_all(const rte_mbuf* packet) {
    Bytes data(packet->pkt_len);
    ChainReader(packet, 0).read(data.data(), packet->pkt_len);
    return data;
}

class Chain : public testing::TestWithParam<std::vector<size_t>> {
  protected:
    rte_mbuf* make(size_t length) {
        return lab_.make_mbuf(Input{.bytes = counting(length), .segments = GetParam()});
    }
    Lab lab_;
    unsigned before_ = rte_mempool_avail_count(lab_.context().pool);
};

TEST_P(Chain, KeepsItsBytesWhenHeadersAreGathered) {
    for (const uint32_t wanted : {0u, 1u, 14u, 100u, 384u, 1000u, 5000u}) {
        rte_mbuf* packet = make(1200);
        pull_headers(packet, wanted);
        EXPECT_GE(packet->data_len, std::min(wanted, 1200u));
        EXPECT_EQ(read_all(packet), counting(1200));
        const char* reason = nullptr;
        EXPECT_EQ(rte_mbuf_check(packet, 1, &reason), 0) << reason;
        rte_pktmbuf_free(packet);
        EXPECT_EQ(rte_mempool_avail_count(lab_.context().pool), before_);
    }
}

TEST_P(Chain, IsCutAtEveryLength) {
    for (uint32_t length = 1; length <= 600; length += 7) {
        rte_mbuf* packet = make(600);
        trim_packet(packet, length);
        EXPECT_EQ(packet->pkt_len, length);
        EXPECT_EQ(read_all(packet), counting(length));
        const char* reason = nullptr;
        EXPECT_EQ(rte_mbuf_check(packet, 1, &reason), 0) << reason;
        rte_pktmbuf_free(packet);
        EXPECT_EQ(rte_mempool_avail_count(lab_.context().pool), before_);
    }
}

TEST_P(Chain, BecomesOneBuffer) {
    rte_mbuf* packet = make(600);
    ASSERT_TRUE(resize_to_single(packet, 700));
    EXPECT_EQ(packet->pkt_len, 700u);
    EXPECT_EQ(packet->data_len, 700u);
    EXPECT_EQ(packet->nb_segs, 1u);
    EXPECT_FALSE(resize_to_single(packet, 3000));
    rte_pktmbuf_free(packet);
    EXPECT_EQ(rte_mempool_avail_count(lab_.context().pool), before_);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Chain,
                         testing::Values(std::vector<size_t>{}, std::vector<size_t>{0},
                                         std::vector<size_t>{1}, std::vector<size_t>{1, 1, 1, 1},
                                         std::vector<size_t>{13, 0, 0, 7},
                                         std::vector<size_t>{100, 200, 50}));

TEST(HeaderView, HoldsNoHeaderThatIsNotWholeInTheFirstBuffer) {
    Lab lab;
    rte_mbuf* packet = lab.make_mbuf(Input{.bytes = counting(40), .segments = {20}});
    const HeaderView view(packet);
    EXPECT_NE(view.at<EthernetHeader>(6), nullptr);
    EXPECT_EQ(view.at<EthernetHeader>(7), nullptr);
    EXPECT_EQ(view.missing(7, 14, DropReason::kTruncatedEthernet), DropReason::kSplitHeader);
    EXPECT_EQ(view.missing(27, 14, DropReason::kTruncatedEthernet), DropReason::kTruncatedEthernet);
    EXPECT_FALSE(view.holds(UINT32_MAX, 1));
    EXPECT_FALSE(view.holds(1, UINT32_MAX));
    rte_pktmbuf_free(packet);
}

}  // namespace
}  // namespace slash32::test
