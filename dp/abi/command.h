// SPDX-License-Identifier: Apache-2.0
// What control tells a worker: fixed 64-byte commands on a ring of its own.
//
// The layout is an interface between processes (a secondary process may read it): it changes only
// together with kCommandVersion. Pointers are valid in the daemon alone.
#pragma once

#include "dp/abi/adjacency.h"
#include "dp/abi/device.h"
#include "dp/abi/next_hop_group.h"
#include "dp/abi/port.h"
#include "dp/base/ids.h"
#include "dp/base/limits.h"

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace slash32 {

inline constexpr uint16_t kCommandVersion = 1;

enum class Opcode : uint16_t {
    kBarrier = 1,         // nothing but an acknowledgement
    kSetPort = 2,         // port: publish a PortConfig, nullptr takes the port away
    kAddRxQueue = 3,      // rx_queue: start polling it
    kRemoveRxQueue = 4,   // rx_queue: never touch it again
    kSetAdjacency = 5,    // adjacency
    kSetCapture = 6,      // capture: nullptr stops it
    kSetPollMode = 7,     // busy
    kSetStageCycles = 8,  // stage_cycles: count the cycles of stages, or no more
    kSetGroup = 9,        // group: publish a NextHopGroup, nullptr takes it away
    kTransmit = 10,       // transmit: send a packet out of a port; it is the worker's from now on
};

struct Command {
    struct SetPort {
        PortId port;
        const PortConfig* config;
    };
    struct SetAdjacency {
        NextHopId id;
        Adjacency adjacency;
    };
    struct SetGroup {
        NextHopId id;
        const NextHopGroup* group;
    };
    struct Transmit {
        PortId port;
        rte_mbuf* packet;
    };
    struct SetCapture {
        PortId port;
        Capture* capture;
    };

    uint16_t version = kCommandVersion;
    Opcode opcode = Opcode::kBarrier;
    uint32_t reserved = 0;
    uint64_t sequence = 0;  // set by the ring: 1, 2, 3, ...
    union Payload {
        Payload() : bytes{} {}
        uint8_t bytes[48];
        SetPort port;
        RxQueue* rx_queue;
        SetAdjacency adjacency;
        SetGroup group;
        SetCapture capture;
        Transmit transmit;
        bool busy;
        bool stage_cycles;
    } payload{};

    static Command set_port(PortId port, const PortConfig* config) {
        Command c{.opcode = Opcode::kSetPort};
        c.payload.port = {port, config};
        return c;
    }
    static Command rx_queue(Opcode opcode, RxQueue* queue) {
        Command c{.opcode = opcode};
        c.payload.rx_queue = queue;
        return c;
    }
    static Command set_adjacency(NextHopId id, const Adjacency& adjacency) {
        Command c{.opcode = Opcode::kSetAdjacency};
        c.payload.adjacency = {id, adjacency};
        return c;
    }
    static Command set_group(NextHopId id, const NextHopGroup* group) {
        Command c{.opcode = Opcode::kSetGroup};
        c.payload.group = {id, group};
        return c;
    }
    static Command set_capture(PortId port, Capture* capture) {
        Command c{.opcode = Opcode::kSetCapture};
        c.payload.capture = {port, capture};
        return c;
    }
    // `packet`: ready to be sent, with its Ethernet header.
    static Command transmit(PortId port, rte_mbuf* packet) {
        Command c{.opcode = Opcode::kTransmit};
        c.payload.transmit = {port, packet};
        return c;
    }
    static Command set_stage_cycles(bool enabled) {
        Command c{.opcode = Opcode::kSetStageCycles};
        c.payload.stage_cycles = enabled;
        return c;
    }
};

static_assert(sizeof(Command) == 64 && alignof(Command) == 8);
static_assert(offsetof(Command, sequence) == 8 && offsetof(Command, payload) == 16);
static_assert(std::is_trivially_copyable_v<Command>);

}  // namespace slash32
