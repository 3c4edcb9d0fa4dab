// SPDX-License-Identifier: Apache-2.0
#include "ctrl/holder/client.h"

#include "ctrl/holder/message.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

extern char** environ;

namespace slash32 {
namespace {

using Kind = HolderMessage::Kind;

int connect_to(const std::string& path) {
    const auto address = holder_address(path);
    if (!address) return -1;
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0) return fd;
    close(fd);
    return -1;
}

// In a session of its own, so that what ends the daemon's ends not it. Returns an errno.
int spawn(const HolderClient::Options& options, int socket) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, socket, kHolderSocket);
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        posix_spawn_file_actions_addopen(&files, standard, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addchdir_np(&files, "/");
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    std::string program = "/proc/self/exe";
    std::string name = "slash32-holder";
    std::string argument = kHolderArgument;
    std::string path = options.path;
    std::string seconds = std::to_string(options.seconds);
    const std::array<char*, 5> arguments = {name.data(), argument.data(), path.data(),
                                            seconds.data(), nullptr};
    pid_t child = 0;
    const int error =
        posix_spawn(&child, program.c_str(), &files, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

}  // namespace

Result<std::unique_ptr<HolderClient>> HolderClient::open(const Options& options) {
    if (const int fd = connect_to(options.path); fd >= 0) {
        std::unique_ptr<HolderClient> client(new HolderClient(fd));
        HolderMessage message = holder_message(Kind::kSeconds, "");
        message.seconds = options.seconds;
        if (client->read_held() && send_message(fd, message, -1)) return client;
        // It was about to end.
    }
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return fail(ErrorCode::kUnavailable, "", "no more file descriptors");
    const int error = spawn(options, ends[1]);
    close(ends[1]);
    std::unique_ptr<HolderClient> client(new HolderClient(ends[0]));
    if (error != 0) {
        return fail(ErrorCode::kUnavailable, "",
                    fmt::format("cannot start the holder: {}", std::strerror(error)));
    }
    // It says so when others can find it.
    if (!client->read_held())
        return fail(ErrorCode::kUnavailable, "", fmt::format("no holder at {}", options.path));
    return client;
}

void HolderClient::let_go(const std::string& path) {
    const int fd = connect_to(path);
    if (fd < 0) return;
    HolderClient client(fd);
    if (client.read_held()) client.drop_untaken();
}

HolderClient::~HolderClient() {
    for (const auto& [name, descriptor] : left_)
        close(descriptor);
    close(socket_);
}

bool HolderClient::read_held() {
    for (;;) {
        HolderMessage message;
        int descriptor = -1;
        if (!receive_message(socket_, message, descriptor)) return false;
        if (message.kind == Kind::kEnd) return true;
        if (descriptor >= 0) left_.emplace(message.text(), descriptor);
    }
}

int HolderClient::take(const std::string& name) {
    const auto found = left_.extract(name);
    return found.empty() ? -1 : found.mapped();
}

void HolderClient::keep(const std::string& name, int descriptor) {
    send_message(socket_, holder_message(Kind::kKeep, name), descriptor);
}

void HolderClient::drop(const std::string& name) {
    send_message(socket_, holder_message(Kind::kDrop, name), -1);
}

void HolderClient::drop_untaken() {
    for (const auto& [name, descriptor] : std::exchange(left_, {})) {
        drop(name);
        close(descriptor);
    }
}

}  // namespace slash32
