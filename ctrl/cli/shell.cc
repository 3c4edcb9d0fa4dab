// SPDX-License-Identifier: Apache-2.0
// slash32ctl shell (libedit: history, completion) and slash32ctl batch FILE. Both run lines over
// one connection.
#include "ctrl/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <histedit.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>

namespace slash32::cli {
namespace {

// libedit calls back without a pointer of ours that completion could use.
Context* shell_context = nullptr;

char* prompt(EditLine* /*edit*/) {
    static char text[] = "slash32> ";
    return text;
}

std::string common_prefix(const std::vector<std::string>& words) {
    std::string prefix = words.front();
    for (const std::string& word : words) {
        size_t same = 0;
        while (same < prefix.size() && same < word.size() && prefix[same] == word[same])
            ++same;
        prefix.resize(same);
    }
    return prefix;
}

unsigned char on_tab(EditLine* edit, int /*key*/) {
    const LineInfo* info = el_line(edit);
    const std::string line(info->buffer, info->cursor);
    auto words = split_line(line);
    if (!words) return CC_ERROR;
    if (words->empty() || line.ends_with(' ')) words->emplace_back();
    const Globals saved = shell_context->globals;
    const auto candidates = complete(*words, *shell_context);
    shell_context->globals = saved;
    if (candidates.empty()) return CC_ERROR;
    std::string more = common_prefix(candidates).substr(words->back().size());
    if (candidates.size() == 1) more += ' ';
    if (!more.empty()) return el_insertstr(edit, more.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
    std::ostream& out = shell_context->out;
    out << '\n';
    size_t column = 0;
    for (const std::string& candidate : candidates) {
        if (column > 0 && column + candidate.size() + 2 > kScreenColumns) {
            out << '\n';
            column = 0;
        }
        out << candidate << "  ";
        column += candidate.size() + 2;
    }
    out << std::endl;
    return CC_REDISPLAY;
}

// One line; options given on it hold for it alone.
int run_line(const std::string& line, Context& context) {
    const auto words = split_line(line);
    if (!words) {
        context.usage("the line has an open quote");
        return context.exit_code;
    }
    if (words->empty()) return kExitOk;
    const Globals saved = context.globals;
    const int code = run(*words, context);
    context.globals = saved;
    return code;
}

std::string history_file() {
    const char* home = std::getenv("HOME");
    return home == nullptr ? std::string() : std::string(home) + "/.slash32ctl_history";
}

int read_lines(Context& context) {
    struct EndEdit {
        void operator()(EditLine* edit) const { el_end(edit); }
        void operator()(History* history) const { history_end(history); }
    };
    const std::unique_ptr<EditLine, EndEdit> edit(el_init("slash32ctl", stdin, stdout, stderr));
    const std::unique_ptr<History, EndEdit> past(history_init());
    if (!edit || !past) {
        context.usage("the terminal cannot be used");
        return kExitUsage;
    }
    HistEvent event;
    history(past.get(), &event, H_SETSIZE, 1000);
    const std::string file = history_file();
    if (!file.empty()) history(past.get(), &event, H_LOAD, file.c_str());
    el_set(edit.get(), EL_PROMPT, prompt);
    el_set(edit.get(), EL_EDITOR, "emacs");
    el_set(edit.get(), EL_HIST, history, past.get());
    el_set(edit.get(), EL_ADDFN, "slash32-complete", "Completes a word", on_tab);
    el_set(edit.get(), EL_BIND, "^I", "slash32-complete", nullptr);
    shell_context = &context;
    int last = kExitOk;
    int length = 0;
    while (const char* text = el_gets(edit.get(), &length)) {
        std::string line(text, static_cast<size_t>(length));
        while (line.ends_with('\n'))
            line.pop_back();
        if (line == "exit" || line == "quit") break;
        if (line.empty()) continue;
        history(past.get(), &event, H_ENTER, line.c_str());
        last = run_line(line == "help" ? "--help" : line, context);
    }
    if (!file.empty()) history(past.get(), &event, H_SAVE, file.c_str());
    return last;
}

// The first failure ends it, unless told otherwise; its exit code is the batch's.
int run_batch(std::istream& in, const std::string& name, bool keep_going, Context& context) {
    int first_failure = kExitOk;
    std::string line;
    for (size_t number = 1; std::getline(in, line); ++number) {
        const int code = run_line(line, context);
        if (code == kExitOk) continue;
        fmt::print(context.err, "slash32ctl: {}:{}: failed\n", name, number);
        if (first_failure == kExitOk) first_failure = code;
        if (!keep_going) break;
    }
    return first_failure;
}

}  // namespace

void add_shell(CLI::App& app, Context& context) {
    if (context.interactive) return;
    app.add_subcommand("shell", "Commands from the terminal, with completion")
        ->callback([&context] {
            context.interactive = true;
            context.exit_code = read_lines(context);
            context.interactive = false;
        });
    auto file = std::make_shared<std::string>();
    auto keep_going = std::make_shared<bool>(false);
    CLI::App* batch = app.add_subcommand("batch", "Commands from a file, one a line");
    batch->add_option("file", *file, "The file; - is stdin")->required();
    batch->add_flag("-k,--keep-going", *keep_going, "Do not stop at the first failure");
    batch->callback([&context, file, keep_going] {
        std::ifstream stream;
        if (*file != "-") stream.open(*file);
        std::istream& in = *file == "-" ? std::cin : stream;
        if (!in) return context.usage("cannot read " + *file);
        context.interactive = true;
        context.exit_code = run_batch(in, *file, *keep_going, context);
        context.interactive = false;
    });
}

}  // namespace slash32::cli
