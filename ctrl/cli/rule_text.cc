// SPDX-License-Identifier: Apache-2.0
// Rules of security groups as a person writes and reads them.
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

namespace slash32::cli {
namespace {

std::optional<int64_t> number(std::string_view text) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool put_ports(const std::string& word, Json& rule) {
    const size_t dash = word.find('-');
    const auto low = number(word.substr(0, dash));
    const auto high = dash == std::string::npos ? low : number(word.substr(dash + 1));
    if (!low || !high) return false;
    rule["port_min"] = *low;
    rule["port_max"] = *high;
    return true;
}

// One word at a time, with the next one at hand.
class Words {
  public:
    explicit Words(const std::string& text) : in_(text) { in_ >> word_; }
    const std::string& word() const { return word_; }
    bool done() const { return word_.empty(); }
    bool take(std::string_view wanted) {
        if (word_ != wanted) return false;
        next();
        return true;
    }
    std::string next() {
        std::string taken = std::move(word_);
        word_.clear();
        in_ >> word_;
        return taken;
    }

  private:
    std::istringstream in_;
    std::string word_;
};

bool put_number(Words& words, const char* member, Json& rule) {
    const auto value = number(words.next());
    if (value) rule[member] = *value;
    return value.has_value();
}

bool put_remote(Words& words, Json& rule) {
    const char* member = words.take("group") ? "remote_group"
                         : words.take("set") ? "remote_set"
                                             : "remote_prefix";
    if (words.done()) return false;
    rule[member] = words.next();
    return true;
}

}  // namespace

std::optional<Json> parse_rule(const std::string& text, std::string& why) {
    Words words(text);
    Json rule = Json::object();
    const std::string direction = words.next();
    const bool ingress = direction == "ingress";
    if (!ingress && direction != "egress") {
        why = fmt::format("\"{}\": a rule begins with ingress or egress", text);
        return std::nullopt;
    }
    rule["direction"] = direction;
    const auto wrong = [&](std::string_view what) {
        why = fmt::format("\"{}\": {}", text, what);
        return std::nullopt;
    };
    if (words.word() == "ipv4" || words.word() == "ipv6") rule["ethertype"] = words.next();
    const char* preposition = ingress ? "from" : "to";
    if (!words.done() && words.word() != preposition && !words.take("any")) {
        const std::string protocol = words.next();
        const auto by_number = number(protocol);
        rule["protocol"] = by_number ? Json(*by_number) : Json(protocol);
        if (words.take("type")) {
            if (!put_number(words, "icmp_type", rule)) return wrong("type wants a number");
            if (words.take("code") && !put_number(words, "icmp_code", rule))
                return wrong("code wants a number");
        } else if (!words.done() && words.word() != preposition) {
            if (!put_ports(words.next(), rule)) return wrong("ports are PORT or PORT-PORT");
        }
    }
    if (words.take(preposition) && !put_remote(words, rule))
        return wrong("from and to want a PREFIX, group NAME or set NAME");
    if (!words.done()) return wrong(fmt::format("\"{}\" is not understood", words.word()));
    return rule;
}

std::string rule_text(const Json& rule) {
    const bool ingress = text_at(rule, "direction") == "ingress";
    std::string out = text_at(rule, "direction") + " " + text_at(rule, "ethertype", "ipv4");
    if (rule.contains("protocol")) out += " " + plain(rule["protocol"]);
    if (rule.contains("port_min")) {
        out += " " + plain(rule["port_min"]);
        if (rule.contains("port_max") && rule["port_max"] != rule["port_min"])
            out += "-" + plain(rule["port_max"]);
    }
    if (rule.contains("icmp_type")) out += " type " + plain(rule["icmp_type"]);
    if (rule.contains("icmp_code")) out += " code " + plain(rule["icmp_code"]);
    const std::pair<const char*, const char*> remotes[] = {
        {"remote_prefix", ""}, {"remote_group", "group "}, {"remote_set", "set "}};
    for (const auto& [member, word] : remotes) {
        if (!rule.contains(member)) continue;
        out += fmt::format(" {} {}{}", ingress ? "from" : "to", word, text_at(rule, member));
    }
    return out;
}

}  // namespace slash32::cli
