// SPDX-License-Identifier: Apache-2.0
#include "ctrl/client/channel.h"
#include "ctrl/client/slash32.h"
#include "ctrl/rpc/json_text.h"

#include <deque>
#include <map>
#include <utility>

namespace slash32::client {
namespace {

// Requests in flight in call_many(); the daemon stops reading at 64.
constexpr size_t kWindow = 16;

Error refused(const Json& error) {
    Error out{Failure::kRefused, error.value("code", 0), "", "", error.value("message", "")};
    if (const auto data = error.find("data"); data != error.end() && data->is_object()) {
        out.kind = data->value("kind", "");
        out.path = data->value("path", "");
    }
    return out;
}

tl::unexpected<Error> timed_out(std::string_view what) {
    return tl::unexpected(Error{Failure::kTimeout, 0, "timeout", "",
                                "slash32d did not answer " + std::string(what) + " in time."});
}

tl::unexpected<Error> not_understood(std::string_view what) {
    return tl::unexpected(
        Error{Failure::kUnreachable, 0, "unreachable", "",
              "slash32d answered " + std::string(what) + " with something else."});
}

}  // namespace

std::string Error::text() const {
    if (failure != Failure::kRefused) return message;
    std::string out;
    if (!path.empty()) out += path + ": ";
    out += message;
    if (!kind.empty()) out += " (" + kind + ")";
    return out;
}

struct Client::Impl {
    Impl(Options what, Channel how) : options(std::move(what)), channel(std::move(how)) {}

    Deadline deadline() const { return Clock::now() + options.timeout; }
    Result<uint64_t> send(std::string_view method, const Json& params);
    Result<Json> await(uint64_t id, std::string_view method, Deadline until);
    Result<void> greet();
    Result<WatchStart> watch(const WatchRequest& request);
    void sort_in(Json message);

    Options options;
    Channel channel;
    Hello hello;
    uint64_t last_id = 0;
    std::map<uint64_t, Json> replies;  // arrived, not yet asked for
    std::deque<Notification> notifications;
    std::optional<Error> broken;  // an error reply to nothing in particular, or we gave up
    std::optional<WatchRequest> watching;
};

// Files a message under what it is.
void Client::Impl::sort_in(Json message) {
    if (const auto method = message.find("method"); method != message.end()) {
        if (!method->is_string()) return;
        const auto params = message.find("params");
        Json body = params != message.end() ? std::move(*params) : Json::object();
        if (!body.is_object()) return;
        if (notifications.size() >= kMaxQueuedNotifications) {
            broken = Error{Failure::kUnreachable, 0, "unreachable", "",
                           "Too many notifications arrived that nobody read."};
            return;
        }
        notifications.push_back({method->get<std::string>(), std::move(body)});
        return;
    }
    const auto id = message.find("id");
    if (id != message.end() && id->is_number_unsigned()) {
        replies.emplace(id->get<uint64_t>(), std::move(message));
    } else if (const auto error = message.find("error");
               error != message.end() && error->is_object()) {
        broken = refused(*error);
    }
}

Result<uint64_t> Client::Impl::send(std::string_view method, const Json& params) {
    const uint64_t id = ++last_id;
    const std::string body =
        rpc::dump_json({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}});
    if (hello.frame_bytes_max != 0 && body.size() > hello.frame_bytes_max) {
        return tl::unexpected(Error{Failure::kRefused, -32600, "request", "$.params",
                                    "The request is larger than the daemon takes in one frame."});
    }
    if (auto ok = channel.send(body); !ok) return tl::unexpected(ok.error());
    return id;
}

Result<Json> Client::Impl::await(uint64_t id, std::string_view method, Deadline until) {
    while (!replies.contains(id)) {
        if (broken) return tl::unexpected(*broken);
        auto message = channel.receive(until);
        if (!message) return tl::unexpected(message.error());
        if (*message) {
            sort_in(std::move(**message));
        } else if (Clock::now() >= until) {
            return timed_out(method);
        }
    }
    Json reply = std::move(replies.extract(id).mapped());
    if (const auto error = reply.find("error"); error != reply.end()) {
        if (!error->is_object()) return not_understood(method);
        return tl::unexpected(refused(*error));
    }
    const auto result = reply.find("result");
    if (result == reply.end()) return not_understood(method);
    return std::move(*result);
}

Result<void> Client::Impl::greet() {
    Json params = Json::object();
    if (!options.name.empty()) params["client"] = options.name;
    const Deadline until = deadline();
    const auto id = send("hello", params);
    if (!id) return tl::unexpected(id.error());
    const auto result = await(*id, "hello", until);
    if (!result) return tl::unexpected(result.error());
    try {
        hello.api_version = result->at("api_version").get<int>();
        hello.version = result->at("version").get<std::string>();
        hello.instance = result->at("instance").get<std::string>();
        hello.read_only = result->at("read_only").get<bool>();
        hello.frame_bytes_max = result->at("frame_bytes_max").get<size_t>();
        hello.raw = *result;
    } catch (const Json::exception&) {
        return not_understood("hello");
    }
    return {};
}

Result<WatchStart> Client::Impl::watch(const WatchRequest& request) {
    Json params = Json::object();
    if (request.since) params["since"] = *request.since;
    if (!request.instance.empty()) params["instance"] = request.instance;
    if (!request.types.empty()) params["types"] = request.types;
    const Deadline until = deadline();
    const auto id = send("watch", params);
    if (!id) return tl::unexpected(id.error());
    const auto result = await(*id, "watch", until);
    if (!result) return tl::unexpected(result.error());
    WatchStart start;
    try {
        start.instance = result->at("instance").get<std::string>();
        start.seq = result->at("seq").get<uint64_t>();
        start.lost = result->at("lost").get<bool>();
    } catch (const Json::exception&) {
        return not_understood("watch");
    }
    // What a resume will ask for: moved on by every event that next() returns.
    watching = request;
    watching->instance = start.instance;
    if (!request.since || start.lost) watching->since = start.seq;
    return start;
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&& other) noexcept = default;
Client& Client::operator=(Client&& other) noexcept = default;
Client::~Client() = default;

Result<Client> Client::connect(Options options) {
    auto channel = Channel::open(options.socket, Clock::now() + options.timeout);
    if (!channel) return tl::unexpected(channel.error());
    auto impl = std::make_unique<Impl>(std::move(options), std::move(*channel));
    if (auto ok = impl->greet(); !ok) return tl::unexpected(ok.error());
    return Client(std::move(impl));
}

const Hello& Client::hello() const {
    return impl_->hello;
}

int Client::descriptor() const {
    return impl_->channel.fd();
}

Result<Json> Client::call(std::string_view method, Json params) {
    const Deadline until = impl_->deadline();
    const auto id = impl_->send(method, params);
    if (!id) return tl::unexpected(id.error());
    return impl_->await(*id, method, until);
}

Result<std::vector<Json>> Client::call_many(std::string_view method,
                                            const std::vector<Json>& params, size_t* failed) {
    std::vector<Json> results;
    results.reserve(params.size());
    std::deque<uint64_t> in_flight;
    std::optional<Error> first_error;
    for (size_t sent = 0; results.size() < params.size();) {
        while (!first_error && sent < params.size() && in_flight.size() < kWindow) {
            const auto id = impl_->send(method, params[sent]);
            if (!id) return tl::unexpected(id.error());
            in_flight.push_back(*id);
            ++sent;
        }
        if (in_flight.empty()) break;
        auto result = impl_->await(in_flight.front(), method, impl_->deadline());
        in_flight.pop_front();
        if (!result) {
            if (result.error().failure != Failure::kRefused) {
                return tl::unexpected(result.error());
            }
            if (!first_error) {
                first_error = result.error();
                if (failed != nullptr) *failed = results.size();
            }
        }
        results.push_back(result ? std::move(*result) : Json());
    }
    if (first_error) return tl::unexpected(*first_error);
    return results;
}

Result<Listing> Client::list(std::string_view method, std::string_view member, Json params) {
    Listing listing;
    for (bool first = true;; first = false) {
        auto page = call(method, params);
        if (!page) return tl::unexpected(page.error());
        const auto items = page->find(member);
        if (items == page->end() || !items->is_array()) return not_understood(method);
        if (first) listing.seq = page->value("seq", uint64_t{0});
        for (Json& item : *items)
            listing.items.push_back(std::move(item));
        const auto cursor = page->find("cursor");
        if (cursor == page->end()) return listing;
        params["cursor"] = *cursor;
    }
}

Result<WatchStart> Client::watch(WatchRequest request) {
    return impl_->watch(request);
}

Result<WatchStart> Client::resume() {
    const std::optional<WatchRequest> last = impl_->watching;
    auto again = connect(impl_->options);
    if (!again) return tl::unexpected(again.error());
    impl_ = std::move(again->impl_);
    impl_->watching = last;  // kept for the next attempt should this one fail
    return impl_->watch(last.value_or(WatchRequest{}));
}

Result<std::optional<Notification>> Client::next(Milliseconds wait) {
    if (impl_->notifications.empty()) {
        auto message = impl_->channel.receive(Clock::now() + wait);
        if (!message) return tl::unexpected(message.error());
        if (!*message) return std::nullopt;
        impl_->sort_in(std::move(**message));
        if (impl_->broken) return tl::unexpected(*impl_->broken);
        if (impl_->notifications.empty()) return std::nullopt;
    }
    Notification first = std::move(impl_->notifications.front());
    impl_->notifications.pop_front();
    if (first.method == "event" && impl_->watching) {
        // After `lost` a resume asks from before the gap.
        const bool lost = first.params.value("type", "") == "lost";
        impl_->watching->since = first.params.value(lost ? "since" : "seq", uint64_t{0});
    }
    return first;
}

}  // namespace slash32::client
