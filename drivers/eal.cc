// SPDX-License-Identifier: Apache-2.0
#include "drivers/eal.h"

#include "dp/abi/punt.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_memzone.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

namespace slash32 {
namespace {

constexpr size_t kHugepageBytes = size_t{2} << 20;
constexpr unsigned kMinMemoryMb = 64;
constexpr unsigned kMaxMemoryMb = 512 * 1024;

// DPDK's log. Lines that come while it starts are kept until the standard streams, which it also
// prints to, are ours again.
class LogStream {
  public:
    void open(std::function<void(int, std::string_view)> sink) {
        sink_ = std::move(sink);
        holding_ = true;
        if (stream_ != nullptr) return;
        cookie_io_functions_t functions{};
        functions.write = [](void* self, const char* data, size_t n) -> ssize_t {
            static_cast<LogStream*>(self)->write(std::string_view(data, n));
            return static_cast<ssize_t>(n);
        };
        stream_ = fopencookie(this, "w", functions);
        if (stream_ == nullptr) return;
        setvbuf(stream_, nullptr, _IOLBF, 1024);
        rte_openlog_stream(stream_);
    }

    void release() {
        std::vector<Line> lines;
        {
            const std::lock_guard lock(mutex_);
            holding_ = false;
            lines.swap(held_);
        }
        for (const Line& line : lines)
            emit(line);
    }

    // The last lines of the start that complain.
    std::string complaint() const {
        const std::lock_guard lock(mutex_);
        for (const Line& line : held_) {
            if (line.level <= static_cast<int>(RTE_LOG_ERR)) return line.text;
        }
        return {};
    }

  private:
    struct Line {
        int level;
        std::string text;
    };

    void write(std::string_view data) {
        const int level = rte_log_cur_msg_loglevel();
        while (!data.empty()) {
            const size_t end = data.find('\n');
            const std::string_view text = data.substr(0, end);
            if (!text.empty()) {
                Line line{level, std::string(text)};
                std::unique_lock lock(mutex_);
                if (holding_) {
                    held_.push_back(std::move(line));
                } else {
                    lock.unlock();
                    emit(line);
                }
            }
            if (end == std::string_view::npos) break;
            data.remove_prefix(end + 1);
        }
    }

    void emit(const Line& line) const {
        if (sink_) sink_(line.level, line.text);
    }

    mutable std::mutex mutex_;
    std::function<void(int, std::string_view)> sink_;
    std::vector<Line> held_;
    bool holding_ = true;
    FILE* stream_ = nullptr;
};

LogStream& log_stream() {
    static LogStream* stream = new LogStream;  // outlives every thread that may still log
    return *stream;
}

// Sends the standard streams to a file in memory: rte_eal_init prints its fatal errors and its
// usage there, whatever the log stream is.
class StandardStreams {
  public:
    StandardStreams() {
        fflush(stdout);
        fflush(stderr);
        capture_ = memfd_create("eal-output", MFD_CLOEXEC);
        out_ = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        err_ = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        if (capture_ < 0) return;
        if (out_ >= 0) dup2(capture_, STDOUT_FILENO);
        if (err_ >= 0) dup2(capture_, STDERR_FILENO);
    }
    ~StandardStreams() { restore(); }
    StandardStreams(const StandardStreams&) = delete;
    StandardStreams& operator=(const StandardStreams&) = delete;

    // Gives them back; the text that was printed meanwhile.
    std::string restore() {
        if (capture_ < 0) return {};
        fflush(stdout);
        fflush(stderr);
        give_back(out_, STDOUT_FILENO);
        give_back(err_, STDERR_FILENO);
        std::string text(4096, '\0');
        const ssize_t n = pread(capture_, text.data(), text.size(), 0);
        text.resize(n > 0 ? static_cast<size_t>(n) : 0);
        close(capture_);
        capture_ = -1;
        return text;
    }

  private:
    static void give_back(int& saved, int target) {
        if (saved < 0) return;
        dup2(saved, target);
        close(saved);
        saved = -1;
    }

    int capture_ = -1;
    int out_ = -1;
    int err_ = -1;
};

std::string file_prefix;  // of the instance that has started

struct HugeMount {
    std::string path;
};

// Where 2 MB pages can be taken from, if anywhere.
std::optional<HugeMount> find_hugetlbfs() {
    std::ifstream mounts("/proc/self/mounts");
    std::string line;
    while (std::getline(mounts, line)) {
        std::istringstream fields(line);
        std::string device, path, type, flags;
        fields >> device >> path >> type >> flags;
        if (type != "hugetlbfs") continue;
        const size_t size = flags.find("pagesize=");
        if (size != std::string::npos && flags.compare(size + 9, 2, "2M") != 0) continue;
        if (access(path.c_str(), W_OK) == 0) return HugeMount{path};
    }
    return std::nullopt;
}

// The files that EAL makes there for instances with this prefix.
std::vector<std::filesystem::path> hugepage_files(const HugeMount& mount,
                                                  const std::string& prefix) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(mount.path, error)) {
        if (entry.path().filename().string().starts_with(prefix + "map_"))
            files.push_back(entry.path());
    }
    return files;
}

// Pages that are free, or held by files that a killed instance of ours left behind (the start
// clears those).
size_t free_hugepages(const HugeMount& mount, const std::string& prefix) {
    size_t pages = 0;
    std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") >> pages;
    for (const auto& path : hugepage_files(mount, prefix)) {
        struct stat status {};
        if (stat(path.c_str(), &status) == 0)
            pages += static_cast<size_t>(status.st_blocks) * 512 / kHugepageBytes;
    }
    return pages;
}

Result<bool> choose_hugepages(const EalOptions& options) {
    if (options.hugepages == HugepageMode::kNever) return false;
    const size_t wanted = (size_t{options.memory_mb} << 20) / kHugepageBytes;
    const auto mount = find_hugetlbfs();
    const size_t pages = mount ? free_hugepages(*mount, options.file_prefix) : 0;
    if (pages >= wanted) return true;
    if (options.hugepages == HugepageMode::kAuto) return false;
    if (!mount) {
        return fail(ErrorCode::kUnavailable, "memory.huge",
                    "hugepages are required, but no hugetlbfs with 2 MB pages that this user may "
                    "write is mounted");
    }
    return fail(ErrorCode::kUnavailable, "memory.huge",
                fmt::format("hugepages are required: {} MB wanted, {} MB free", options.memory_mb,
                            pages * kHugepageBytes >> 20));
}

// Plain memory is promised by the kernel long before it is used: what the machine does not have is
// refused here, and not found out by its OOM killer.
Result<void> check_plain_memory(size_t wanted_mb) {
    const size_t bytes =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    if (wanted_mb <= bytes >> 20) return {};
    return fail(ErrorCode::kUnavailable, "memory.size_mb",
                fmt::format("{} MB wanted, and the machine has {} MB", wanted_mb, bytes >> 20));
}

Result<void> check_core(unsigned core, const cpu_set_t& allowed, const char* path) {
    if (core >= CPU_SETSIZE || core >= RTE_MAX_LCORE)
        return fail(ErrorCode::kInvalid, path, fmt::format("core {} is out of range", core));
    if (CPU_ISSET(core, &allowed)) return {};
    const bool exists =
        core < std::thread::hardware_concurrency() ||
        access(fmt::format("/sys/devices/system/cpu/cpu{}", core).c_str(), F_OK) == 0;
    return fail(ErrorCode::kInvalid, path,
                fmt::format("core {} {}", core,
                            exists ? "may not be used by this process" : "does not exist"));
}

Result<void> check_options(const EalOptions& o) {
    if (o.worker_cores.empty())
        return fail(ErrorCode::kInvalid, "workers.cores", "at least one worker core is needed");
    if (o.worker_cores.size() >= RTE_MAX_LCORE)
        return fail(ErrorCode::kInvalid, "workers.cores", "too many workers");
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    if (auto ok = check_core(o.control_core, allowed, "workers.control_core"); !ok) return ok;
    for (const unsigned core : o.worker_cores) {
        if (auto ok = check_core(core, allowed, "workers.cores"); !ok) return ok;
    }
    if (o.memory_mb < kMinMemoryMb || o.memory_mb > kMaxMemoryMb) {
        return fail(ErrorCode::kInvalid, "memory.size_mb",
                    fmt::format("{} MB is out of range: {} to {}", o.memory_mb, kMinMemoryMb,
                                kMaxMemoryMb));
    }
    const bool plain = std::all_of(o.file_prefix.begin(), o.file_prefix.end(), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    });
    if (o.file_prefix.empty() || o.file_prefix.size() > 32 || !plain) {
        return fail(ErrorCode::kInvalid, "memory.prefix",
                    "must be 1 to 32 letters, digits, '-', '_' or '.'");
    }
    return {};
}

std::vector<std::string> eal_arguments(const EalOptions& o, bool hugepages) {
    std::string lcores = fmt::format("0@{}", o.control_core);
    for (size_t i = 0; i < o.worker_cores.size(); ++i)
        lcores += fmt::format(",{}@{}", i + 1, o.worker_cores[i]);
    std::vector<std::string> a = {"slash32d",    "--lcores",      lcores,        "--main-lcore",
                                  "0",           "--file-prefix", o.file_prefix, "--no-telemetry",
                                  "--proc-type", "primary"};
    if (!hugepages) {
        a.insert(a.end(), {"--no-huge", "-m", std::to_string(o.memory_mb)});
    } else {
        // A virtio-user uplink tells its backend of our memory, in eight regions at most.
        a.emplace_back("--single-file-segments");
    }
    if (o.pci) {
        for (const std::string& device : o.allow)
            a.insert(a.end(), {"--allow", device});
    } else {
        a.insert(a.end(), {"--no-pci", "--iova-mode", "va"});
    }
    for (const std::string& device : o.vdevs)
        a.insert(a.end(), {"--vdev", device});
    return a;
}

// The runtime directory's lock, held by a running instance. EAL takes the same one; looking first
// gives a plain sentence.
bool instance_runs(const std::string& prefix) {
    const char* directory = getenv("RUNTIME_DIRECTORY");
    const char* user = getenv("XDG_RUNTIME_DIR");
    const std::string base = directory != nullptr ? directory
                             : getuid() == 0      ? "/var/run"
                             : user != nullptr    ? user
                                                  : "/tmp";
    const int fd = open(fmt::format("{}/dpdk/{}/config", base, prefix).c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    const bool runs = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return runs;
}

std::string first_fatal(const std::string& output) {
    std::istringstream lines(output);
    std::string line;
    while (std::getline(lines, line)) {
        constexpr std::string_view kMark = "EAL: FATAL: ";
        if (line.starts_with(kMark)) return line.substr(kMark.size());
    }
    return {};
}

}  // namespace

void set_eal_log_level(int level) {
    const auto value = static_cast<uint32_t>(std::clamp(level, 1, 8));
    rte_log_set_global_level(value);
    rte_log_set_level_pattern("lib.*", value);
    rte_log_set_level_pattern("pmd.*", value);
    // librte_vhost reports every message of every frontend at INFO, and every try to connect as a
    // WARNING; the driver tells the same in its own events.
    rte_log_set_level_pattern("lib.vhost.*", value >= RTE_LOG_INFO ? value : RTE_LOG_CRIT);
}

Result<EalInfo> start_eal(const EalOptions& options) {
    if (auto ok = check_options(options); !ok) return tl::unexpected(ok.error());
    if (instance_runs(options.file_prefix)) {
        return fail(ErrorCode::kConflict, "memory.prefix",
                    fmt::format("another instance is running with the file prefix '{}'",
                                options.file_prefix));
    }
    const auto hugepages = choose_hugepages(options);
    if (!hugepages) return tl::unexpected(hugepages.error());
    if (!*hugepages) {
        if (auto ok = check_plain_memory(options.memory_mb); !ok) return tl::unexpected(ok.error());
    }

    log_stream().open(options.log);
    set_eal_log_level(options.log_level);
    std::vector<std::string> arguments = eal_arguments(options, *hugepages);
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string& argument : arguments)
        argv.push_back(argument.data());
    argv.push_back(nullptr);

    StandardStreams streams;
    const int started = rte_eal_init(static_cast<int>(arguments.size()), argv.data());
    const int error = rte_errno;
    const std::string output = streams.restore();
    const std::string complaint = log_stream().complaint();
    log_stream().release();
    if (started < 0) {
        std::string what = first_fatal(output);
        if (!complaint.empty() && complaint.find(what) == std::string::npos)
            what += fmt::format(" ({})", complaint);
        if (what.empty()) what = rte_strerror(error);
        return fail(ErrorCode::kUnavailable, "", "DPDK does not start: " + what);
    }
    set_eal_log_level(options.log_level);

    file_prefix = options.file_prefix;
    EalInfo info{.hugepages = *hugepages, .worker_lcores = {}};
    for (unsigned i = 0; i < options.worker_cores.size(); ++i)
        info.worker_lcores.push_back(i + 1);
    return info;
}

void stop_eal() {
    const bool hugepages = rte_eal_has_hugepages() != 0;
    rte_eal_cleanup();
    if (!hugepages) return;
    // EAL leaves its files, and with them the pages, to whoever starts next.
    const auto mount = find_hugetlbfs();
    if (!mount) return;
    std::error_code error;
    for (const auto& path : hugepage_files(*mount, file_prefix))
        std::filesystem::remove(path, error);
}

Result<rte_mempool*> create_packet_pool(const PoolOptions& o) {
    static_assert(sizeof(PuntInfo) <= 64);
    const auto private_bytes = static_cast<uint16_t>(
        RTE_ALIGN_CEIL(std::max<size_t>(o.private_bytes, sizeof(PuntInfo)), RTE_MBUF_PRIV_ALIGN));
    const auto short_of_memory = [&o] {
        return fail(ErrorCode::kUnavailable, "memory.mbufs",
                    fmt::format("no memory for the pool '{}' of {} packet buffers: {}", o.name,
                                o.mbufs, rte_strerror(rte_errno)));
    };
    // Objects may cross pages where a device sees the same addresses as we do; otherwise every
    // 4 KB page would hold one packet, and the pool would take twice the memory.
    const bool virtual_addresses = rte_eal_iova_mode() == RTE_IOVA_VA;
    rte_mempool* pool = rte_mempool_create_empty(
        o.name.c_str(), o.mbufs,
        static_cast<unsigned>(sizeof(rte_mbuf) + private_bytes + o.data_room), o.cache,
        sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY,
        virtual_addresses ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);
    if (pool == nullptr) return short_of_memory();
    rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr);
    rte_pktmbuf_pool_private layout{};
    layout.mbuf_data_room_size = o.data_room;
    layout.mbuf_priv_size = private_bytes;
    rte_pktmbuf_pool_init(pool, &layout);

    int populated = -1;
    if (virtual_addresses && !rte_eal_has_hugepages()) {
        size_t chunk = 0;
        size_t align = 0;
        const ssize_t bytes =
            rte_mempool_op_calc_mem_size_default(pool, o.mbufs, 0, &chunk, &align);
        const rte_memzone* zone =
            bytes < 0
                ? nullptr
                : rte_memzone_reserve_aligned(("pool_" + o.name).c_str(),
                                              static_cast<size_t>(bytes), SOCKET_ID_ANY, 0, 4096);
        if (zone != nullptr) {
            // One call faults all pages in, ten times as fast as touching them. A kernel that
            // does not know it (before 5.14) leaves that to the initialisation below.
            madvise(zone->addr, zone->len, MADV_POPULATE_WRITE);
            populated = rte_mempool_populate_iova(pool, static_cast<char*>(zone->addr), zone->iova,
                                                  zone->len, nullptr, nullptr);
            if (populated < 0) rte_memzone_free(zone);
        }
    } else {
        populated = rte_mempool_populate_default(pool);
    }
    if (populated < static_cast<int>(o.mbufs)) {
        rte_mempool_free(pool);
        return short_of_memory();
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
    return pool;
}

}  // namespace slash32
