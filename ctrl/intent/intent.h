// SPDX-License-Identifier: Apache-2.0
// The intent layer: what owners want, checked, durable, and carried out, in this order.
//
// Requests go through one queue. What has come since the last commit is planned and applied to
// memory as a group, written to the store in one transaction, and only when that is durable
// programmed into the plane; then the next group begins. Reads wait for the group before them, so
// they never see what may yet be undone: memory is the store is the plane. When a commit fails,
// its group is undone and refused; when the plane refuses one request, that one alone is, the
// store is set right in the next transaction, and the ones after it are planned again.
//
// Thread safety: the control thread alone. Callbacks run from the event loop or from within
// write() and read(); a callback may call write() and read().
#pragma once

#include "ctrl/intent/plan.h"
#include "ctrl/intent/programmer.h"
#include "ctrl/intent/route_chunk.h"
#include "ctrl/intent/state.h"
#include "ctrl/intent/store.h"
#include "ctrl/plane/plane.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace slash32 {

struct IntentOptions {
    std::set<std::string> volatile_owners = {"routing"};  // whose routes are not stored
    size_t group_routes_max = 32768;  // a group is closed when it changes more routes than that
};

// What became of a request.
struct Done {
    ChangeCounts counts;
    uint64_t revision = 0;  // of the object (ports) or of the whole
    uint64_t seq = 0;       // of the last event
    PortId port;            // of a port request
};

class Intent {
  public:
    using Plan = std::function<Result<ChangeSet>(State&)>;
    using Callback = std::function<void(Result<Done>)>;
    // Told of every change set that has been programmed, in order; returns the number of the last
    // event, with or without new ones.
    using Listener = std::function<uint64_t(const ChangeSet&)>;

    // `plane`, `store` and what `executor` runs on outlive the intent.
    Intent(Plane& plane, Store& store, Executor executor, IntentOptions options = {});
    ~Intent();

    // Uplinks of the configuration, before restore(). Errors: kConflict (name), kLimit.
    Result<void> add_uplink(const UplinkSpec& spec, PortId id);
    // While the host is drained.
    void refuse_new_ports(bool refuse) { state_.draining = refuse; }
    // A VRF that the configuration file names.
    void configure_vrf(VrfId id) { state_.vrfs.configure(id); }
    // Where the node's segments are.
    void set_locator(const IpPrefix& locator) { state_.locator = locator; }
    // The host's view of the uplink, by the name host_view_name().
    Result<void> add_host_view(const UplinkSpec& spec, PortId id);
    // Reads the store and drives the plane. What cannot be carried out is kept and reported.
    // Errors: those of Store::load.
    struct Restored {
        size_t ports = 0;
        size_t routes = 0;
        size_t neighbors = 0;
        size_t groups = 0;
        std::vector<std::string> problems;
    };
    Result<Restored> restore();

    void on_change(Listener listener) { listener_ = std::move(listener); }

    // `plan` runs when the request's turn comes, and again if one before it fails; `done` when the
    // change is durable and every worker has acknowledged it, or with the error.
    void write(Plan plan, Callback done);
    // Runs when everything before it is done: at once if nothing is under way.
    void read(std::function<void(State&)> read);

    // REQUIRES of the reader: numbers only; objects may be of a group that is not durable yet.
    State& state() { return state_; }
    StoreStatus store_status() const { return store_.status(); }
    const std::vector<std::string>& problems() const { return problems_; }

  private:
    struct Write {
        Plan plan;
        Callback done;
        std::unique_ptr<ChangeSet> change;  // while in the group
        std::optional<Error> error;
    };
    using Read = std::function<void(State&)>;
    using Item = std::variant<Write, Read>;

    void schedule();
    void run();
    void collect();
    StoreBatch make_batch();
    void add_to_batch(const ChangeSet& change, StoreBatch& batch, RouteChunkWriter& writer) const;
    void add_inverse(const ChangeSet& change);
    void snapshot_routes(StoreBatch& batch) const;
    RouteChunkWriter chunk_writer() const;
    HopRequest describe(uint32_t hop) const;
    void settle(const Result<void>& stored);
    void refuse_group(const Error& error);
    void program_group();
    void complete(Write write);
    void requeue(std::vector<Write> writes);

    static Result<void> check_stored(const StoredIntent& stored);
    Result<void> restore_ports(const StoredIntent& stored, Restored& restored);
    Result<void> restore_vrfs(const StoredIntent& stored);
    Result<void> add_missing_vrf(VrfId id, const std::string& owner);
    Result<void> restore_groups(const StoredIntent& stored, Restored& restored);
    Result<void> restore_neighbors(const StoredIntent& stored, Restored& restored);
    Result<void> restore_routes(const StoredIntent& stored, Restored& restored);
    Result<void> restore_all(const StoredIntent& stored, Restored& restored);

    Plane& plane_;
    Store& store_;
    Executor executor_;
    const IntentOptions options_;
    std::unique_ptr<State> state_owner_;
    State& state_;
    Programmer programmer_;
    Listener listener_;

    std::deque<Item> queue_;
    std::vector<Write> group_;  // applied to memory, not yet programmed
    StoreBatch repair_;         // takes back what the plane refused; written with the next group
    size_t repair_records_ = 0;
    bool repair_due_ = false;  // not yet tried
    bool committing_ = false;
    bool scheduled_ = false;
    bool running_ = false;
    size_t logged_records_ = 0;    // in the store's chunks
    size_t batch_records_ = 0;     // in the chunks of the group being committed
    bool batch_replaces_ = false;  // ... which are all there is
    std::string kept_chunk_;       // stored routes over ports that are not there (any more)
    std::vector<std::string> problems_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace slash32
