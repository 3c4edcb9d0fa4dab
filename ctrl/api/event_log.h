// SPDX-License-Identifier: Apache-2.0
// Events, numbered from 1 with every start: the last of them are kept, watchers get each as it
// comes.
//
// Control thread. Bounded by number and by bytes; an event is serialised once for all who watch.
#pragma once

#include "ctrl/rpc/handler.h"

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

class EventLog {
  public:
    static constexpr size_t kEventsMax = 65536;
    static constexpr size_t kBytesMax = size_t{16} << 20;

    explicit EventLog(size_t events_max = kEventsMax, size_t bytes_max = kBytesMax)
        : events_max_(events_max), bytes_max_(bytes_max) {}

    // Of the last event, 0 before the first.
    uint64_t seq() const { return seq_; }
    // Adds the event's number, type and time to `members`, keeps it and sends it. Returns its
    // number. REQUIRES: `type` is one of the types of docs/protocol.md, a literal.
    uint64_t append(std::string_view type, rpc::Json members);

    // Whether every event after `since` is still kept.
    bool has_all_after(uint64_t since) const {
        return since <= seq_ && since >= seq_ - ring_.size();
    }
    // The session gets events of the given types (exact, or "port.*"; empty: all) after `since`,
    // then those to come; in place of what it watched before. REQUIRES: has_all_after(since).
    void watch(rpc::Session& session, uint64_t since, std::vector<std::string> types);
    void forget(uint64_t session) { watchers_.erase(session); }

    // Whether some event matches: an exact type, or a family such as "port.*".
    static bool is_type_pattern(std::string_view pattern);

  private:
    struct Event {
        std::string_view type;
        rpc::SharedFrame frame;
    };
    struct Watcher {
        rpc::Session* session;
        std::vector<std::string> types;
        bool wants(std::string_view type) const;
    };

    const size_t events_max_;
    const size_t bytes_max_;
    uint64_t seq_ = 0;
    std::deque<Event> ring_;  // the last has number seq_
    size_t ring_bytes_ = 0;
    std::map<uint64_t, Watcher> watchers_;  // by session
};

}  // namespace slash32
