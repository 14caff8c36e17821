//===- TuneReport.h - What tuning found -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNEREPORT_H
#define FRESNEL_TOOLS_TUNEREPORT_H

#include "TuneSession.h"

namespace fresnel::tool {

/// Tables for a terminal: each problem's fastest schedules, what was left out
/// and why, and a line per problem with its choice.
std::string reportText(const std::vector<ProblemReport> &reports);

/// Everything, every rejected schedule with its reason.
Json reportJson(const std::vector<ProblemReport> &reports);

/// A page of its own: a plot of each space, times against the lower bound, and the choices.
std::string reportHtml(const std::vector<ProblemReport> &reports, const rt::DeviceClass &device);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNEREPORT_H
