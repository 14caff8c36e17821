//===- Interpreter.h - Runs programs on the reference library
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_INTERPRETER_INTERPRETER_H
#define FRESNEL_INTERPRETER_INTERPRETER_H

#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Reference/Reference.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace fresnel {

/// A tensor with its name; logical order ([B, H, N, D]), contiguous.
struct NamedValue {
  std::string name;
  std::variant<ref::Tensor, ref::IndexTensor> value;

  const std::vector<int64_t> &getShape() const {
    return std::visit([](const auto &tensor) -> const std::vector<int64_t> & { return tensor.shape; }, value);
  }
};

struct InterpreterOptions {
  /// Called before each operation with its index, their number and its name.
  std::function<void(int64_t, int64_t, llvm::StringRef)> progress;
};

/// Runs `program` on the CPU, whole in f32 storage with f64 sums: intermediate
/// results are not rounded to the program's 16-bit types. Plans run too, through
/// the kernel programs that their launches call. The inputs are matched by name;
/// a missing, superfluous or misshapen one is an error that says which. The
/// results come in the order of `fresnel.return`. Thread-safe.
llvm::Expected<std::vector<NamedValue>> interpret(ProgramOp program, llvm::ArrayRef<NamedValue> inputs,
                                                  const InterpreterOptions &options = {});

} // namespace fresnel

#endif // FRESNEL_INTERPRETER_INTERPRETER_H
