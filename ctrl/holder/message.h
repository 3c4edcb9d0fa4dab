// SPDX-License-Identifier: Apache-2.0
// What the daemon and the holder of its descriptors say to each other: fixed messages on a
// SOCK_SEQPACKET socket, some with a descriptor (SCM_RIGHTS).
#pragma once

#include "dp/base/result.h"

#include <sys/un.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace slash32 {

struct HolderMessage {
    enum class Kind : uint32_t {
        kKeep,     // to the holder, with a descriptor: in place of one of the same name
        kDrop,     // to the holder
        kSeconds,  // to the holder: how long to hold when the daemon has gone
        kHeld,     // to the daemon, with a descriptor
        kEnd,      // to the daemon: that was all
    };
    Kind kind = Kind::kEnd;
    uint32_t seconds = 0;
    std::array<char, 16> name{};  // of an interface

    std::string text() const { return std::string(name.data()); }
};

// Of the holder's socket; std::nullopt: the path is too long for one.
std::optional<sockaddr_un> holder_address(const std::string& path);

HolderMessage holder_message(HolderMessage::Kind kind, const std::string& name);

// `descriptor` -1: none goes along. False with errno set.
bool send_message(int socket, const HolderMessage& message, int descriptor);

// Receives one; `descriptor` is the caller's from then on, -1: none came along. False at the end of
// the connection, or for what is no such message.
bool receive_message(int socket, HolderMessage& message, int& descriptor);

}  // namespace slash32
