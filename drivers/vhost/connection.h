// SPDX-License-Identifier: Apache-2.0
// The socket of a frontend's connection, which librte_vhost opens and keeps to itself.
//
// One event thread serves all connections with blocking reads and writes, so a frontend that sends
// half a message, or reads no replies, would stop the service of every other. The library has no
// option against it; the socket has.
//
// Thread safety: any thread. Limits: the descriptor belongs to the library, which closes it when
// the connection ends: use it only while a message of it is being handled.
#pragma once

#include <string>

namespace slash32 {

// The descriptor that a socket made next will probably get.
int next_descriptor();
// The connection with the socket at `path`, whose descriptor is probably `hint` or a little more;
// every descriptor is looked at if not. -1: there is none. `server`: we listen there.
int find_connection(const std::string& path, bool server, int hint);
// Bounds how long a read in the middle of a message may wait.
void bound_reads(int fd);
// Whether a reply would be taken at once.
bool takes_replies(int fd);
// Makes whatever the library still tries on it fail.
void cut_connection(int fd);

}  // namespace slash32
