// SPDX-License-Identifier: Apache-2.0
// What the control protocol says of segment routing: tunnels and segments as next hops of routes.
#pragma once

#include "ctrl/intent/requests.h"
#include "ctrl/rpc/decode.h"
#include "dp/base/result.h"

#include <string>

namespace slash32 {

// A path of a tunnel: {"segments": [...], "encap"?, "weight"?}. Errors: kInvalid.
Result<void> decode(const rpc::Json& json, const rpc::Path& path, SegmentPath& out);
// The `segments` of a tunnel by one path. Errors: kInvalid.
Result<void> decode_segments(const rpc::Json& json, const rpc::Path& path, std::vector<Ip6>& out);
// The value of "encap".
Result<void> decode_encap(const rpc::Json& json, const rpc::Path& path, bool& reduced);
// Of a tunnel: no two are the same. Errors: kInvalid.
Result<void> check_paths(const std::vector<SegmentPath>& paths, const rpc::Path& path);
// A segment: {"behavior", "flavors"?, "vrf"?, "block"?, "port"?, "via"?, "mac"?}; port and what
// belongs to it are read into the request. Errors: kInvalid.
Result<void> decode_sid(const rpc::Json& json, const rpc::Path& path, HopRequest& out);
// That the one prefix of a route may be such a segment, which takes it. `path` is that of the
// route. Errors: kInvalid.
Result<void> take_sid_prefix(RouteGroup& group, const rpc::Path& path);

// The same as text: the members of a `next_hop`, without its braces.
std::string tunnel_text(const SegmentHop& tunnel);
// `over`: its members for port, via and mac, each behind a comma.
std::string sid_text(const SidIntent& sid, const std::string& over);

}  // namespace slash32
