// SPDX-License-Identifier: Apache-2.0
// A vhost-user message as librte_vhost hands it over before it handles it, and what speaks against
// handling it.
//
// The library trusts its frontend: it reads payloads that were not sent, loses descriptors and
// goes on without memory when a table cannot be mapped, maps files shorter than they are said to
// be, and writes to call descriptors that may block. Everything of that kind is refused here.
//
// Thread safety: one thread, while the message is being handled. Limits: a frontend that shrinks
// its memory's file later, or makes its call descriptor block again, still harms the router. No
// guest can do either, only the process that runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace slash32 {

enum class VhostRequest : uint32_t {
    kSetFeatures = 2,
    kResetOwner = 4,
    kSetMemTable = 5,
    kSetLogBase = 6,
    kSetVringNum = 8,
    kSetVringAddr = 9,
    kSetVringBase = 10,
    kGetVringBase = 11,
    kSetVringKick = 12,
    kSetVringCall = 13,
    kSetVringErr = 14,
    kSetProtocolFeatures = 16,
    kSetVringEnable = 18,
    kSendRarp = 19,
    kNetSetMtu = 20,
    kGetInflightFd = 31,
    kSetInflightFd = 32,
};

class VhostMessage {
  public:
    // `data` is what the library gives to its external handlers.
    explicit VhostMessage(void* data) : data_(static_cast<std::byte*>(data)) {}

    VhostRequest request() const { return static_cast<VhostRequest>(read<uint32_t>(0)); }
    uint32_t payload_bytes() const { return read<uint32_t>(8); }
    // The first 8 bytes of the payload.
    uint64_t payload() const { return read<uint64_t>(kPayload); }
    // The vring that the message is about; UINT32_MAX: none.
    uint32_t vring() const;

    // Why the message must not be handled; empty: it may. Makes the call descriptor that the
    // message carries non-blocking.
    std::string objection() const;
    // For a message that is refused: the library would leave its descriptors open.
    void close_descriptors();

  private:
    static constexpr size_t kPayload = 12;

    template <typename T>
    T read(size_t offset) const {
        T value;
        std::memcpy(&value, data_ + offset, sizeof value);
        return value;
    }
    int descriptor_count() const;
    int descriptor(int i) const;
    std::string memory_objection() const;

    std::byte* data_;
};

}  // namespace slash32
