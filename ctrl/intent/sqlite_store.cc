// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/sqlite_store.h"

#include "ctrl/intent/route_chunk.h"
#include "dp/base/assert.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace slash32 {
namespace {

constexpr int kApplicationId = 0x73333264;  // "s32d"
constexpr int kWalPages = 4000;             // 16 MiB between two checkpoints

void bind_text(sqlite3_stmt* statement, int index, std::string_view text) {
    sqlite3_bind_text(statement, index, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

void bind_blob(sqlite3_stmt* statement, int index, std::string_view blob) {
    sqlite3_bind_blob64(statement, index, blob.data(), blob.size(), SQLITE_STATIC);
}

std::string column_bytes(sqlite3_stmt* statement, int index) {
    const void* bytes = sqlite3_column_blob(statement, index);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement, index));
    return bytes != nullptr ? std::string(static_cast<const char*>(bytes), size) : std::string();
}

std::string_view address_bytes(const IpAddress& address) {
    return {reinterpret_cast<const char*>(address.bytes.data()), address.bits() / 8u};
}

std::string_view mac_bytes(const Mac& mac) {
    return {reinterpret_cast<const char*>(mac.bytes.data()), mac.bytes.size()};
}

uint32_t checksum(std::string_view name, std::string_view json) {
    return crc32c(json, crc32c(name));
}

// What a member's row needs of an address: four or sixteen bytes.
bool read_address(std::string_view bytes, IpAddress& out) {
    if (bytes.size() != 4 && bytes.size() != 16) return false;
    out.family = bytes.size() == 4 ? Family::kIpv4 : Family::kIpv6;
    std::memcpy(out.bytes.data(), bytes.data(), bytes.size());
    return true;
}

constexpr const char* kGroupTables =
    "CREATE TABLE security_group(kind INTEGER NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,"
    " revision INTEGER NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY(kind, name)) WITHOUT ROWID;"
    "CREATE TABLE member(kind INTEGER NOT NULL, name TEXT NOT NULL, address BLOB NOT NULL,"
    " length INTEGER NOT NULL, PRIMARY KEY(kind, name, address, length)) WITHOUT ROWID;";

constexpr const char* kVrfTable =
    "CREATE TABLE vrf(id INTEGER PRIMARY KEY, json TEXT NOT NULL, revision INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL);";

tl::unexpected<Error> damaged(std::string what) {
    return fail(ErrorCode::kInvalid, "", std::move(what));
}

}  // namespace

void SqliteStore::Close::operator()(sqlite3* db) const {
    sqlite3_close_v2(db);
}
void SqliteStore::Finalize::operator()(sqlite3_stmt* statement) const {
    sqlite3_finalize(statement);
}

SqliteStore::SqliteStore(Options options, Executor executor)
    : options_(std::move(options)), executor_(std::move(executor)) {}

SqliteStore::~SqliteStore() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    close();
}

void SqliteStore::close() {
    for (Statement* statement : {&put_port_, &delete_port_, &put_neighbor_, &delete_neighbor_,
                                 &put_group_, &delete_group_, &put_member_, &delete_member_,
                                 &clear_members_, &put_chunk_, &clear_chunks_, &put_revision_}) {
        statement->reset();
    }
    db_.reset();
}

// kInvalid when the file itself is at fault, kStorage for everything around it.
Error SqliteStore::database_error(const char* what) const {
    const int code = db_ ? sqlite3_extended_errcode(db_.get()) : SQLITE_NOMEM;
    const bool is_damage = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ||
                           (code & 0xff) == SQLITE_ERROR || code == SQLITE_IOERR_SHORT_READ;
    return {is_damage ? ErrorCode::kInvalid : ErrorCode::kStorage, "",
            fmt::format("{}: {}: {}", options_.path, what,
                        db_ ? sqlite3_errmsg(db_.get()) : "no memory")};
}

Result<void> SqliteStore::execute(const char* sql) {
    if (sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return tl::unexpected(database_error(sql));
}

Result<SqliteStore::Statement> SqliteStore::prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
        SQLITE_OK) {
        return tl::unexpected(database_error(sql));
    }
    return Statement(statement);
}

Result<void> SqliteStore::open() {
    sqlite3* db = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(options_.path.c_str(), &db, flags, nullptr);
    db_.reset(db);
    if (code != SQLITE_OK) return tl::unexpected(database_error("cannot be opened"));
    sqlite3_extended_result_codes(db_.get(), 1);
    sqlite3_busy_timeout(db_.get(), 1000);
    return {};
}

Result<void> SqliteStore::open_and_check() {
    if (auto ok = open(); !ok) return ok;
    // Exclusive: another daemon on the same file is an error, and the WAL needs no shared memory.
    for (const char* sql : {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA page_size=4096",
                            "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"}) {
        if (auto ok = execute(sql); !ok) return ok;
    }
    if (auto ok = execute(fmt::format("PRAGMA wal_autocheckpoint={}", kWalPages).c_str()); !ok) {
        return ok;
    }
    if (options_.max_pages > 0) {
        const auto limit = fmt::format("PRAGMA max_page_count={}", options_.max_pages);
        if (auto ok = execute(limit.c_str()); !ok) return ok;
    }
    const auto pragma = [this](const char* sql) -> Result<std::string> {
        auto statement = prepare(sql);
        if (!statement) return tl::unexpected(statement.error());
        if (sqlite3_step(statement->get()) != SQLITE_ROW) {
            return tl::unexpected(database_error(sql));
        }
        return column_bytes(statement->get(), 0);
    };
    const auto check = pragma("PRAGMA quick_check(1)");
    if (!check) return tl::unexpected(check.error());
    if (*check != "ok") return damaged(*check);
    const auto application = pragma("PRAGMA application_id");
    if (!application) return tl::unexpected(application.error());
    const auto version = pragma("PRAGMA user_version");
    if (!version) return tl::unexpected(version.error());
    if (*application == "0" && *version == "0") return create_schema();
    if (*application != std::to_string(kApplicationId)) {
        return damaged("the file is not a store of slash32");
    }
    if (*version == "1" || *version == "2") {
        if (auto ok = upgrade_schema(*version == "1"); !ok) return ok;
    } else if (*version != std::to_string(kSchemaVersion)) {
        return damaged(
            fmt::format("the store has schema version {}, not {}", *version, kSchemaVersion));
    }
    return prepare_all();
}

Result<void> SqliteStore::create_schema() {
    const std::string sql = fmt::format(
        "BEGIN IMMEDIATE;"
        "CREATE TABLE port(name TEXT PRIMARY KEY, json TEXT NOT NULL, revision INTEGER NOT NULL,"
        " checksum INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE neighbor(port TEXT NOT NULL, address BLOB NOT NULL, mac BLOB NOT NULL,"
        " owner TEXT NOT NULL, PRIMARY KEY(port, address)) WITHOUT ROWID;"
        "{}{}"
        "CREATE TABLE route_chunk(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO meta VALUES('revision', 0);"
        "PRAGMA application_id={}; PRAGMA user_version={};"
        "COMMIT;",
        kGroupTables, kVrfTable, kApplicationId, kSchemaVersion);
    if (auto ok = execute(sql.c_str()); !ok) return ok;
    return prepare_all();
}

Result<void> SqliteStore::upgrade_schema(bool without_groups) {
    const std::string sql =
        fmt::format("BEGIN IMMEDIATE; {} {} PRAGMA user_version={}; COMMIT;",
                    without_groups ? kGroupTables : "", kVrfTable, kSchemaVersion);
    return execute(sql.c_str());
}

Result<void> SqliteStore::prepare_all() {
    const std::pair<Statement*, const char*> statements[] = {
        {&put_port_, "INSERT OR REPLACE INTO port VALUES(?1, ?2, ?3, ?4)"},
        {&delete_port_, "DELETE FROM port WHERE name = ?1"},
        {&put_neighbor_, "INSERT OR REPLACE INTO neighbor VALUES(?1, ?2, ?3, ?4)"},
        {&delete_neighbor_, "DELETE FROM neighbor WHERE port = ?1 AND address = ?2"},
        {&put_group_, "INSERT OR REPLACE INTO security_group VALUES(?1, ?2, ?3, ?4, ?5)"},
        {&delete_group_, "DELETE FROM security_group WHERE kind = ?1 AND name = ?2"},
        {&put_member_, "INSERT OR REPLACE INTO member VALUES(?1, ?2, ?3, ?4)"},
        {&delete_member_,
         "DELETE FROM member WHERE kind = ?1 AND name = ?2 AND address = ?3 AND length = ?4"},
        {&clear_members_, "DELETE FROM member WHERE kind = ?1 AND name = ?2"},
        {&put_vrf_, "INSERT OR REPLACE INTO vrf VALUES(?1, ?2, ?3, ?4)"},
        {&delete_vrf_, "DELETE FROM vrf WHERE id = ?1"},
        {&put_chunk_, "INSERT INTO route_chunk(data) VALUES(?1)"},
        {&clear_chunks_, "DELETE FROM route_chunk"},
        {&put_revision_, "UPDATE meta SET value = ?1 WHERE key = 'revision'"},
    };
    for (const auto& [statement, sql] : statements) {
        auto prepared = prepare(sql);
        if (!prepared) return tl::unexpected(prepared.error());
        *statement = std::move(*prepared);
    }
    return {};
}

template <typename Row>
Result<void> SqliteStore::read_rows(const char* sql, Row&& row) {
    auto statement = prepare(sql);
    if (!statement) return tl::unexpected(statement.error());
    int code = 0;
    while ((code = sqlite3_step(statement->get())) == SQLITE_ROW) {
        if (Result<void> ok = row(statement->get()); !ok) return ok;
    }
    if (code != SQLITE_DONE) return tl::unexpected(database_error(sql));
    return {};
}

Result<StoredIntent> SqliteStore::read_all() {
    StoredIntent intent;
    auto ok = read_rows("SELECT value FROM meta WHERE key = 'revision'", [&](sqlite3_stmt* row) {
        intent.revision = static_cast<uint64_t>(sqlite3_column_int64(row, 0));
        return Result<void>{};
    });
    if (!ok) return tl::unexpected(ok.error());
    ok = read_rows("SELECT name, json, revision, checksum FROM port", [&](sqlite3_stmt* row) {
        StoredPort port{column_bytes(row, 0), column_bytes(row, 1),
                        static_cast<uint64_t>(sqlite3_column_int64(row, 2))};
        if (checksum(port.name, *port.json) !=
            static_cast<uint32_t>(sqlite3_column_int64(row, 3))) {
            return Result<void>(damaged("the checksum of a stored port is wrong"));
        }
        intent.ports.push_back(std::move(port));
        return Result<void>{};
    });
    if (!ok) return tl::unexpected(ok.error());
    ok = read_rows("SELECT port, address, mac, owner FROM neighbor", [&](sqlite3_stmt* row) {
        StoredNeighbor neighbor{column_bytes(row, 0), {}, Mac{}, column_bytes(row, 3)};
        const std::string mac = column_bytes(row, 2);
        if (!read_address(column_bytes(row, 1), neighbor.address) || mac.size() != 6) {
            return Result<void>(damaged("a stored neighbour is malformed"));
        }
        std::memcpy(neighbor.mac->bytes.data(), mac.data(), mac.size());
        intent.neighbors.push_back(std::move(neighbor));
        return Result<void>{};
    });
    if (!ok) return tl::unexpected(ok.error());
    if (ok = read_groups(intent); !ok) return tl::unexpected(ok.error());
    if (ok = read_vrfs(intent); !ok) return tl::unexpected(ok.error());
    ok = read_rows("SELECT data FROM route_chunk ORDER BY id", [&](sqlite3_stmt* row) {
        intent.route_chunks.push_back(column_bytes(row, 0));
        return Result<void>{};
    });
    if (!ok) return tl::unexpected(ok.error());
    return intent;
}

Result<void> SqliteStore::read_vrfs(StoredIntent& intent) {
    return read_rows("SELECT id, json, revision, checksum FROM vrf", [&](sqlite3_stmt* row) {
        const int64_t number = sqlite3_column_int64(row, 0);
        if (number < 1 || number >= static_cast<int64_t>(kMaxVrfs))
            return Result<void>(damaged("a stored VRF has no such number"));
        StoredVrf vrf{VrfId{static_cast<uint16_t>(number)}, column_bytes(row, 1),
                      static_cast<uint64_t>(sqlite3_column_int64(row, 2))};
        if (checksum(std::to_string(number), *vrf.json) !=
            static_cast<uint32_t>(sqlite3_column_int64(row, 3))) {
            return Result<void>(damaged("the checksum of a stored VRF is wrong"));
        }
        intent.vrfs.push_back(std::move(vrf));
        return Result<void>{};
    });
}

Result<void> SqliteStore::read_groups(StoredIntent& intent) {
    const auto key_of = [](sqlite3_stmt* row) {
        return GroupKey{
            sqlite3_column_int64(row, 0) == 0 ? GroupKind::kSecurityGroup : GroupKind::kAddressSet,
            column_bytes(row, 1)};
    };
    auto ok = read_rows(
        "SELECT kind, name, json, revision, checksum FROM security_group", [&](sqlite3_stmt* row) {
            StoredGroup group{key_of(row), column_bytes(row, 2),
                              static_cast<uint64_t>(sqlite3_column_int64(row, 3))};
            if (checksum(group.key.name, *group.json) !=
                static_cast<uint32_t>(sqlite3_column_int64(row, 4))) {
                return Result<void>(damaged("the checksum of a stored group is wrong"));
            }
            intent.groups.push_back(std::move(group));
            return Result<void>{};
        });
    if (!ok) return ok;
    return read_rows("SELECT kind, name, address, length FROM member", [&](sqlite3_stmt* row) {
        StoredMember member{key_of(row), {}, false};
        const int64_t length = sqlite3_column_int64(row, 3);
        if (!read_address(column_bytes(row, 2), member.prefix.address) || length < 0 ||
            length > member.prefix.address.bits()) {
            return Result<void>(damaged("a stored member of a group is malformed"));
        }
        member.prefix.length = static_cast<uint8_t>(length);
        intent.members.push_back(std::move(member));
        return Result<void>{};
    });
}

Result<StoredIntent> SqliteStore::load() {
    auto ok = open_and_check();
    Result<StoredIntent> intent;
    if (ok) {
        intent = read_all();
    } else {
        intent = tl::unexpected(ok.error());
    }
    if (!intent && intent.error().code == ErrorCode::kInvalid) {
        if (auto aside = set_aside(intent.error().message); !aside) {
            return tl::unexpected(aside.error());
        }
        intent = StoredIntent{};
    }
    if (intent && !thread_.joinable()) {
        // Signals are the control thread's.
        sigset_t all;
        sigset_t old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        thread_ = std::thread([this] { run(); });
        pthread_sigmask(SIG_SETMASK, &old, nullptr);
    }
    return intent;
}

Result<void> SqliteStore::set_aside(const std::string& why) {
    close();
    const std::time_t now = std::time(nullptr);
    const std::string stamp = fmt::format(".damaged-{:%Y%m%dT%H%M%SZ}", fmt::gmtime(now));
    std::string target = options_.path + stamp;
    for (int n = 2; std::filesystem::exists(target); ++n) {
        target = fmt::format("{}{}-{}", options_.path, stamp, n);
    }
    for (const char* suffix : {"", "-wal", "-shm"}) {
        if (std::rename((options_.path + suffix).c_str(), (target + suffix).c_str()) != 0 &&
            errno != ENOENT) {
            return fail(ErrorCode::kStorage, "",
                        fmt::format("{}: is damaged and cannot be renamed: {}", options_.path,
                                    std::strerror(errno)));
        }
    }
    set_aside_ = fmt::format("{} ({})", target, why);
    if (auto ok = open_and_check(); !ok) {
        return fail(ErrorCode::kStorage, "", ok.error().message);
    }
    return {};
}

void SqliteStore::commit(StoreBatch batch, std::function<void(Result<void>)> done) {
    {
        const std::lock_guard lock(mutex_);
        S32_ASSERT(job_ == nullptr);
        job_ = std::make_unique<Job>(Job{std::move(batch), std::move(done)});
    }
    wake_.notify_one();
}

void SqliteStore::run() {
    pthread_setname_np(pthread_self(), "store");
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return job_ != nullptr || stopping_; });
        if (job_ == nullptr) return;
        const std::unique_ptr<Job> job = std::move(job_);
        lock.unlock();
        Result<void> result = write(job->batch);
        job->batch = {};
        lock.lock();
        failure_ = result ? "" : result.error().message;
        executor_([done = std::move(job->done), result = std::move(result)] { done(result); });
    }
}

Result<void> SqliteStore::write(const StoreBatch& batch) {
    auto ok = execute("BEGIN IMMEDIATE");
    if (!ok) return ok;
    ok = write_rows(batch);
    if (ok) ok = execute("COMMIT");
    if (ok) return ok;
    // Some errors (a full disk) have rolled back already: then this one fails, and does not matter.
    sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    return fail(ErrorCode::kStorage, "", ok.error().message);
}

Result<void> SqliteStore::step(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    Result<void> result;
    if (code != SQLITE_DONE) {
        result = tl::unexpected(database_error("cannot be written"));
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

Result<void> SqliteStore::write_rows(const StoreBatch& batch) {
    for (const StoredPort& port : batch.ports) {
        sqlite3_stmt* statement = port.json ? put_port_.get() : delete_port_.get();
        bind_text(statement, 1, port.name);
        if (port.json) {
            bind_text(statement, 2, *port.json);
            sqlite3_bind_int64(statement, 3, static_cast<int64_t>(port.revision));
            sqlite3_bind_int64(statement, 4, checksum(port.name, *port.json));
        }
        if (auto ok = step(statement); !ok) return ok;
    }
    for (const StoredNeighbor& neighbor : batch.neighbors) {
        sqlite3_stmt* statement = neighbor.mac ? put_neighbor_.get() : delete_neighbor_.get();
        bind_text(statement, 1, neighbor.port);
        bind_blob(statement, 2, address_bytes(neighbor.address));
        if (neighbor.mac) {
            bind_blob(statement, 3, mac_bytes(*neighbor.mac));
            bind_text(statement, 4, neighbor.owner);
        }
        if (auto ok = step(statement); !ok) return ok;
    }
    if (auto ok = write_groups(batch); !ok) return ok;
    if (auto ok = write_vrfs(batch); !ok) return ok;
    if (batch.replace_routes) {
        if (auto ok = step(clear_chunks_.get()); !ok) return ok;
    }
    for (const std::string& chunk : batch.route_chunks) {
        bind_blob(put_chunk_.get(), 1, chunk);
        if (auto ok = step(put_chunk_.get()); !ok) return ok;
    }
    sqlite3_bind_int64(put_revision_.get(), 1, static_cast<int64_t>(batch.revision));
    return step(put_revision_.get());
}

Result<void> SqliteStore::write_vrfs(const StoreBatch& batch) {
    for (const StoredVrf& vrf : batch.vrfs) {
        sqlite3_stmt* statement = vrf.json ? put_vrf_.get() : delete_vrf_.get();
        sqlite3_bind_int64(statement, 1, vrf.id.value());
        if (vrf.json) {
            bind_text(statement, 2, *vrf.json);
            sqlite3_bind_int64(statement, 3, static_cast<int64_t>(vrf.revision));
            sqlite3_bind_int64(statement, 4, checksum(std::to_string(vrf.id.value()), *vrf.json));
        }
        if (auto ok = step(statement); !ok) return ok;
    }
    return {};
}

Result<void> SqliteStore::write_groups(const StoreBatch& batch) {
    const auto bind_key = [](sqlite3_stmt* statement, const GroupKey& key) {
        sqlite3_bind_int64(statement, 1, static_cast<int64_t>(key.kind));
        bind_text(statement, 2, key.name);
    };
    for (const StoredGroup& group : batch.groups) {
        sqlite3_stmt* statement = group.json ? put_group_.get() : delete_group_.get();
        bind_key(statement, group.key);
        if (group.json) {
            bind_text(statement, 3, *group.json);
            sqlite3_bind_int64(statement, 4, static_cast<int64_t>(group.revision));
            sqlite3_bind_int64(statement, 5, checksum(group.key.name, *group.json));
        }
        if (auto ok = step(statement); !ok) return ok;
        if (group.json) continue;
        bind_key(clear_members_.get(), group.key);
        if (auto ok = step(clear_members_.get()); !ok) return ok;
    }
    for (const StoredMember& member : batch.members) {
        sqlite3_stmt* statement = member.removed ? delete_member_.get() : put_member_.get();
        bind_key(statement, member.key);
        bind_blob(statement, 3, address_bytes(member.prefix.address));
        sqlite3_bind_int64(statement, 4, member.prefix.length);
        if (auto ok = step(statement); !ok) return ok;
    }
    return {};
}

StoreStatus SqliteStore::status() const {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) return {StoreStatus::State::kFailed, options_.path, failure_};
    if (!set_aside_.empty()) return {StoreStatus::State::kSetAside, options_.path, set_aside_};
    return {StoreStatus::State::kOk, options_.path, ""};
}

}  // namespace slash32
