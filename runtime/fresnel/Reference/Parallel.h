//===- Parallel.h - Loops over threads --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_PARALLEL_H
#define FRESNEL_REFERENCE_PARALLEL_H

#include <cstdint>
#include <functional>

namespace fresnel::ref {

/// Calls `body(i)` once for each i in [0, count), on a thread per processor. The body
/// must write to places of its own and must not throw; every reference op keeps
/// to this, so results do not depend on the number of threads.
void parallelFor(int64_t count, const std::function<void(int64_t)> &body);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_PARALLEL_H
