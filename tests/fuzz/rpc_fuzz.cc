// SPDX-License-Identifier: Apache-2.0
// Fuzzes what a peer of the control socket can send: frames in arbitrary pieces, JSON, the
// envelope, and decoding with every kind of rule. The first byte chooses the size of the pieces.
//
// Properties: nothing crashes; a reply is always a whole frame of valid JSON; framing does not
// depend on how the bytes were cut; what is JSON, and what it means, is what the document's own
// parser says.
#include "ctrl/rpc/decode.h"
#include "ctrl/rpc/envelope.h"
#include "ctrl/rpc/frame.h"
#include "ctrl/rpc/json_text.h"
#include "dp/base/assert.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace slash32::rpc {
namespace {

constexpr size_t kFrameBytesMax = 4096;

enum class Mode { kClient, kServer };

struct Entry {
    uint16_t vrf = 0;
    std::vector<IpPrefix> prefixes;
    std::optional<Mac> mac;
    std::optional<IpAddress> via;
};

struct Everything {
    std::string name;
    std::string text;
    std::vector<Entry> routes;
    std::vector<std::string> groups;
    std::map<std::string, std::string> labels;
    Mode mode = Mode::kClient;
    int64_t number = 0;
    bool flag = false;
};

Result<void> decode(const Json& json, const Path& path, Entry& out) {
    Fields fields(json, path);
    fields.optional("vrf", out.vrf, Range{0, 4095});
    fields.required("prefixes", out.prefixes, Count{1, 100});
    fields.optional("mac", out.mac);
    fields.optional("via", out.via);
    return fields.done();
}

Result<void> decode(const Json& json, const Path& path, Everything& out) {
    static constexpr OneOf kModes{std::pair{std::string_view("client"), Mode::kClient},
                                  std::pair{std::string_view("server"), Mode::kServer}};
    Fields fields(json, path);
    fields.optional("name", out.name, Name{15});
    fields.optional("socket", out.text, Length{1, 107});
    fields.optional("routes", out.routes, Count{0, 100});
    fields.optional("groups", out.groups, Count{0, 32}, Name{64});
    fields.optional("labels", out.labels, Count{0, 32});
    fields.optional("socket_mode", out.mode, kModes);
    fields.optional("since", out.number);
    fields.optional("force", out.flag);
    return fields.done();
}

void check_reply(const std::string& frame) {
    FrameReader reader(size_t{1} << 20);
    const std::span<char> room = reader.prepare();
    S32_ASSERT(frame.size() <= room.size());
    std::memcpy(room.data(), frame.data(), frame.size());
    reader.commit(frame.size());
    const FrameReader::Next next = reader.next();
    S32_ASSERT(next.state == FrameReader::State::kFrame);
    S32_ASSERT(Json::accept(next.body));
}

void compare_parsers(std::string_view body) {
    const Result<Json> parsed = parse_json(body);
    if (parsed) {
        S32_ASSERT(*parsed == Json::parse(body));
    } else if (parsed.error().message.starts_with("is not JSON")) {
        // That parser takes a byte order mark, a NUL for the end, and 1e-999 for 0.
        const bool is_lax = body.starts_with("\xef\xbb\xbf") || body.find('\0') != body.npos ||
                            parsed.error().message.ends_with("out of range");
        S32_ASSERT(is_lax || !Json::accept(body));
    }
}

void handle(std::string_view body) {
    compare_parsers(body);
    const auto parsed = parse_request(body);
    if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
        check_reply(make_error(refusal->id, refusal->error));
        return;
    }
    const auto& request = std::get<Request>(parsed);
    Everything everything;
    const auto decoded = decode(request.params, Path("$.params"), everything);
    check_reply(
        make_result(request.id, decoded ? Outcome(request.params) : Outcome(decoded.error())));
}

std::vector<std::string> frames_of(std::string_view bytes, size_t piece, bool& lost) {
    FrameReader reader(kFrameBytesMax);
    std::vector<std::string> frames;
    lost = false;
    while (!bytes.empty() && !lost) {
        const std::span<char> room = reader.prepare();
        const size_t size = std::min({piece, room.size(), bytes.size()});
        std::memcpy(room.data(), bytes.data(), size);
        reader.commit(size);
        bytes.remove_prefix(size);
        for (;;) {
            const FrameReader::Next next = reader.next();
            lost = next.state == FrameReader::State::kLost;
            if (next.state != FrameReader::State::kFrame) break;
            frames.emplace_back(next.body);
        }
    }
    return frames;
}

}  // namespace
}  // namespace slash32::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace slash32::rpc;
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    bool lost_in_pieces = false;
    bool lost_whole = false;
    const auto frames = frames_of(bytes, size_t{data[0]} + 1, lost_in_pieces);
    S32_ASSERT(frames == frames_of(bytes, bytes.size() + 1, lost_whole));
    S32_ASSERT(lost_in_pieces == lost_whole);
    for (const std::string& frame : frames)
        handle(frame);
    // Also without the frame, so that mutations of the text need not mend the length.
    handle(bytes);
    return 0;
}
