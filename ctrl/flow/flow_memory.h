// SPDX-License-Identifier: Apache-2.0
// The memory of the flow table, made at start and never after.
//
// Thread safety: the control thread; workers use what tables() gave out.
#pragma once

#include "ctrl/fib/table_memory.h"
#include "dp/abi/flow.h"
#include "dp/base/result.h"

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace slash32 {

struct FlowSizes {
    size_t flows = kDefaultFlows;  // 1 to kMaxFlows
    size_t workers = 1;
};

class FlowMemory {
  public:
    // Errors: kInvalid (size), kLimit (no memory).
    static Result<std::unique_ptr<FlowMemory>> create(const FlowSizes& sizes,
                                                      const TableMemory& memory);
    // REQUIRES: no worker uses the tables any more.
    ~FlowMemory();
    FlowMemory(const FlowMemory&) = delete;
    FlowMemory& operator=(const FlowMemory&) = delete;

    FlowTables& tables() { return *tables_; }
    size_t bytes() const { return bytes_; }  // of address space

  private:
    explicit FlowMemory(const TableMemory& memory) : memory_(memory) {}
    template <typename T>
    T* take(size_t count);
    Result<void> make(const FlowSizes& sizes);

    TableMemory memory_;
    FlowTables* tables_ = nullptr;
    std::vector<std::pair<void*, size_t>> taken_;
    size_t bytes_ = 0;
};

}  // namespace slash32
