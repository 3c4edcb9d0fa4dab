// SPDX-License-Identifier: Apache-2.0
// Tables for people: columns aligned, never wider than the screen. A column that is too wide is
// folded, the widest first, and its cells go on below.
#pragma once

#include "ctrl/cli/context.h"

#include <ostream>
#include <string>
#include <vector>

namespace slash32::cli {

class Table {
  public:
    // A header that begins with '>' is of a column of numbers, aligned right; such columns are
    // never folded. "" as the header of all columns prints none.
    explicit Table(std::vector<std::string> headers);

    // A cell may have several lines.
    void row(std::vector<std::string> cells);
    bool empty() const { return rows_.empty(); }
    void print(std::ostream& out, size_t columns = kScreenColumns) const;

  private:
    std::vector<std::string> headers_;
    std::vector<bool> right_;
    std::vector<std::vector<std::string>> rows_;
};

// "name: value" lines with the values aligned and folded.
class Sheet {
  public:
    // Nothing when the value is "".
    void line(std::string name, std::string value);
    void print(std::ostream& out, size_t columns = kScreenColumns) const;

  private:
    std::vector<std::pair<std::string, std::string>> lines_;
};

std::string human_bytes(uint64_t bytes);      // "1.5 GiB"
std::string human_seconds(uint64_t seconds);  // "3d 04:05:06"

}  // namespace slash32::cli
