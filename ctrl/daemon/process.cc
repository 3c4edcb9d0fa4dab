// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/process.h"

#include "ctrl/log/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace slash32 {
namespace {

// 1,000 vhost-user ports hold some six descriptors each.
constexpr rlim_t kWantedFiles = 65536;

}  // namespace

void raise_file_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kWantedFiles) return;
    rlimit wanted{kWantedFiles, std::max(kWantedFiles, limit.rlim_max)};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
    wanted = {std::min(kWantedFiles, limit.rlim_max), limit.rlim_max};  // without privilege
    setrlimit(RLIMIT_NOFILE, &wanted);
    log("daemon").warn("only {} files may be open: about {} ports", wanted.rlim_cur,
                       wanted.rlim_cur / 8);
}

Result<void> make_directory(const std::string& path, const char* option) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error)
        return fail(ErrorCode::kUnavailable, option,
                    fmt::format("cannot make {}: {}", path, error.message()));
    return {};
}

Result<void> lock_directory(const std::string& run_dir, Descriptor& lock) {
    const std::string path = run_dir + "/slash32d.lock";
    lock.reset(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (lock.get() < 0)
        return fail(ErrorCode::kUnavailable, "daemon.run_dir",
                    fmt::format("cannot open {}: {}", path, std::strerror(errno)));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(ErrorCode::kConflict, "daemon.run_dir",
                    fmt::format("another slash32d runs in {}", run_dir));
    return {};
}

}  // namespace slash32
