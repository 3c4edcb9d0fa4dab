// SPDX-License-Identifier: Apache-2.0
#include "ctrl/netlink/route_socket.h"

#include "ctrl/netlink/messages.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace slash32 {
namespace {

// A dump comes in parts of up to 32 KiB where the reader has room for them.
constexpr size_t kBufferBytes = 32 << 10;
// A dump that the table changed under is begun anew; a table that always changes ends it.
constexpr int kDumpAttempts = 16;

uint8_t kernel_family(Family family) {
    return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

int take_attribute(const nlattr* attribute, void* data) {
    auto** attributes = static_cast<const nlattr**>(data);
    const uint16_t type = mnl_attr_get_type(attribute);
    if (type <= RTA_MAX) attributes[type] = attribute;
    return MNL_CB_OK;
}

// Appends the route if it is a unicast one of the protocol. The kernel has seen to that already,
// but an older one sends everything.
void take_route(const nlmsghdr* message, uint8_t protocol, std::vector<KernelRoute>& routes) {
    if (message->nlmsg_type != RTM_NEWROUTE) return;
    const auto route = read_route(message);
    if (!route || route->protocol != protocol || route->type != RouteType::kUnicast) return;
    routes.push_back(
        KernelRoute{.prefix = route->prefix,
                    .table = route->table,
                    .metric = route->metric,
                    .interface = route->hops.size() == 1 ? route->hops[0].interface : 0});
}

// NLMSGERR_ATTR_MSG (linux/netlink.h): behind the error, and behind the request unless that was
// left out.
std::string words_of(const nlmsghdr* message) {
    if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
    const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
    size_t offset = sizeof *error;
    if ((message->nlmsg_flags & NLM_F_CAPPED) == 0)
        offset += error->msg.nlmsg_len - sizeof(nlmsghdr);
    const nlattr* attributes[RTA_MAX + 1] = {};
    mnl_attr_parse(message, static_cast<unsigned>(offset), take_attribute,
                   static_cast<void*>(attributes));
    const nlattr* words = attributes[NLMSGERR_ATTR_MSG];
    if (words == nullptr || mnl_attr_validate(words, MNL_TYPE_NUL_STRING) != 0) return {};
    return mnl_attr_get_str(words);
}

ErrorCode code_of(int error) {
    switch (error) {
        case EEXIST:
            return ErrorCode::kConflict;
        case EPERM:
        case EACCES:
            return ErrorCode::kForbidden;
        case ENODEV:
            return ErrorCode::kNotFound;
        default:
            return ErrorCode::kUnavailable;
    }
}

Result<void> failed(const char* what, const KernelRoute& route, int error,
                    const std::string& words) {
    const std::string reason =
        error == EEXIST
            ? fmt::format("it has a route of metric {} by somebody else", route.metric)
            : fmt::format("{}{}{}", std::strerror(error), words.empty() ? "" : ": ", words);
    return fail(code_of(error), "",
                fmt::format("cannot {} the route to {} in the kernel's table {}: {}", what,
                            to_string(route.prefix), route.table, reason));
}

}  // namespace

RouteSocket::RouteSocket(NetlinkSocket socket, uint8_t protocol)
    : socket_(std::move(socket)), protocol_(protocol), buffer_(kBufferBytes) {}

Result<std::unique_ptr<RouteSocket>> RouteSocket::open(uint8_t protocol) {
    auto socket = open_netlink(0, 0);
    if (!socket) return tl::unexpected<Error>(socket.error());
    return std::unique_ptr<RouteSocket>(new RouteSocket(std::move(*socket), protocol));
}

uint32_t RouteSocket::port_id() const {
    return mnl_socket_get_portid(socket_.get());
}

nlmsghdr* RouteSocket::prepare(uint16_t type, uint16_t flags) {
    nlmsghdr* request = mnl_nlmsg_put_header(buffer_.data());
    request->nlmsg_type = type;
    request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    request->nlmsg_seq = ++sequence_;
    return request;
}

nlmsghdr* RouteSocket::prepare_route(uint16_t type, uint16_t flags, const KernelRoute& route) {
    nlmsghdr* request = prepare(type, static_cast<uint16_t>(NLM_F_ACK | flags));
    auto* head = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
    head->rtm_family = kernel_family(route.prefix.address.family);
    head->rtm_dst_len = route.prefix.length;
    head->rtm_protocol = protocol_;
    head->rtm_type = RTN_UNICAST;
    // The scope of a neighbour's address; a removal matches any.
    head->rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_LINK;
    const IpAddress& address = route.prefix.address;
    mnl_attr_put(request, RTA_DST, address.bits() / 8u, address.bytes.data());
    mnl_attr_put_u32(request, RTA_TABLE, route.table);
    mnl_attr_put_u32(request, RTA_OIF, route.interface);
    if (route.metric != 0) mnl_attr_put_u32(request, RTA_PRIORITY, route.metric);
    return request;
}

Result<void> RouteSocket::add(const KernelRoute& route) {
    const Answer answer =
        ask(prepare_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route), nullptr);
    if (answer.error != 0) return failed("add", route, answer.error, answer.words);
    return {};
}

Result<void> RouteSocket::remove(const KernelRoute& route) {
    const Answer answer = ask(prepare_route(RTM_DELROUTE, 0, route), nullptr);
    // ENODEV: the interface went, and its routes with it.
    if (answer.error == 0 || answer.error == ESRCH || answer.error == ENODEV) return {};
    return failed("remove", route, answer.error, answer.words);
}

Result<std::vector<KernelRoute>> RouteSocket::routes() {
    std::vector<KernelRoute> found;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const size_t before = found.size();
        Answer answer{.error = EINTR, .words = {}};
        for (int i = 0; i < kDumpAttempts && answer.error == EINTR; ++i) {
            found.resize(before);
            answer = dump(family, found);
        }
        if (answer.error != 0) {
            return fail(
                ErrorCode::kUnavailable, "",
                fmt::format("cannot read the kernel's routes: {}", std::strerror(answer.error)));
        }
    }
    return found;
}

RouteSocket::Answer RouteSocket::dump(Family family, std::vector<KernelRoute>& routes) {
    nlmsghdr* request = prepare(RTM_GETROUTE, NLM_F_DUMP);
    auto* head = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
    head->rtm_family = kernel_family(family);
    head->rtm_protocol = protocol_;
    return ask(request, &routes);
}

RouteSocket::Answer RouteSocket::ask(nlmsghdr* request, std::vector<KernelRoute>* routes) {
    const uint32_t sequence = request->nlmsg_seq;
    if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0)
        return {.error = errno, .words = {}};
    return read_answer(sequence, routes);
}

RouteSocket::Answer RouteSocket::read_answer(uint32_t sequence, std::vector<KernelRoute>* routes) {
    bool interrupted = false;
    for (;;) {
        const ssize_t received = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
        if (received < 0) {
            if (errno == EINTR) continue;
            return {.error = errno, .words = {}};
        }
        int left = static_cast<int>(received);
        for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
             mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
            if (message->nlmsg_seq != sequence) continue;  // of a request that was given up
            interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (message->nlmsg_type == NLMSG_ERROR) {
                const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
                return {.error = -error->error, .words = words_of(message)};
            }
            if (message->nlmsg_type == NLMSG_DONE) {
                // A dump that failed in its middle says so here.
                int error = 0;
                if (mnl_nlmsg_get_payload_len(message) >= sizeof error)
                    std::memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
                if (error < 0) return {.error = -error, .words = {}};
                return {.error = interrupted ? EINTR : 0, .words = {}};
            }
            if (routes != nullptr) take_route(message, protocol_, *routes);
        }
    }
}

}  // namespace slash32
