// SPDX-License-Identifier: Apache-2.0
// Security groups and address sets as JSON: in requests, in listings and in the store.
#pragma once

#include "ctrl/intent/model.h"
#include "ctrl/rpc/decode.h"
#include "ctrl/rpc/handler.h"

#include <string>
#include <string_view>
#include <vector>

namespace slash32 {

// Every member with its value, owner included; the members of the group are not among them.
rpc::Json to_json(const GroupIntent& intent);
rpc::Json to_json(const RuleIntent& rule);
rpc::Json to_json(const std::vector<IpPrefix>& members);

// Found by argument-dependent lookup from rpc::decode of a vector. Errors: kInvalid, for a rule
// that no packet could match too.
Result<void> decode(const rpc::Json& json, const rpc::Path& path, RuleIntent& out);

// Reads the members that define a group of `out.key.kind` from an object; further ones are left to
// the caller. The rules are put in order, each once.
void read_group(rpc::Fields& fields, GroupIntent& out);
// Errors: kInvalid for a name that is built in.
Result<void> finish_group(const rpc::Path& path, const GroupIntent& group);

// to_json() of a group as text, without a document of 10,000 rules in between.
std::string to_text(const GroupIntent& intent);
// A group as to_text() wrote it.
Result<GroupIntent> parse_group(GroupKind kind, const std::string& text);

// A protocol by name or number. Errors: kInvalid.
Result<void> decode_protocol(const rpc::Json& json, const rpc::Path& path, uint8_t& out);
// "tcp", or "253".
std::string protocol_name(uint8_t protocol);

// "security group web", for messages.
std::string describe(const GroupKey& key);
// One line for people: "ingress ipv4 tcp 80-81 from 10.0.0.0/8".
std::string describe(const RuleIntent& rule);

}  // namespace slash32
