// SPDX-License-Identifier: Apache-2.0
// What s32-pktgen was asked to do: its command line, checked.
#pragma once

#include "dp/base/net.h"
#include "dp/base/result.h"
#include "perf/pktgen/search.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace slash32::pktgen {

// Ethernet, IPv4 or IPv6, UDP, and the stamp (traffic.h).
inline constexpr size_t kMinFrameBytes = 14 + 20 + 8 + 22;
inline constexpr size_t kMinFrameBytes6 = 14 + 40 + 8 + 22;
inline constexpr size_t kMaxFrameBytes = 9216;
// An IPv4 packet of 65,535 bytes and its Ethernet header.
inline constexpr size_t kMaxSegmentBytes = 65535 + 14;
inline constexpr uint64_t kMaxFlows = uint64_t{1} << 24;
inline constexpr size_t kMaxDevices = 32;

// How received packets are checked.
enum class Check : uint8_t {
    kBurst,  // the last packet of each burst: enough to count losses, costs little
    kAll,    // each packet: duplicates and reordering as well
};

// One device, and what it sends to its peer.
struct DeviceOptions {
    std::string name;    // of the device, as the EAL knows it
    std::string vdev;    // argument of --vdev
    std::string socket;  // that we listen on and that is removed at the end; empty: none
    Mac source_mac;
    Mac destination_mac;
    IpAddress source_ip;
    IpAddress destination_ip;  // the first of `destinations`
    // What it sends is encapsulated in IPv6 towards this SID (RFC 8986).
    std::optional<IpAddress> sid;
    IpAddress encapsulation_source;  // with a SID
};

// What encapsulation adds to a frame: an IPv6 header, and a segment routing header of one segment.
inline constexpr size_t kEncapsulationBytes = 40;
inline constexpr size_t kSrhBytes = 24;

// Of a mix: so many frames of a size for so many of others.
struct FrameSize {
    uint16_t bytes = 0;
    uint16_t weight = 1;
};
inline constexpr size_t kMaxSizes = 16;
inline constexpr unsigned kMaxWeights = 256;  // of a mix together

struct Options {
    std::vector<DeviceOptions> devices;  // 2i and 2i+1 send to each other
    unsigned core = 0;
    bool hugepages = false;
    unsigned memory_mb = 512;
    std::vector<std::string> eal_args;

    uint64_t flows = 1;
    uint64_t destinations = 1;   // addresses, consecutive
    size_t frame_bytes = 64;     // without FCS; of a mix, the largest
    std::vector<FrameSize> mix;  // empty: all frames are of frame_bytes
    bool tso = false;            // frame_bytes is then that of a TCP segment to be cut
    uint16_t mss = 1448;
    bool srh = false;  // with the SIDs, a segment routing header (RFC 8754)
    bool tcp = false;  // TCP connections are opened and closed; rate and window are of them
    bool one_way = false;
    bool reverse = false;  // one way, the other one
    bool two_way =
        false;        // devices with an odd number answer: they send their peer's flows reversed
    double rate = 0;  // packets a second and device; 0: as fast as they are taken
    uint64_t window = 0;  // packets of a device under way at a time; 0: any number
    uint16_t ring_entries = 1024;
    uint16_t receive_buffer = 2048;  // bytes of data
    Check check = Check::kBurst;
    bool latency = false;        // the clock is read each burst, and nothing sleeps
    std::optional<Ip4> gateway;  // whose MAC is asked for by ARP

    // A search in place of one measurement: `rate` is then where it begins, 0 as fast as they go.
    bool search = false;
    SearchGoal goal;
    double trial_seconds = 0.5;
    std::string csv;  // a file that results and trials are written to as well

    double connect_seconds = 10;
    double warmup_seconds = 1;
    double measure_seconds = 3;
    bool verbose = false;
};

// Whether the frames are of IPv6; all devices agree.
inline bool is_ipv6(const Options& options) {
    return !options.devices.front().source_ip.is_ipv4();
}

// Whether any device encapsulates.
bool has_srv6(const Options& options);
// Does the device of that index send by itself? (TCP answers what its peer opens.)
bool sends(const Options& options, size_t index);

// Prints help or a complaint and returns the exit status, or fills `options` and returns nothing.
std::optional<int> parse_command_line(int argc, char** argv, Options& options);

// A device as written: "listen:PATH" and "connect:PATH" are vhost-user frontends, anything else is
// an ethdev's devargs. `index` makes the name unique. Errors: kInvalid.
Result<DeviceOptions> parse_device(const std::string& text, size_t index, uint16_t ring_entries);

// Fails with the option's name as path.
Result<void> check_options(const Options& options);

}  // namespace slash32::pktgen
