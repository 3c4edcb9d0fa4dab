// SPDX-License-Identifier: Apache-2.0
// What a hostile case gets to work with, and the tables of cases.
//
// A case attacks over a port that was running a moment ago; the runner (hostile.cc) then looks at
// what the backend did, and starts the port anew as an honest VM.
#pragma once

#include "tests/frontend/fleet.h"

#include <span>
#include <vector>

namespace slash32::frontend {

struct Attack {
    Frontend& port;     // the hostile one, running when the case starts
    Frontend& witness;  // port 1
    const ToolOptions& tool;
    EventLoop& loop;
    std::vector<uint8_t> frame;  // a valid probe from the hostile port to the witness
    std::vector<uint8_t> to_us;  // a valid probe from the witness to the hostile port
    uint64_t connections = 0;    // of the port; any other number later: the backend closed
    bool left = false;           // the case itself closed the connection last

    // Writes descriptors at the top of the transmit ring, where honest sending does not reach; the
    // i-th of them is index `top(i)`.
    uint16_t top(size_t i) const;
    // Publishes a chain that starts at `head`, and kicks.
    void publish(uint16_t head);
    // `chain[i]` goes to top(i); its `next` is an index into `chain` and is translated. Publishes
    // the first.
    void send_chain(std::vector<Descriptor> chain);
    // A readable descriptor over a fresh place in a buffer, `bytes` long.
    Descriptor buffer(size_t segment, uint32_t bytes, uint16_t flags = 0, uint16_t next = 0) const;
    // The probe with a header that lies.
    void send_header(const NetHeader& header);
    // Overwrites every descriptor of the receive ring, then lets the witness send.
    void spoil_receive(const std::function<void(uint16_t, Descriptor&)>& change);
    // The witness sends `n` frames to us.
    void attract(size_t n = 20);

    // A message on the running connection, acknowledgement not asked for.
    void message(Request request, std::span<const uint8_t> payload, std::span<const int> fds = {});
    template <typename T>
    void message_value(Request request, const T& value, std::span<const int> fds = {}) {
        message(request, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)}, fds);
    }
    // Drops the connection and waits for a new one, on which nothing has been said.
    bool fresh_connection();
    void pause(uint64_t ms);
};

struct HostileCase {
    const char* name;
    const char* what;
    void (*run)(Attack&);
};

std::span<const HostileCase> ring_cases();
std::span<const HostileCase> header_cases();
std::span<const HostileCase> protocol_cases();

}  // namespace slash32::frontend
