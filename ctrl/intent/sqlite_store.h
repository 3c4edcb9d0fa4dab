// SPDX-License-Identifier: Apache-2.0
// The store in one SQLite file: WAL, synchronous=FULL, so that a commit survives a loss of power.
//
// Commits run on a thread of their own: a slow disk holds up the requests that wait for it and
// nothing else. Tables: port (name, JSON, checksum), neighbor, security_group (kind, name, JSON,
// checksum), member (of a group, one a row), route_chunk (route_chunk.h, in order), meta
// (revision). application_id and user_version mark the file and its schema.
#pragma once

#include "ctrl/intent/store.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

struct sqlite3;
struct sqlite3_stmt;

namespace slash32 {

class SqliteStore final : public Store {
  public:
    // 1 had no groups, 2 no VRFs; they are brought up to date when opened.
    static constexpr int kSchemaVersion = 3;

    struct Options {
        std::string path;
        int64_t max_pages = 0;  // of 4 KiB; 0 is no limit but the disk's
    };

    SqliteStore(Options options, Executor executor);
    // Waits for a commit that is under way; its callback is still handed to the executor.
    ~SqliteStore() override;

    Result<StoredIntent> load() override;
    Result<void> set_aside(const std::string& why) override;
    void commit(StoreBatch batch, std::function<void(Result<void>)> done) override;
    StoreStatus status() const override;

  private:
    struct Job {
        StoreBatch batch;
        std::function<void(Result<void>)> done;
    };
    struct Close {
        void operator()(sqlite3*) const;
    };
    struct Finalize {
        void operator()(sqlite3_stmt*) const;
    };
    using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

    Result<void> open();
    Result<void> open_and_check();
    Result<void> create_schema();
    Result<void> upgrade_schema(bool without_groups);
    Result<StoredIntent> read_all();
    template <typename Row>
    Result<void> read_rows(const char* sql, Row&& row);
    Result<void> read_groups(StoredIntent& intent);
    Result<void> read_vrfs(StoredIntent& intent);
    Result<void> execute(const char* sql);
    Result<Statement> prepare(const char* sql);
    Result<void> prepare_all();
    Result<void> step(sqlite3_stmt* statement);
    Result<void> write(const StoreBatch& batch);
    Result<void> write_rows(const StoreBatch& batch);
    Result<void> write_groups(const StoreBatch& batch);
    Result<void> write_vrfs(const StoreBatch& batch);
    Error database_error(const char* what) const;
    void close();
    void run();

    const Options options_;
    Executor executor_;
    std::unique_ptr<sqlite3, Close> db_;  // the thread's once it runs
    Statement put_port_, delete_port_, put_neighbor_, delete_neighbor_, put_group_, delete_group_,
        put_vrf_, delete_vrf_, put_member_, delete_member_, clear_members_, put_chunk_,
        clear_chunks_, put_revision_;

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::unique_ptr<Job> job_;  // guarded by mutex_
    bool stopping_ = false;     // guarded by mutex_
    std::string failure_;       // guarded by mutex_: why the last commit failed
    std::string set_aside_;     // control thread
    std::thread thread_;
};

}  // namespace slash32
