//===- Common.cpp - what every sub-command of fresnel shares ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Common.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <numeric>
#include <unistd.h>

namespace fresnel::tool {

/// Levenshtein distance, ignoring case and the difference of '-' and '_'.
static size_t editDistance(const std::string &a, const std::string &b) {
  auto fold = [](char c) { return c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c))); };
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t(0));
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t cost = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
      diagonal = row[j];
      row[j] = std::min({cost, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string closest(const std::string &name, const std::vector<std::string> &candidates) {
  std::string best;
  size_t bestDistance = std::max<size_t>(2, name.size() / 2);
  for (const std::string &candidate : candidates) {
    // An abbreviation ("light") counts as close.
    bool prefix = name.size() >= 3 && candidate.compare(0, name.size(), name) == 0;
    size_t distance = prefix ? 1 : editDistance(name, candidate);
    if (distance <= bestDistance && (best.empty() || distance < bestDistance)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

std::string suggestion(const std::string &name, const std::vector<std::string> &candidates) {
  std::string best = closest(name, candidates);
  if (!best.empty())
    return "did you mean '" + best + "'?";
  std::string known;
  for (const std::string &candidate : candidates)
    known += (known.empty() ? "" : ", ") + candidate;
  return "known: " + known;
}

static bool isNumeric(const std::string &cell) {
  return cell == "-" || (!cell.empty() && std::isdigit(static_cast<unsigned char>(cell[0])));
}

std::string formatTable(const std::vector<std::vector<std::string>> &rows) {
  std::vector<size_t> widths;
  std::vector<bool> right;
  for (size_t r = 0; r < rows.size(); ++r) {
    widths.resize(std::max(widths.size(), rows[r].size()));
    right.resize(widths.size(), rows.size() > 1);
    for (size_t c = 0; c < rows[r].size(); ++c) {
      widths[c] = std::max(widths[c], rows[r][c].size());
      if (r > 0 && !isNumeric(rows[r][c]))
        right[c] = false;
    }
  }
  std::string text;
  for (const auto &row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      std::string padding(widths[c] - row[c].size(), ' ');
      line += (c ? "  " : "") + (right[c] ? padding + row[c] : row[c] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string formatBytes(uint64_t bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string formatCount(size_t count, const std::string &noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string formatSeconds(double seconds) {
  char text[32];
  if (seconds < 1e-3)
    std::snprintf(text, sizeof(text), "%.1f us", seconds * 1e6);
  else if (seconds < 1)
    std::snprintf(text, sizeof(text), "%.2f ms", seconds * 1e3);
  else
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
  return text;
}

double quantile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[size_t(std::lround(at * double(values.size() - 1)))];
}

void printJson(const std::string &schema, const Json &document) {
  Json all = {{"schema", schema}};
  all.update(document);
  std::cout << all.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

Progress::Progress(std::string text)
    : label(std::move(text)), start(std::chrono::steady_clock::now()), terminal(isatty(STDERR_FILENO)),
      thread([this] { show(); }) {}

Progress::~Progress() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    finished = true;
  }
  wake.notify_one();
  thread.join();
  if (!shown)
    return;
  std::fprintf(stderr, "%s%s: %s%s\n", terminal ? "\r" : "", label.c_str(), formatSeconds(seconds()).c_str(),
               terminal ? "    " : "");
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Progress::show() {
  std::unique_lock<std::mutex> lock(mutex);
  while (!wake.wait_for(lock, std::chrono::seconds(1), [this] { return finished; })) {
    if (terminal)
      std::fprintf(stderr, "\r%s ... %.0f s ", label.c_str(), seconds());
    else if (!shown)
      std::fprintf(stderr, "%s ...\n", label.c_str());
    shown = true;
  }
}

std::pair<std::string, std::string> splitAssignment(const std::string &option, const std::string &text) {
  size_t at = text.find('=');
  if (at == std::string::npos || at == 0)
    fail(ExitUsage, option + " wants NAME=VALUE, but got '" + text + "'");
  return {text.substr(0, at), text.substr(at + 1)};
}

} // namespace fresnel::tool
