// SPDX-License-Identifier: Apache-2.0
// Connection tracking as sequences of segments: "> S 0" is a SYN with sequence number 0 from the
// end that the connection is charged to, "<" one from the other, in the words of tcp_words();
// behind
// "=" stand the verdict and the state that it leads to.
#include "dp/table/track.h"

#include "dp/packet/headers.h"
#include "tests/support/packet.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace slash32::test {
namespace {

const char* name_of(FlowState state) {
    switch (state) {
        case FlowState::kTcpSynSent:
            return "syn_sent";
        case FlowState::kTcpSynSent2:
            return "syn_sent2";
        case FlowState::kTcpSynReceived:
            return "syn_received";
        case FlowState::kTcpEstablished:
            return "established";
        case FlowState::kTcpFinWait:
            return "fin_wait";
        case FlowState::kTcpCloseWait:
            return "close_wait";
        case FlowState::kTcpLastAck:
            return "last_ack";
        case FlowState::kTcpTimeWait:
            return "time_wait";
        case FlowState::kTcpClose:
            return "close";
        case FlowState::kTcpUnacknowledged:
            return "picked_up";
        case FlowState::kTcpMaxRetransmit:
            return "stuck";
        case FlowState::kSctpCookieWait:
            return "cookie_wait";
        case FlowState::kSctpCookieEchoed:
            return "cookie_echoed";
        case FlowState::kSctpEstablished:
            return "sctp_established";
        case FlowState::kSctpShutdownSent:
            return "shutdown_sent";
        case FlowState::kSctpShutdownAckSent:
            return "shutdown_ack_sent";
        case FlowState::kSctpClosed:
            return "sctp_closed";
        default:
            return "other";
    }
}

// A connection and the packets of it.
class Connection {
  public:
    Connection() {
        limits_.tcp_loose = true;
        limits_.tcp_liberal = false;
    }
    FlowLimits& limits() { return limits_; }
    FlowEntry& entry() { return *entry_; }

    // The verdict and the state after it: "ok established".
    std::string feed(bool forward, Bytes transport, uint8_t protocol, size_t header) {
        bytes_.assign(40, 0);
        bytes_.insert(bytes_.end(), transport.begin(), transport.end());
        PacketMeta meta;
        meta.kind = PacketKind::kIpv6;
        meta.l3 = bytes_.data();
        meta.l3_length = 40;
        meta.l4_length = static_cast<uint8_t>(header);
        meta.protocol = protocol;
        meta.ip_length = static_cast<uint16_t>(bytes_.size());
        return feed(forward, meta);
    }
    std::string feed(bool forward, const PacketMeta& meta) {
        if (!begun_) {
            begun_ = begin_tracking(meta, limits_, *entry_);
            return begun_ ? "ok " + state() : "invalid";
        }
        const TrackResult result = track(meta, forward ? 0 : 1, 1, limits_, *entry_);
        if (result.verdict == TrackVerdict::kInvalid) return "invalid " + state();
        if (result.verdict == TrackVerdict::kRestart) return "restart";
        if (result.verdict == TrackVerdict::kEnd) return "end";
        return "ok " + state();
    }
    std::string state() const {
        const FlowStatus status = entry_->first.status;
        return std::string(name_of(status.state)) +
               (status.phase == FlowPhase::kAssured ? "!" : "");
    }

  private:
    FlowLimits limits_{};
    std::unique_ptr<FlowEntry> entry_ = std::make_unique<FlowEntry>();
    Bytes bytes_;
    bool begun_ = false;
};

struct Case {
    const char* shows;
    std::vector<const char*> lines;
    bool loose = true;
    bool liberal = false;
};

void PrintTo(const Case& c, std::ostream* out) {
    *out << c.shows;
}

class TcpTracking : public testing::TestWithParam<Case> {};

TEST_P(TcpTracking, Holds) {
    const Case& c = GetParam();
    Connection connection;
    connection.limits().tcp_loose = c.loose;
    connection.limits().tcp_liberal = c.liberal;
    for (const char* line : c.lines) {
        std::istringstream words{line};
        std::string direction;
        std::string letters;
        std::string numbers;
        std::string equals;
        words >> direction >> letters >> numbers >> equals;
        std::string expected;
        std::getline(words >> std::ws, expected);
        const auto segment = tcp_words(1, 2, letters, numbers);
        ASSERT_TRUE(segment) << line;
        const size_t header = segment->header.header.size();
        Bytes bytes = segment->header.header;
        bytes.resize(header + segment->payload);
        EXPECT_EQ(connection.feed(direction == ">", bytes, kProtoTcp, header), expected) << line;
    }
}

const char* const kSyn = "> S 0 = ok syn_sent";
const char* const kSynAck = "< SA 100,1 = ok syn_received";
const char* const kAck = "> A 1,101 = ok established!";

std::vector<Case> cases() {
    return {
        {"opens with a handshake", {kSyn, kSynAck, kAck}},
        {"closes with FINs of both ends",
         {kSyn, kSynAck, kAck, "> FA 1,101 = ok fin_wait!", "< A 101,2 = ok close_wait!",
          "< FA 101,2 = ok last_ack", "> A 2,102 = ok time_wait"}},
        {"closes with FINs that cross",
         {kSyn, kSynAck, kAck, "> FA 1,101 = ok fin_wait!", "< FA 101,1 = ok last_ack",
          "> A 2,102 = ok last_ack", "< A 102,2 = ok time_wait"}},
        {"repeats a SYN", {kSyn, kSyn, kSynAck, kAck}},
        {"repeats a SYN ACK whose acknowledgement was lost (ack_loss_stall)",
         {kSyn, kSynAck, kAck, "< SA 100,1 = ok established!", "> A 1,101 = ok established!",
          "< PA 101,1,10 = ok established!"}},
        {"opens from both ends at once",
         {kSyn, "< S 100 = ok syn_sent2", "> SA 0,101 = ok syn_received",
          "< SA 100,1 = ok syn_received", "> A 1,101 = ok established!"}},
        {"does not close by an RST that is not exact (inexact_rst)",
         {kSyn, kSynAck, kAck, "< R 150 = ok established!", "< R 102 = ok established!",
          "< R 101 = ok close"}},
        {"ignores an RST out of the window (rst_invalid)",
         {kSyn, kSynAck, kAck, "< R 50101 = invalid established!", "< R 50 = invalid established!",
          "> R 60000 = invalid established!"}},
        {"takes an RST that refuses the SYN, and no other",
         {kSyn, "< RA 0,7 = invalid syn_sent", "< R 0 = invalid syn_sent", "< RA 0,1 = end"}},
        {"lives on through a challenge (syn_challenge_ack)",
         {kSyn, kSynAck, kAck, "> S 5000 = ok established!", "< A 101,1 = ok established!",
          "> R 1 = ok close"}},
        {"begins anew where a SYN on a live connection is answered (synack_reuse)",
         {kSyn, kSynAck, kAck, "> S 5000 = ok established!", "< SA 9000,5001 = ok syn_received",
          "> A 5001,9001 = ok established!", "< PA 9001,5001,10 = ok established!"}},
        {"closes where a SYN on a live connection is refused",
         {kSyn, kSynAck, kAck, "> S 5000 = ok established!", "< RA 0,5001 = ok close"}},
        {"stands an old SYN ACK before the right one (synack_old)",
         {kSyn, "< SA 100,77 = invalid syn_sent", kSynAck, kAck}},
        {"begins anew on a tuple that its opener has reset",
         {kSyn, kSynAck, kAck, "> R 1 = ok close", "> S 9000 = restart"}},
        {"begins anew on a tuple that has been reset, by the answer to the SYN",
         {kSyn, kSynAck, kAck, "< R 101 = ok close", "> S 9000 = ok close",
          "< SA 5000,9001 = ok syn_received", "> A 9001,5001 = ok established!"}},
        {"begins anew in TIME WAIT",
         {kSyn, kSynAck, kAck, "> FA 1,101 = ok fin_wait!", "< FA 101,2 = ok last_ack",
          "> A 2,102 = ok time_wait", "> S 9000 = restart"}},
        {"refuses data beyond the window",
         {kSyn, "< SA 100,1,0,1000 = ok syn_received", kAck, "> PA 1001,101,10 = ok established!",
          "> PA 1012,101,10 = invalid established!"}},
        {"refuses data that is long acknowledged",
         {kSyn, kSynAck, kAck, "> A 1,101,10000 = ok established!",
          "< A 101,10001 = ok established!", "> A 10001,101,10000 = ok established!",
          "< A 101,20001 = ok established!", "> A 1,101,10 = invalid established!"}},
        {"refuses an acknowledgement of what was never sent",
         {kSyn, kSynAck, kAck, "< A 101,5000 = invalid established!"}},
        {"takes retransmissions and keepalives",
         {kSyn, kSynAck, kAck, "> PA 1,101,10 = ok established!", "> PA 1,101,10 = ok established!",
          "< A 101,11 = ok established!", "> A 10,101 = ok established!",
          "> A 10,101,1 = ok established!"}},
        {"takes a probe of a closed window",
         {kSyn, "< SA 100,1,0,0 = ok syn_received", kAck, "> A 1,101,1 = ok established!"}},
        {"scales windows where both ends offer it",
         {"> S/7 0 = ok syn_sent", "< SA/7 100,1,0,100 = ok syn_received", kAck,
          "< A 101,1,0,100 = ok established!", "> A 12000,101,100 = ok established!"}},
        {"scales no window where one end does not offer it",
         {"> S/7 0 = ok syn_sent", "< SA 100,1,0,100 = ok syn_received", kAck,
          "< A 101,1,0,100 = ok established!", "> A 12000,101,100 = invalid established!"}},
        {"has an eye on data that is sent again and again",
         {kSyn, kSynAck, kAck, "> PA 1,101,10 = ok established!", "> PA 1,101,10 = ok established!",
          "> PA 1,101,10 = ok established!", "> PA 1,101,10 = ok stuck!",
          "< A 101,11 = ok established!"}},
        {"picks a connection up in its middle",
         {"> PA 5000,7000,10 = ok picked_up", "> PA 5010,7000,10 = ok picked_up",
          "< A 7000,5020 = ok established!", "< PA 9000,5020,100 = ok established!"}},
        {"picks no connection up where it is strict", {"> PA 5000,7000,10 = invalid"}, false},
        {"begins with nothing but a SYN or data",
         {"> SA 0,1 = invalid", "> R 0 = invalid", "> FA 0,1 = invalid", kSyn}},
        {"refuses flags that do not go together",
         {"> SF 0 = invalid", "> SR 0 = invalid", "> P 0 = invalid", kSyn,
          "< SFA 100,1 = invalid syn_sent"}},
        {"answers a SYN with nothing but a SYN or a challenge",
         {kSyn, "< PA 100,1,5 = invalid syn_sent", "< FA 100,1 = invalid syn_sent", kSynAck}},
        {"lets an end that knows an older connection challenge the SYN, and be reset",
         {kSyn, "< A 500,77 = ok syn_sent", "> R 77 = end"}},
        {"takes nothing from the opener before its SYN is answered",
         {kSyn, "> A 1,101 = invalid syn_sent", "> FA 1,101 = invalid syn_sent",
          "> RA 1,101 = invalid syn_sent", kSynAck}},
        {"takes no SYN ACK from the opener",
         {kSyn, "> SA 0,1 = invalid syn_sent", kSynAck, kAck, "> SA 1,101 = invalid established!"}},
        {"takes no SYN from the end that was called",
         {kSyn, kSynAck, "< S 500 = invalid syn_received", kAck, "< S 500 = invalid established!"}},
        {"takes no RST that acknowledges what was never sent",
         {kSyn, kSynAck, kAck, "> RA 1,5000 = invalid established!", "> RA 1,101 = ok close"}},
        {"takes an RST behind data that is not acknowledged yet",
         {kSyn, kSynAck, kAck, "< PA 101,1,50 = ok established!", "< RA 151,1 = ok close"}},
        {"keeps the scaling of a SYN that begins anew",
         {kSyn, kSynAck, kAck, "> S/7 5000 = ok established!",
          "< SA/7 9000,5001,0,100 = ok syn_received", "> A 5001,9001 = ok established!",
          "< A 9001,5001,0,100 = ok established!", "> A 17000,9001,100 = ok established!",
          "> A 18000,9001,100 = invalid established!"}},
        {"takes nothing in the place of a SYN ACK once the connection has moved on",
         {kSyn, kSynAck, kAck, "> S 5000 = ok established!", "< A 101,1 = ok established!",
          "< SA 9000,5001 = invalid established!"}},
        {"lets what does not fit through where it is liberal",
         {kSyn, kSynAck, kAck, "< A 101,5000 = ok established!",
          "< R 50101 = invalid established!"},
         true,
         true},
        {"goes over the end of the sequence space",
         {"> S 4294967295 = ok syn_sent", "< SA 4294967290,0 = ok syn_received",
          "> A 0,4294967291 = ok established!", "< PA 4294967291,0,100 = ok established!",
          "> A 0,95 = ok established!", "< PA 95,0,100 = ok established!"}},
    };
}

INSTANTIATE_TEST_SUITE_P(Sequences, TcpTracking, testing::ValuesIn(cases()), [](const auto& param) {
    std::string name;
    bool start = true;
    for (const char c : std::string(param.param.shows)) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
            start = true;
            continue;
        }
        name += start ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
        start = false;
    }
    return name;
});

// Whatever comes, in whatever order, the tracker stands, and an ended flow stays ended.
TEST(Tracking, SurvivesRandomSegments) {
    std::mt19937 random(5);
    for (int round = 0; round < 300; ++round) {
        Connection connection;
        connection.limits().tcp_loose = random() % 2 == 0;
        for (int step = 0; step < 200; ++step) {
            Layer segment = tcp(1, 2, random() % 4 == 0 ? Bytes{1, 3, 3, 7} : Bytes{});
            segment.flags(static_cast<uint8_t>(random()));
            segment.seq(static_cast<uint32_t>(random() % 3000));
            segment.set(8, be32(static_cast<uint32_t>(random() % 3000)));
            Bytes bytes = segment.header;
            bytes.resize(bytes.size() + random() % 50);
            connection.feed(random() % 2 == 0, bytes, kProtoTcp, segment.header.size());
        }
        FlowStatus status = connection.entry().first.status;
        status.phase = FlowPhase::kFlushed;
        connection.entry().first.status = status;
        const Layer syn = tcp(1, 2).flags(0x10);
        connection.feed(true, syn.header, kProtoTcp, syn.header.size());
        EXPECT_EQ(connection.entry().first.status.load().phase, FlowPhase::kFlushed);
    }
}

// Each direction comes to a worker of its own.
TEST(Tracking, OfBothDirectionsAtOnceAgrees) {
    Connection connection;
    const auto segment = [](uint8_t flags, uint32_t seq, uint32_t ack, size_t length) {
        Layer made = tcp(1, 2).flags(flags).seq(seq);
        made.set(8, be32(ack)).set(14, be16(60000));
        Bytes bytes = made.header;
        bytes.resize(bytes.size() + length);
        return bytes;
    };
    connection.feed(true, segment(0x02, 0, 0, 0), kProtoTcp, 20);
    connection.feed(false, segment(0x12, 0, 1, 0), kProtoTcp, 20);
    connection.feed(true, segment(0x10, 1, 1, 0), kProtoTcp, 20);
    const auto play = [&](unsigned direction) {
        Bytes bytes(40);
        for (uint32_t n = 0; n < 20'000; ++n) {
            Bytes packet = bytes;
            const Bytes data = segment(0x10, 1 + n % 100, 1, 10);
            packet.insert(packet.end(), data.begin(), data.end());
            PacketMeta meta;
            meta.kind = PacketKind::kIpv6;
            meta.l3 = packet.data();
            meta.l3_length = 40;
            meta.l4_length = 20;
            meta.protocol = kProtoTcp;
            meta.ip_length = static_cast<uint16_t>(packet.size());
            track(meta, direction, 1, connection.limits(), connection.entry());
        }
    };
    std::thread other([&] { play(1); });
    play(0);
    other.join();
    EXPECT_EQ(connection.state(), "established!");
}

Bytes sctp(uint32_t tag, uint8_t chunk, uint32_t chosen = 0, uint8_t flags = 0) {
    return be16(1) + be16(2) + be32(tag) + be32(0) + Bytes{chunk, flags, 0, 20} + be32(chosen);
}
std::string feed_sctp(Connection& connection, bool forward, const Bytes& packet) {
    return connection.feed(forward, packet, kProtoSctp, 20);
}

TEST(SctpTracking, OpensAndClosesAnAssociation) {
    Connection c;
    EXPECT_EQ(feed_sctp(c, true, sctp(0, 1, 11)), "ok cookie_wait");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 2, 22)), "ok cookie_wait");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 10)), "ok cookie_echoed");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 11)), "ok sctp_established!");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 0)), "ok sctp_established!");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 7)), "ok shutdown_sent!");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 8)), "ok shutdown_ack_sent");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 14)), "ok sctp_closed");
    EXPECT_EQ(feed_sctp(c, true, sctp(0, 1, 33)), "restart");
}

TEST(SctpTracking, RefusesAForeignTag) {
    Connection c;
    feed_sctp(c, true, sctp(0, 1, 11));
    EXPECT_EQ(feed_sctp(c, false, sctp(12, 2, 22)), "invalid cookie_wait");
    feed_sctp(c, false, sctp(11, 2, 22));
    EXPECT_EQ(feed_sctp(c, true, sctp(23, 10)), "invalid cookie_wait");
    EXPECT_EQ(feed_sctp(c, true, sctp(23, 6)), "invalid cookie_wait");
    EXPECT_EQ(feed_sctp(c, true, sctp(11, 6, 0, 1)), "ok sctp_closed") << "an ABORT with the T bit";
}

TEST(SctpTracking, SurvivesACollisionOfInits) {
    Connection c;
    EXPECT_EQ(feed_sctp(c, true, sctp(0, 1, 11)), "ok cookie_wait");
    EXPECT_EQ(feed_sctp(c, false, sctp(0, 1, 22)), "ok cookie_wait");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 2, 22)), "ok cookie_wait");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 10)), "ok cookie_echoed");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 11)), "ok sctp_established!");
}

TEST(SctpTracking, IsPickedUpByAHeartbeatAndByNothingElse) {
    Connection c;
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 0)), "invalid") << "DATA";
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 4)), "ok sctp_established");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 0)), "invalid sctp_established") << "a tag not told yet";
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 5)), "ok sctp_established!");
    EXPECT_EQ(feed_sctp(c, false, sctp(11, 0)), "ok sctp_established!");
    EXPECT_EQ(feed_sctp(c, true, sctp(23, 0)), "invalid sctp_established!");
}

TEST(SctpTracking, KnowsNoTagBeforeItIsTold) {
    Connection c;
    EXPECT_EQ(feed_sctp(c, true, sctp(0, 1, 11)), "ok cookie_wait");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 10)), "invalid cookie_wait");
    EXPECT_EQ(feed_sctp(c, true, sctp(22, 6)), "invalid cookie_wait");
}

TEST(SctpTracking, BeginsWithNoAnswer) {
    Connection c;
    for (const uint8_t chunk : Bytes{2, 6, 8, 11, 14})
        EXPECT_EQ(feed_sctp(c, true, sctp(5, chunk, 7)), "invalid");
    EXPECT_EQ(feed_sctp(c, true, sctp(5, 1, 7)), "invalid") << "an INIT has tag 0";
}

TEST(Timeouts, HaveLinuxNamesAndDefaults) {
    EXPECT_STREQ(flow_timeout(FlowState::kTcpEstablished).name, "tcp_timeout_established");
    EXPECT_EQ(flow_timeout(FlowState::kTcpEstablished).seconds, 432000u);
    EXPECT_EQ(flow_timeout(FlowState::kUdp).seconds, 30u);
    EXPECT_EQ(flow_timeout(FlowState::kUdpStream).seconds, 120u);
    EXPECT_EQ(flow_timeout(FlowState::kGeneric).seconds, 600u);
}

}  // namespace
}  // namespace slash32::test
