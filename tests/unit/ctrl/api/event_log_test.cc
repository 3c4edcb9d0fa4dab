// SPDX-License-Identifier: Apache-2.0
#include "ctrl/api/event_log.h"

#include "tests/unit/ctrl/api/fakes.h"

namespace slash32 {
namespace {

rpc::Json about(const std::string& port) {
    return {{"port", port}};
}

TEST(EventLog, NumbersEventsFromOneWithoutGaps) {
    EventLog log;
    EXPECT_EQ(log.seq(), 0u);
    EXPECT_EQ(log.append("port.added", about("a")), 1u);
    EXPECT_EQ(log.append("port.removed", about("a")), 2u);
    EXPECT_EQ(log.seq(), 2u);
}

TEST(EventLog, SendsWatchersWhatTheyAskedFor) {
    EventLog log;
    FakeSession all(1);
    FakeSession ports(2);
    FakeSession wired(3);
    log.watch(all, 0, {});
    log.watch(ports, 0, {"port.*"});
    log.watch(wired, 0, {"port.wired", "denied"});
    log.append("port.added", about("a"));
    log.append("route.changed", {});
    log.append("port.wired", about("a"));
    EXPECT_EQ(all.types(), "port.added route.changed port.wired ");
    EXPECT_EQ(ports.types(), "port.added port.wired ");
    EXPECT_EQ(wired.types(), "port.wired ");
    log.forget(1);
    log.append("denied", about("a"));
    EXPECT_EQ(all.types(), "");
    EXPECT_EQ(wired.types(), "denied ");
}

TEST(EventLog, ResumesAfterAnyEventThatIsKept) {
    EventLog log(4, 1 << 20);
    for (int i = 1; i <= 10; ++i)
        log.append("port.added", about(std::to_string(i)));
    EXPECT_FALSE(log.has_all_after(5));
    EXPECT_FALSE(log.has_all_after(11));
    for (uint64_t since = 6; since <= 10; ++since) {
        ASSERT_TRUE(log.has_all_after(since));
        FakeSession session(since);
        log.watch(session, since, {});
        ASSERT_EQ(session.events.size(), 10 - since);
        if (since < 10) {
            EXPECT_EQ(session.events[0]["port"], std::to_string(since + 1));
        }
    }
}

TEST(EventLog, KeepsNoMoreBytesThanItMay) {
    EventLog log(1000, 2000);
    for (int i = 0; i < 100; ++i)
        log.append("port.added", about(std::string(100, 'x')));
    EXPECT_FALSE(log.has_all_after(85));
    EXPECT_TRUE(log.has_all_after(97));
}

TEST(EventLog, KnowsItsTypes) {
    EXPECT_TRUE(EventLog::is_type_pattern("port.added"));
    EXPECT_TRUE(EventLog::is_type_pattern("address.*"));
    for (const char* bad : {"", "*", ".*", "port", "port.ad*", "portx.*", "port.unknown"}) {
        EXPECT_FALSE(EventLog::is_type_pattern(bad)) << bad;
    }
}

}  // namespace
}  // namespace slash32
