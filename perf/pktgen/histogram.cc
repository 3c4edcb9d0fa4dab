// SPDX-License-Identifier: Apache-2.0
#include "perf/pktgen/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace slash32::pktgen {

Histogram::Histogram() : buckets_(bucket_of(kMax) + 1) {}

// Of a value with more than kHalfBits + 1 bits, the first kHalfBits + 1 are kept.
size_t Histogram::bucket_of(uint64_t value) {
    if (value < 2 * kHalf) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - (kHalfBits + 1);
    return shift * kHalf + (value >> shift);
}

uint64_t Histogram::largest_of(size_t bucket) {
    if (bucket < 2 * kHalf) return bucket;
    const uint64_t shift = bucket / kHalf - 1;
    const uint64_t kept = bucket - shift * kHalf;
    return ((kept + 1) << shift) - 1;
}

void Histogram::add(uint64_t value) {
    value = std::min(value, kMax);
    ++buckets_[bucket_of(value)];
    ++count_;
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
    sum_ += static_cast<double>(value);
}

void Histogram::add(const Histogram& other) {
    for (size_t i = 0; i < buckets_.size(); ++i)
        buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
    sum_ += other.sum_;
}

void Histogram::clear() {
    *this = Histogram();
}

uint64_t Histogram::min() const {
    return count_ != 0 ? min_ : 0;
}
uint64_t Histogram::max() const {
    return max_;
}
double Histogram::mean() const {
    return count_ != 0 ? sum_ / static_cast<double>(count_) : 0;
}

uint64_t Histogram::percentile(double percent) const {
    const auto wanted = std::max<uint64_t>(
        1, static_cast<uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_))));
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
        seen += buckets_[bucket];
        if (seen >= wanted) return std::min(largest_of(bucket), max_);
    }
    return max_;
}

}  // namespace slash32::pktgen
