// SPDX-License-Identifier: Apache-2.0
// slash32ctl. Without a command: a shell on a terminal, else a batch from stdin.
#include "ctrl/cli/commands.h"

#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace {

// The completion script calls "slash32ctl --complete WORD...": the words so far, the last one being
// typed.
constexpr const char* kComplete = "--complete";

}  // namespace

int main(int argc, char** argv) {
    using namespace slash32::cli;
    std::ios::sync_with_stdio(false);
    Context context(std::cout, std::cerr);
    std::vector<std::string> words(argv + 1, argv + argc);
    if (!words.empty() && words[0] == kComplete) {
        words.erase(words.begin());
        if (const char* socket = std::getenv("SLASH32_SOCKET")) context.globals.socket = socket;
        for (const std::string& candidate : complete(words, context)) {
            std::cout << candidate << '\n';
        }
        return kExitOk;
    }
    if (words.empty()) {
        words = isatty(STDIN_FILENO) != 0 ? std::vector<std::string>{"shell"}
                                          : std::vector<std::string>{"batch", "-"};
    }
    return run(words, context);
}
