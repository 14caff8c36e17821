//===- Guard.h - What every function of the C interface returns through
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_C_GUARD_H
#define FRESNEL_C_GUARD_H

#include "fresnel/Artifact/Status.h"
#include "fresnel/c/fresnel.h"
#include <exception>
#include <new>

namespace fresnel::rt {

/// Keeps the text for frn_last_error, gives the code.
frn_status report(const Status &status);

/// Runs `body`; no exception leaves the library.
template <typename Body>
frn_status guard(Body body) {
  try {
    return report(body());
  } catch (const std::bad_alloc &) {
    return report(Status(Code::OutOfMemory, "out of host memory"));
  } catch (const std::exception &error) {
    return report(Status(Code::Internal, error.what()));
  }
}

} // namespace fresnel::rt

#endif // FRESNEL_C_GUARD_H
