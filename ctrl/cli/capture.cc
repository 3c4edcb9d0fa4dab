// SPDX-License-Identifier: Apache-2.0
// slash32ctl capture: a port's packets as pcapng, as JSON or as lines.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/pcapng.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <fstream>

namespace slash32::cli {
namespace {

constexpr client::Milliseconds kPoll{500};

struct CaptureOptions {
    std::string port;
    std::vector<std::string> words;  // [direction] filter...
    std::string file;
    uint64_t count = 0;
    uint64_t snap_bytes = 0;
};

// Where packets go. With -w - the text goes to the error stream instead.
class Sink {
  public:
    Sink(Context& context, const CaptureOptions& o, uint32_t snap_bytes)
        : context_(context), to_stdout_(o.file == "-") {
        if (o.file.empty()) return;
        if (!to_stdout_) file_.open(o.file, std::ios::binary | std::ios::trunc);
        stream_ = to_stdout_ ? &context.out : &file_;
        *stream_ << pcapng_header(o.port, snap_bytes);
        stream_->flush();
    }

    bool good() const { return stream_ == nullptr || stream_->good(); }

    void write(const Json& json) {
        const auto data = decode_base64(text_at(json, "data"));
        if (!data) return;
        const CapturedPacket packet{
            number_at(json, "time_ns"), static_cast<uint32_t>(number_at(json, "length")),
            text_at(json, "direction") == "in", text_at(json, "reason"), *data};
        if (stream_ != nullptr) {
            *stream_ << pcapng_packet(packet);
        } else if (context_.globals.json) {
            context_.out << json.dump() << '\n';
        } else {
            fmt::print(context_.out, "{}.{:09} {:3} {} length {}{}\n",
                       packet.time_ns / 1'000'000'000, packet.time_ns % 1'000'000'000,
                       text_at(json, "direction"), summary_of(packet.data), packet.length,
                       packet.reason.empty() ? "" : " dropped: " + packet.reason);
        }
    }
    void flush() { (stream_ != nullptr ? *stream_ : context_.out).flush(); }

  private:
    Context& context_;
    bool to_stdout_;
    std::ofstream file_;
    std::ostream* stream_ = nullptr;  // nullptr: text or JSON on the context's output
};

Json params_of(const CaptureOptions& o) {
    Json params{{"port", o.port}};
    std::string filter;
    for (size_t i = 0; i < o.words.size(); ++i) {
        const std::string& word = o.words[i];
        if (i == 0 && (word == "in" || word == "out" || word == "dropped" || word == "both")) {
            params["direction"] = word;
        } else {
            filter += (filter.empty() ? "" : " ") + word;
        }
    }
    if (!filter.empty()) params["filter"] = filter;
    if (o.snap_bytes > 0) params["snap_bytes"] = o.snap_bytes;
    if (o.count > 0) params["packets_max"] = o.count;
    return params;
}

void capture(Context& context, const CaptureOptions& o) {
    const auto started = context.call("capture.start", params_of(o));
    if (!started) return;
    const uint64_t id = number_at(*started, "capture");
    Sink sink(context, o, static_cast<uint32_t>(number_at(*started, "snap_bytes", 65535)));
    const InterruptGuard guard;
    uint64_t packets = 0;
    uint64_t lost = 0;
    bool ended = false;
    while (!ended && !interrupted() && sink.good()) {
        const auto notification = context.connect()->next(kPoll);
        if (!notification) return context.fail(notification.error());
        if (!*notification || (*notification)->method != "capture.packets") continue;
        const Json& params = (*notification)->params;
        if (number_at(params, "capture") != id) continue;
        for (const Json& packet : array_at(params, "packets")) {
            sink.write(packet);
            ended = ended || (++packets == o.count && o.count > 0);
        }
        sink.flush();
        lost = number_at(params, "lost");
        ended = ended || bool_at(params, "ended");
    }
    if (!sink.good()) context.usage("cannot write " + o.file);
    // A pipe that tcpdump has closed ends the capture as ^C does; closing stops it in the daemon.
    context.disconnect();
    fmt::print(context.err, "{} packets captured, {} lost\n", packets, lost);
}

}  // namespace

void add_capture(CLI::App& app, Context& context) {
    auto o = std::make_shared<CaptureOptions>();
    CLI::App* command =
        app.add_subcommand("capture", "Packets of a port: PORT [in|out|dropped] [FILTER]");
    command->add_option("port", o->port, "The port")->required();
    command->add_option("what", o->words, "in, out, both or dropped; then a tcpdump filter");
    command->add_option("-w", o->file, "Write pcapng to this file; - is stdout, for tcpdump -r -");
    command->add_option("-c,--count", o->count, "End after so many packets");
    command->add_option("--snap", o->snap_bytes, "Bytes to keep of a packet");
    command->callback([&context, o] { capture(context, *o); });
}

}  // namespace slash32::cli
