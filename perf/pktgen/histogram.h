// SPDX-License-Identifier: Apache-2.0
// Counts values over many orders of magnitude at a fixed precision, as HdrHistogram does
// (http://hdrhistogram.org): below 2,048 each value has a bucket, and each doubling above has
// 1,024, so that what is read is at most a thousandth off.
//
// Thread safety: none. Memory: 256 KB, whatever is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace slash32::pktgen {

class Histogram {
  public:
    // Larger values count as this one.
    static constexpr uint64_t kMax = (uint64_t{1} << 40) - 1;

    Histogram();

    void add(uint64_t value);
    void add(const Histogram& other);
    void clear();

    uint64_t count() const { return count_; }
    // Of no values, all of these are 0.
    uint64_t min() const;
    uint64_t max() const;
    double mean() const;
    // The smallest recorded value that at least `percent` of all values do not exceed, as the
    // largest of its bucket. REQUIRES: 0 < percent <= 100.
    uint64_t percentile(double percent) const;

  private:
    static constexpr unsigned kHalfBits = 10;  // 1,024 buckets a doubling
    static constexpr uint64_t kHalf = uint64_t{1} << kHalfBits;

    static size_t bucket_of(uint64_t value);
    static uint64_t largest_of(size_t bucket);

    std::vector<uint64_t> buckets_;
    uint64_t count_ = 0;
    uint64_t min_ = UINT64_MAX;
    uint64_t max_ = 0;
    double sum_ = 0;
};

}  // namespace slash32::pktgen
