//===- TuneTrace.h - What a program met, as requests to the tuner -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNETRACE_H
#define FRESNEL_TOOLS_TUNETRACE_H

#include "TuneSubject.h"

namespace fresnel::tool {

/// The workloads of a file that FRESNEL_TRACE wrote, each problem once. A preset's
/// is tuned as that preset; any other program by its text, which goes to `scratch`.
/// `device` is the GPU that measures. Fails with ExitUsage for a file that is not
/// there or has no workload.
std::vector<TuneRequest> readTraceRequests(const std::string &path, const std::string &target,
                                           const rt::DeviceClass &device, const std::string &scratch);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNETRACE_H
