//===- Fuzz.h - What the fuzz targets share
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TESTS_FUZZ_H
#define FRESNEL_TESTS_FUZZ_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

/// The entry that libFuzzer and Replay.cpp call with bytes of any content.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/// Ends the program, which libFuzzer and Replay.cpp take for a finding.
inline void expect(bool holds, const char *otherwise) {
  if (holds)
    return;
  std::fprintf(stderr, "fuzz: %s\n", otherwise);
  std::abort();
}

#endif // FRESNEL_TESTS_FUZZ_H
