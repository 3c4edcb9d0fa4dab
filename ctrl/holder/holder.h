// SPDX-License-Identifier: Apache-2.0
// The holder: a process beside the daemon that has its TAP interfaces open too, so that a daemon
// that dies does not take them along. Their carrier stays up, and so do addresses, routes, and the
// sessions of whoever speaks over them, until the next daemon takes them over. If none comes in
// time they are let go, and their routes with them: others must learn that nobody forwards any
// more.
#pragma once

#include <string>

namespace slash32 {

// Runs until nothing is held, nobody is connected, and none has come in time. `first` is a socket
// that the daemon holds the other end of; later ones connect at `path`. Returns the exit status.
int run_holder(const std::string& path, int first, unsigned seconds);

}  // namespace slash32
