// SPDX-License-Identifier: Apache-2.0
// Where intent is kept between starts.
//
// A commit is all or nothing and durable when its callback says so. Belongs to the control thread;
// an implementation may write on a thread of its own, but calls back through the executor.
#pragma once

#include "ctrl/intent/model.h"
#include "dp/base/net.h"
#include "dp/base/result.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace slash32 {

// Runs a function on the control thread, from the event loop, never at once. May be called from any
// thread.
using Executor = std::function<void(std::function<void()>)>;

struct StoredPort {
    std::string name;
    std::optional<std::string> json;  // PortIntent; absent: removed
    uint64_t revision = 0;
};

struct StoredNeighbor {
    std::string port;
    IpAddress address;
    std::optional<Mac> mac;  // absent: removed
    std::string owner;
};

// A security group or an address set.
struct StoredGroup {
    GroupKey key;
    std::optional<std::string> json;  // GroupIntent; absent: removed, with its members
    uint64_t revision = 0;
};

struct StoredVrf {
    VrfId id;
    std::optional<std::string> json;  // VrfIntent; absent: removed
    uint64_t revision = 0;
};

struct StoredMember {
    GroupKey key;
    IpPrefix prefix;
    bool removed = false;
};

struct StoreBatch {
    uint64_t revision = 0;
    std::vector<StoredPort> ports;
    std::vector<StoredNeighbor> neighbors;
    std::vector<StoredGroup> groups;
    std::vector<StoredMember> members;
    std::vector<StoredVrf> vrfs;
    std::vector<std::string> route_chunks;  // route_chunk.h, in order; later ones win
    bool replace_routes = false;            // the chunks are all there is
    bool empty() const {
        return ports.empty() && neighbors.empty() && groups.empty() && members.empty() &&
               vrfs.empty() && route_chunks.empty() && !replace_routes;
    }
};

struct StoredIntent {
    uint64_t revision = 0;
    std::vector<StoredPort> ports;
    std::vector<StoredNeighbor> neighbors;
    std::vector<StoredGroup> groups;
    std::vector<StoredMember> members;
    std::vector<StoredVrf> vrfs;
    std::vector<std::string> route_chunks;
};

struct StoreStatus {
    enum class State : uint8_t { kOk, kMemory, kSetAside, kFailed };
    State state = State::kOk;
    std::string path;
    std::string detail;
};

class Store {
  public:
    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    // All that is stored. Called once, before the first commit. A damaged store is set aside and
    // reads as empty; an error (kStorage) is one that no start can get round (no directory, no
    // permission, another daemon's file).
    virtual Result<StoredIntent> load() = 0;
    // What load() gave makes no sense: keep it under another name and begin empty.
    virtual Result<void> set_aside(const std::string& why) = 0;
    // One at a time: the next only after the callback. Errors: kStorage.
    virtual void commit(StoreBatch batch, std::function<void(Result<void>)> done) = 0;
    virtual StoreStatus status() const = 0;
};

// Keeps nothing.
class MemoryStore final : public Store {
  public:
    explicit MemoryStore(Executor executor) : executor_(std::move(executor)) {}
    Result<StoredIntent> load() override { return StoredIntent{}; }
    Result<void> set_aside(const std::string&) override { return {}; }
    void commit(StoreBatch, std::function<void(Result<void>)> done) override {
        executor_([done = std::move(done)] { done({}); });
    }
    StoreStatus status() const override { return {StoreStatus::State::kMemory, "", ""}; }

  private:
    Executor executor_;
};

}  // namespace slash32
