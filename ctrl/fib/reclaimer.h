// SPDX-License-Identifier: Apache-2.0
// How the one writer of a shared table learns that no reader can still hold what it took out.
#pragma once

namespace slash32 {

// Thread safety: used by one thread, the writer's, which also runs the callbacks.
class Reclaimer {
  public:
    using Callback = void (*)(void* argument);

    virtual ~Reclaimer() = default;

    // Calls callback(argument) once every reader that was active at the time of this call has
    // passed a quiescent state. Never from inside defer() itself; a callback may call defer().
    // Callbacks still deferred when the reclaimer is destroyed run then, or never.
    // REQUIRES: what is to be reused is unreachable for readers that start now.
    virtual void defer(Callback callback, void* argument) = 0;

    // Waits for such a grace period now and runs everything deferred before the call. Used when
    // memory that would be free otherwise is needed to go on.
    virtual void drain() = 0;

  protected:
    Reclaimer() = default;
    Reclaimer(const Reclaimer&) = default;
    Reclaimer& operator=(const Reclaimer&) = default;
};

}  // namespace slash32
