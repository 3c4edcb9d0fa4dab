// SPDX-License-Identifier: Apache-2.0
#include "ctrl/cli/table.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace slash32::cli {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kNarrowest = 8;

// Characters of UTF-8, each taken as one column.
size_t width_of(std::string_view text) {
    return static_cast<size_t>(
        std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

// The byte at which the character after the first `columns` begins.
size_t cut_at(std::string_view text, size_t columns) {
    size_t at = 0;
    for (size_t seen = 0; at < text.size(); ++at) {
        if ((text[at] & 0xc0) != 0x80 && seen++ == columns) break;
    }
    return at;
}

// Lines of at most `columns`, broken after a space or a comma if there is one.
std::vector<std::string> fold(std::string_view text, size_t columns) {
    std::vector<std::string> lines;
    while (true) {
        const size_t newline = text.find('\n');
        std::string_view line = text.substr(0, newline);
        while (width_of(line) > columns) {
            size_t cut = cut_at(line, columns);
            if (const size_t space = line.substr(0, cut + 1).find_last_of(" ,");
                space != std::string_view::npos && space > 0) {
                cut = line[space] == ',' && space < cut ? space + 1 : space;
            }
            lines.emplace_back(line.substr(0, cut));
            line.remove_prefix(cut);
            while (line.starts_with(' '))
                line.remove_prefix(1);
        }
        lines.emplace_back(line);
        if (newline == std::string_view::npos) return lines;
        text.remove_prefix(newline + 1);
    }
}

size_t widest_line(std::string_view text) {
    size_t widest = 0;
    for (const std::string& line : fold(text, std::string_view::npos)) {
        widest = std::max(widest, width_of(line));
    }
    return widest;
}

// Control characters of a peer's making do not reach the terminal.
std::string printable(std::string text) {
    for (char& c : text) {
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '?';
    }
    return text;
}

void append_padded(std::string& line, const std::string& text, size_t width, bool right) {
    const std::string padding(width - std::min(width, width_of(text)), ' ');
    line += right ? padding + text : text + padding;
}

}  // namespace

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
    for (std::string& header : headers_) {
        right_.push_back(header.starts_with('>'));
        if (right_.back()) header.erase(0, 1);
    }
}

void Table::row(std::vector<std::string> cells) {
    cells.resize(headers_.size());
    std::ranges::transform(cells, cells.begin(), printable);
    rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out, size_t columns) const {
    std::vector<size_t> widths;
    for (size_t i = 0; i < headers_.size(); ++i) {
        size_t width = width_of(headers_[i]);
        for (const auto& row : rows_)
            width = std::max(width, widest_line(row[i]));
        widths.push_back(width);
    }
    const auto total = [&] {
        return std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
    };
    while (total() > columns) {
        size_t widest = widths.size();
        for (size_t i = 0; i < widths.size(); ++i) {
            if (right_[i] || widths[i] <= kNarrowest) continue;
            if (widest == widths.size() || widths[i] > widths[widest]) widest = i;
        }
        if (widest == widths.size()) break;
        --widths[widest];
    }
    const auto print_row = [&](const std::vector<std::string>& cells) {
        std::vector<std::vector<std::string>> folded;
        size_t height = 1;
        for (size_t i = 0; i < cells.size(); ++i) {
            folded.push_back(fold(cells[i], widths[i]));
            height = std::max(height, folded.back().size());
        }
        for (size_t y = 0; y < height; ++y) {
            std::string line;
            for (size_t i = 0; i < cells.size(); ++i) {
                const std::string cell = y < folded[i].size() ? folded[i][y] : std::string();
                append_padded(line, cell, widths[i], right_[i]);
                line.append(kGap, ' ');
            }
            line.erase(line.find_last_not_of(' ') + 1);
            out << line << '\n';
        }
    };
    if (std::ranges::any_of(headers_, [](const auto& header) { return !header.empty(); })) {
        print_row(headers_);
    }
    for (const auto& row : rows_)
        print_row(row);
}

void Sheet::line(std::string name, std::string value) {
    if (!value.empty()) lines_.emplace_back(std::move(name), printable(std::move(value)));
}

void Sheet::print(std::ostream& out, size_t columns) const {
    size_t width = 0;
    for (const auto& [name, value] : lines_)
        width = std::max(width, width_of(name));
    for (const auto& [name, value] : lines_) {
        std::string label = name;
        for (const std::string& part : fold(value, columns - width - kGap)) {
            std::string text;
            append_padded(text, label, width + kGap, false);
            out << text << part << '\n';
            label.clear();
        }
    }
}

std::string human_bytes(uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(kUnits)) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(uint64_t seconds) {
    const uint64_t days = seconds / 86400;
    const std::string clock =
        fmt::format("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    return days > 0 ? fmt::format("{}d {}", days, clock) : clock;
}

}  // namespace slash32::cli
