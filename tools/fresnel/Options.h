//===- Options.h - Checks of what options are given -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_OPTIONS_H
#define FRESNEL_TOOLS_OPTIONS_H

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace fresnel::tool {

/// For CLI::Option::check: a whole number in [least, most]. The error prints the value and the limits.
CLI::Validator wholeNumber(int64_t least, int64_t most = INT64_MAX);

/// The same for a finite number that may have decimals, of `unit` ("seconds").
CLI::Validator numberOf(const std::string &unit, double least, double most);

/// Longest time that an option may name, in seconds: a year.
inline constexpr double kMostSeconds = 365 * 24 * 3600;

/// Fails with ExitEnvironment if the file could not be written, before the work whose result it is to hold; an empty
/// `path` is none.
void checkWritable(const std::string &path);

/// Fails with ExitUsage if writing `path`, the value of `option`, would replace one of `inputs`. Empty ones are none.
void checkSpares(const std::string &option, const std::string &path, const std::vector<std::string> &inputs);

/// Fails with ExitUsage if an option of a command that was chosen was given "": that would be as if it was not given.
void checkNotEmpty(CLI::App &app);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_OPTIONS_H
