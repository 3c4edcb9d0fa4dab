// SPDX-License-Identifier: Apache-2.0
// The daemon's side of the holder (holder.h): gives descriptors to be held, and takes back what the
// daemon before it left.
//
// Thread safety: one thread at a time.
#pragma once

#include "dp/base/result.h"

#include <map>
#include <memory>
#include <string>

namespace slash32 {

class HolderClient {
  public:
    struct Options {
        std::string path;       // of the holder's socket
        unsigned seconds = 30;  // how long it holds what is left
    };

    // Finds the holder, or starts it: this program with the argument kHolderArgument.
    // Errors: kUnavailable.
    static Result<std::unique_ptr<HolderClient>> open(const Options& options);
    // What a daemon before has left at the path is wanted no more.
    static void let_go(const std::string& path);
    ~HolderClient();
    HolderClient(const HolderClient&) = delete;
    HolderClient& operator=(const HolderClient&) = delete;

    // What the daemon before has left of the name, the caller's from then on; -1: nothing.
    int take(const std::string& name);
    // Holds it from now on. The descriptor stays the caller's.
    void keep(const std::string& name, int descriptor);
    void drop(const std::string& name);
    // What nobody has taken is wanted no more.
    void drop_untaken();

  private:
    explicit HolderClient(int socket) : socket_(socket) {}
    bool read_held();

    int socket_;
    std::map<std::string, int> left_;  // that has not been taken
};

// "slash32d hold-descriptors PATH SECONDS", with the daemon's socket as descriptor 3.
inline constexpr const char* kHolderArgument = "hold-descriptors";
inline constexpr int kHolderSocket = 3;

}  // namespace slash32
