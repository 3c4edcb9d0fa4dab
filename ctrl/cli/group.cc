// SPDX-License-Identifier: Apache-2.0
// slash32ctl sg apply|del|member|list|show and addrset apply|add|remove|del|list|show
#include "ctrl/cli/commands.h"
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

namespace slash32::cli {
namespace {

struct GroupOptions {
    std::string name;
    std::vector<std::string> rules;
    std::vector<std::string> members;
    std::vector<std::string> labels;
    std::string op;
    bool stateless = false;
    WriteOptions write;
};
using Shared = std::shared_ptr<GroupOptions>;

bool put_labels(Context& context, const std::vector<std::string>& labels, Json& params) {
    for (const std::string& label : labels) {
        const size_t equals = label.find('=');
        if (equals == std::string::npos || equals == 0) {
            context.usage("--label wants KEY=VALUE");
            return false;
        }
        params["labels"][label.substr(0, equals)] = label.substr(equals + 1);
    }
    return true;
}

void send(Context& context, const char* method, const std::string& what, Json params,
          const GroupOptions& o) {
    o.write.put(context, params);
    const auto result = context.call(method, params);
    if (!result) return;
    std::string outcome = text_at(*result, "change");
    if (outcome.empty()) {
        outcome = fmt::format("{} added, {} removed", number_at(*result, "added"),
                              number_at(*result, "removed"));
    }
    print_outcome(context, fmt::format("{} {}: {}", what, o.name, outcome), *result);
}

void apply_sg(Context& context, const GroupOptions& o) {
    Json params{{"name", o.name}, {"rules", Json::array()}};
    for (const std::string& text : o.rules) {
        std::string why;
        auto rule = parse_rule(text, why);
        if (!rule) return context.usage(why);
        params["rules"].push_back(std::move(*rule));
    }
    if (o.stateless) params["stateful"] = false;
    if (put_labels(context, o.labels, params)) send(context, "sg.apply", "group", params, o);
}

void apply_set(Context& context, const GroupOptions& o) {
    Json params{{"name", o.name}, {"members", o.members}};
    if (put_labels(context, o.labels, params)) send(context, "addrset.apply", "set", params, o);
}

void update(Context& context, const char* method, const char* what, const GroupOptions& o) {
    send(context, method, what, {{"name", o.name}, {o.op, o.members}}, o);
}

void list_sgs(Context& context) {
    Json params = Json::object();
    if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
    const auto result = context.list("sg.list", "groups", params);
    if (!result || context.print_json(*result)) return;
    Table table({"GROUP", "RULES", "MODE", "MEMBERS", "PACKETS", "OWNER"});
    for (const Json& group : array_at(*result, "groups")) {
        const Json& desired = object_at(group, "desired");
        int64_t packets = 0;
        for (const Json& hits : array_at(group, "hits"))
            packets += hits.get<int64_t>();
        table.row({text_at(group, "name"), std::to_string(array_at(desired, "rules").size()),
                   bool_at(desired, "stateful", true) ? "stateful" : "stateless",
                   std::to_string(number_at(group, "members")), std::to_string(packets),
                   text_at(desired, "owner") + (bool_at(group, "stale") ? "*" : "")});
    }
    table.print(context.out);
}

void list_sets(Context& context) {
    Json params = Json::object();
    if (!context.globals.owner.empty()) params["owner"] = context.globals.owner;
    const auto result = context.list("addrset.list", "sets", params);
    if (!result || context.print_json(*result)) return;
    Table table({"SET", "MEMBERS", "OWNER"});
    for (const Json& set : array_at(*result, "sets")) {
        table.row(
            {text_at(set, "name"), std::to_string(number_at(set, "members")),
             text_at(object_at(set, "desired"), "owner") + (bool_at(set, "stale") ? "*" : "")});
    }
    table.print(context.out);
}

void print_members(Context& context, const Json& result) {
    for (const Json& member : array_at(result, "members"))
        fmt::print(context.out, "member {}\n", plain(member));
    if (result.contains("cursor")) fmt::print(context.out, "... and more\n");
}

void show_sg(Context& context, const std::string& name) {
    const auto result = context.call("sg.get", {{"name", name}});
    if (!result || context.print_json(*result)) return;
    const Json& group = object_at(*result, "group");
    const Json& rules = array_at(object_at(group, "desired"), "rules");
    const Json& hits = array_at(group, "hits");
    Table table({"#", "PACKETS", "RULE"});
    for (size_t i = 0; i < rules.size(); ++i) {
        table.row(
            {std::to_string(i + 1), i < hits.size() ? plain(hits[i]) : "-", rule_text(rules[i])});
    }
    table.print(context.out);
    print_members(context, *result);
}

void show_set(Context& context, const std::string& name) {
    const auto result = context.call("addrset.get", {{"name", name}});
    if (!result || context.print_json(*result)) return;
    print_members(context, *result);
}

CLI::App* add_command(CLI::App& parent, const char* name, const char* help, const Shared& o) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->add_option("name", o->name, "Its name")->required();
    o->write.add(*command);
    return command;
}

void add_del(CLI::App& parent, Context& context, const char* method, const char* what) {
    auto o = std::make_shared<GroupOptions>();
    CLI::App* del = add_command(parent, "del", "Delete one that nothing uses", o);
    del->callback([&context, o, method, what] {
        send(context, method, what, {{"name", o->name}}, *o);
    });
}

void add_show_command(CLI::App& parent, Context& context,
                      void (*show)(Context&, const std::string&)) {
    auto name = std::make_shared<std::string>();
    CLI::App* command = parent.add_subcommand("show", "Show one whole");
    command->add_option("name", *name, "Its name")->required();
    command->callback([&context, name, show] { show(context, *name); });
}

}  // namespace

void add_sg(CLI::App& app, Context& context) {
    CLI::App* sg = app.add_subcommand("sg", "Security groups: apply, del, member, list, show");
    sg->require_subcommand(1);

    auto apply_o = std::make_shared<GroupOptions>();
    CLI::App* apply = add_command(*sg, "apply", "Make a group with exactly these rules", apply_o);
    apply
        ->add_option("--rule", apply_o->rules,
                     "\"ingress|egress [ipv4|ipv6] [PROTOCOL [PORT[-PORT]]] [from|to PREFIX|group "
                     "NAME|set NAME]\"; repeatable")
        ->allow_extra_args(false);
    apply->add_flag("--stateless", apply_o->stateless, "Answers need rules of their own");
    apply->add_option("--label", apply_o->labels, "KEY=VALUE")->allow_extra_args(false);
    apply->callback([&context, apply_o] { apply_sg(context, *apply_o); });

    auto member_o = std::make_shared<GroupOptions>();
    CLI::App* member =
        sg->add_subcommand("member", "Addresses of the group's ports on other hypervisors");
    member->add_option("op", member_o->op, "add or remove")
        ->required()
        ->check(CLI::IsMember({"add", "remove"}));
    member->add_option("name", member_o->name, "The group")->required();
    member->add_option("member", member_o->members, "PREFIX...")->required();
    member_o->write.add(*member);
    member->callback([&context, member_o] { update(context, "sg.members", "group", *member_o); });

    add_del(*sg, context, "sg.delete", "group");
    CLI::App* list = sg->add_subcommand("list", "List groups");
    list->callback([&context] { list_sgs(context); });
    add_show_command(*sg, context, show_sg);
}

void add_addrset(CLI::App& app, Context& context) {
    CLI::App* set =
        app.add_subcommand("addrset", "Address sets: apply, add, remove, del, list, show");
    set->require_subcommand(1);

    auto apply_o = std::make_shared<GroupOptions>();
    CLI::App* apply = add_command(*set, "apply", "Make a set of exactly these members", apply_o);
    apply->add_option("member", apply_o->members, "PREFIX...");
    apply->add_option("--label", apply_o->labels, "KEY=VALUE")->allow_extra_args(false);
    apply->callback([&context, apply_o] { apply_set(context, *apply_o); });

    for (const char* op : {"add", "remove"}) {
        auto o = std::make_shared<GroupOptions>();
        o->op = op;
        CLI::App* command = add_command(
            *set, op, o->op == "add" ? "Add members to a set" : "Remove members from a set", o);
        command->add_option("member", o->members, "PREFIX...")->required();
        command->callback([&context, o] { update(context, "addrset.update", "set", *o); });
    }
    add_del(*set, context, "addrset.delete", "set");
    CLI::App* list = set->add_subcommand("list", "List sets");
    list->callback([&context] { list_sets(context); });
    add_show_command(*set, context, show_set);
}

}  // namespace slash32::cli
