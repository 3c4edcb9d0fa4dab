// SPDX-License-Identifier: Apache-2.0
#include "ctrl/daemon/segment_routing.h"

#include "ctrl/daemon/segment_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace slash32 {
namespace {

constexpr unsigned kMaxDscp = 63;  // RFC 2474 section 3: six bits

tl::unexpected<Error> bad(const char* option, std::string message) {
    return fail(ErrorCode::kInvalid, option, std::move(message));
}

bool overlap(const IpPrefix& a, const IpPrefix& b) {
    return a.contains(b.address) || b.contains(a.address);
}

Result<std::vector<IpPrefix>> read_prefixes(const char* option,
                                            const std::vector<std::string>& texts) {
    std::vector<IpPrefix> prefixes;
    if (texts.size() > SrDomain::kMaxPrefixes)
        return bad(option, fmt::format("at most {} prefixes", SrDomain::kMaxPrefixes));
    for (const std::string& text : texts) {
        const auto prefix = parse_prefix(text);
        if (!prefix || prefix->address.is_ipv4())
            return bad(option, fmt::format("\"{}\" is not an IPv6 prefix", text));
        for (const IpPrefix& other : prefixes) {
            if (overlap(*prefix, other))
                return bad(option, fmt::format("{} and {} overlap", to_string(other), text));
        }
        prefixes.push_back(*prefix);
    }
    return prefixes;
}

SrDomain::Prefixes build_prefixes(const std::vector<IpPrefix>& prefixes) {
    SrDomain::Prefixes built;
    for (const IpPrefix& prefix : prefixes)
        built.list[built.count++] = PrefixMatch<Ip6>(prefix);
    return built;
}

Result<std::optional<uint8_t>> read_dscp(const std::string& text) {
    if (text == "copy") return std::optional<uint8_t>();
    unsigned value = 0;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, value);
    if (error != std::errc{} || end != last || value > kMaxDscp)
        return bad("srv6.dscp", fmt::format("must be \"copy\" or a number from 0 to {}", kMaxDscp));
    return std::optional(static_cast<uint8_t>(value));
}

Result<Ip6> read_source(const Config& config, const IpPrefix& locator) {
    if (config.srv6_source.empty()) return locator.address.ipv6();
    const auto source = parse_ip(config.srv6_source);
    if (!source || source->is_ipv4() || source->ipv6().is_multicast() ||
        source->ipv6().is_unspecified() || source->ipv6().is_link_local()) {
        return bad("srv6.source", "must be a routed IPv6 address");
    }
    return source->ipv6();
}

// The keys, and which of them signs.
Result<void> read_keys(const Config& config, SegmentRouting& out) {
    auto keys = read_segment_keys(config.srv6_hmac_keys);
    if (!keys) return tl::unexpected<Error>(keys.error());
    if (config.srv6_hmac_require && keys->count == 0)
        return bad("srv6.hmac_require", "needs keys: srv6.hmac_keys");
    keys->required = config.srv6_hmac_require;
    out.domain.keys = *keys;
    if (config.srv6_hmac_sign == 0) return {};
    const SegmentKey* key = keys->find(static_cast<uint32_t>(config.srv6_hmac_sign));
    if (key == nullptr)
        return bad("srv6.hmac_sign",
                   fmt::format("there is no key {} in srv6.hmac_keys", config.srv6_hmac_sign));
    out.tunnels.key = *key;
    return {};
}

}  // namespace

Result<std::optional<SegmentRouting>> read_segment_routing(const Config& config) {
    if (config.srv6_locator.empty()) {
        const bool more = !config.srv6_source.empty() || !config.srv6_locators.empty() ||
                          !config.srv6_sources.empty() || !config.srv6_hmac_keys.empty();
        if (more) return bad("srv6.locator", "is required by what else is set of srv6");
        return std::optional<SegmentRouting>();
    }
    SegmentRouting out;
    const auto locator = parse_prefix(config.srv6_locator);
    // RFC 8986 section 3.1: what follows the locator is the function.
    if (!locator || locator->address.is_ipv4() || locator->length < 16 || locator->length > 120)
        return bad("srv6.locator", "must be an IPv6 prefix of 16 to 120 bits");
    out.locator = *locator;
    const std::vector<std::string> own{config.srv6_locator};
    const auto locators =
        read_prefixes("srv6.locators", config.srv6_locators.empty() ? own : config.srv6_locators);
    if (!locators) return tl::unexpected<Error>(locators.error());
    out.domain.locators = build_prefixes(*locators);
    const bool inside = std::ranges::any_of(*locators, [&](const IpPrefix& prefix) {
        return prefix.length <= locator->length && prefix.contains(locator->address);
    });
    if (!inside)
        return bad("srv6.locators",
                   fmt::format("none holds the node's own locator {}", to_string(*locator)));
    out.domain.sources = out.domain.locators;
    if (!config.srv6_sources.empty()) {
        const auto sources = read_prefixes("srv6.sources", config.srv6_sources);
        if (!sources) return tl::unexpected<Error>(sources.error());
        out.domain.sources = build_prefixes(*sources);
    }
    const auto source = read_source(config, *locator);
    if (!source) return tl::unexpected<Error>(source.error());
    out.domain.tunnel_source = *source;
    const auto dscp = read_dscp(config.srv6_dscp);
    if (!dscp) return tl::unexpected<Error>(dscp.error());
    out.tunnels = {
        .source = *source, .hop_limit = static_cast<uint8_t>(config.srv6_hop_limit), .dscp = *dscp};
    if (auto keys = read_keys(config, out); !keys) return tl::unexpected<Error>(keys.error());
    return std::optional(out);
}

}  // namespace slash32
