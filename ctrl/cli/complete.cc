// SPDX-License-Identifier: Apache-2.0
// Lines into words, and what may come next: for the shell and for bash.
#include "ctrl/cli/commands.h"

#include <algorithm>

namespace slash32::cli {
namespace {

// Names are looked up in the daemon, which may be slow or absent: a completion never waits long.
constexpr double kLookUpTimeout_s = 0.5;

bool takes_value(const CLI::Option& option) {
    return option.get_items_expected_max() > 0;
}

// What of the command line the last word is about.
struct Place {
    CLI::App* command = nullptr;
    std::string option;      // "--port" when its value is being typed
    size_t positionals = 0;  // words before that are neither commands nor options
};

Place walk(CLI::App& app, const std::vector<std::string>& words, Context& context) {
    Place place{&app, "", 0};
    for (size_t i = 0; i + 1 < words.size(); ++i) {
        const std::string& word = words[i];
        place.option.clear();
        if (word.starts_with('-') && word.size() > 1) {
            const CLI::Option* option = place.command->get_option_no_throw(word);
            if (option == nullptr) option = app.get_option_no_throw(word);
            if (option == nullptr || !takes_value(*option)) continue;
            const bool global_socket =
                place.command == &app && (word == "-s" || word == "--socket");
            if (i + 2 == words.size()) {
                place.option = word;
            } else if (global_socket) {
                context.globals.socket = words[i + 1];
            }
            ++i;
            continue;
        }
        const auto subs = place.command->get_subcommands(
            [&word](CLI::App* sub) { return sub->get_name() == word; });
        CLI::App* next = place.positionals == 0 && !subs.empty() ? subs.front() : nullptr;
        if (next != nullptr) {
            place.command = next;
        } else {
            ++place.positionals;
        }
    }
    return place;
}

std::vector<std::string> names_of(Context& context, const char* method, const char* member,
                                  const char* key) {
    std::vector<std::string> names;
    std::ostream nowhere(nullptr);
    Context quiet(nowhere, nowhere);
    quiet.globals = context.globals;
    quiet.globals.timeout_s = kLookUpTimeout_s;
    const auto result = quiet.call(method, {{"limit", 1000}});
    if (!result) return names;
    for (const Json& item : array_at(*result, member))
        names.push_back(text_at(item, key));
    return names;
}

// "sg" or "addrset" where the word to come is the name of one.
std::string wanted_group(const Place& place) {
    if (place.option == "--sg" || place.option == "--group") return "sg";
    if (!place.option.empty() || place.positionals > 0) return "";
    const std::string& name = place.command->get_name();
    const CLI::App* parent = place.command->get_parent();
    const std::string above = parent != nullptr ? parent->get_name() : "";
    return (above == "sg" || above == "addrset") && name != "list" ? above : "";
}

bool wants_port(const Place& place) {
    if (place.option == "--port") return true;
    if (!place.option.empty() || place.positionals > 0) return false;
    const std::string& name = place.command->get_name();
    const CLI::App* parent = place.command->get_parent();
    const std::string above = parent != nullptr ? parent->get_name() : "";
    if (above == "port") return name == "show" || name == "set" || name == "del";
    return name == "explain" || name == "capture" ||
           (above == "neighbor" && (name == "add" || name == "del"));
}

}  // namespace

std::vector<std::string> complete(const std::vector<std::string>& words, Context& context) {
    const auto app = make_app(context);
    const Place place = walk(*app, words, context);
    const std::string last = words.empty() ? "" : words.back();
    std::vector<std::string> all;
    if (last.starts_with('-') && place.option.empty()) {
        for (const CLI::App* level : {place.command, app.get()}) {
            for (const CLI::Option* option : level->get_options()) {
                for (const std::string& name : option->get_lnames())
                    all.push_back("--" + name);
            }
            if (level == app.get()) break;
        }
    } else if (const std::string kind = wanted_group(place); !kind.empty()) {
        all = names_of(context, kind == "sg" ? "sg.list" : "addrset.list",
                       kind == "sg" ? "groups" : "sets", "name");
    } else if (wants_port(place)) {
        all = names_of(context, "port.list", "ports", "name");
    } else if (place.option.empty() && place.positionals == 0) {
        for (const CLI::App* sub : place.command->get_subcommands(nullptr)) {
            if (!sub->get_group().empty()) all.push_back(sub->get_name());
        }
    }
    std::erase_if(all, [&](const std::string& word) { return !word.starts_with(last); });
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

std::optional<std::vector<std::string>> split_line(const std::string& line) {
    std::vector<std::string> words;
    std::string word;
    bool in_word = false;
    char quote = '\0';
    for (size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (quote != '\0') {
            if (c == quote) {
                quote = '\0';
            } else if (c == '\\' && quote == '"' && i + 1 < line.size()) {
                word += line[++i];
            } else {
                word += c;
            }
        } else if (c == '\'' || c == '"') {
            quote = c;
            in_word = true;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            if (in_word) words.push_back(std::exchange(word, {}));
            in_word = false;
        } else if (c == '#' && !in_word) {
            break;
        } else {
            if (c == '\\' && i + 1 < line.size()) ++i;
            word += line[i];
            in_word = true;
        }
    }
    if (quote != '\0') return std::nullopt;
    if (in_word) words.push_back(std::move(word));
    return words;
}

}  // namespace slash32::cli
