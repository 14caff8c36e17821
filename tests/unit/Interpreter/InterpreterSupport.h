//===- InterpreterSupport.h - What interpreter tests share -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TESTS_INTERPRETERSUPPORT_H
#define FRESNEL_TESTS_INTERPRETERSUPPORT_H

#include "fresnel/Artifact/Safetensors.h"
#include "fresnel/Interpreter/Interpreter.h"
#include "fresnel/Presets/Presets.h"
#include "fresnel/Transforms/Passes.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

namespace fresnel {

inline ref::Tensor randomTensor(std::vector<int64_t> shape, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  ref::Tensor tensor(shape);
  for (float &value : tensor.data)
    value = normal(engine);
  return tensor;
}

/// Runs a program, differentiated if `grad`, as the compiler fuses it if `fuse`.
inline std::vector<NamedValue> runText(const std::string &text, llvm::ArrayRef<NamedValue> inputs, bool grad = false,
                                       bool fuse = false) {
  mlir::MLIRContext context;
  context.loadDialect<FresnelDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  EXPECT_TRUE(bool(module));
  mlir::PassManager passes(&context);
  if (grad)
    passes.addPass(createDifferentiatePass());
  if (fuse) {
    passes.addPass(createFusePyramidsPass());
    passes.addPass(createMergeGathersPass());
    passes.addPass(createInvertSelectionsPass());
    passes.addPass(createReuseLsePass());
    passes.addPass(createFuseSelectionsPass());
    passes.addPass(createGroupQueriesPass());
    passes.addPass(createFuseAttendGradPass());
    passes.addPass(createFuseGateGradientsPass());
    passes.addPass(createTransposeBlocksPass());
    passes.addPass(createFoldSumsPass());
    passes.addPass(createGatherTilesPass());
  }
  EXPECT_TRUE(succeeded(passes.run(*module)));
  llvm::Expected<std::vector<NamedValue>> results = interpret(findMainProgram(*module), inputs);
  EXPECT_TRUE(bool(results)) << (results ? "" : llvm::toString(results.takeError()));
  return results ? std::move(*results) : std::vector<NamedValue>();
}

/// Instantiates a preset, differentiates it if `grad`, and runs it.
inline std::vector<NamedValue> run(const std::string &preset, const std::map<std::string, std::string> &params,
                                   llvm::ArrayRef<NamedValue> inputs, bool grad = false) {
  llvm::Expected<std::string> text = instantiate(*findPreset(preset), params);
  EXPECT_TRUE(bool(text)) << (text ? "" : llvm::toString(text.takeError()));
  return runText(*text, inputs, grad);
}

inline const ref::Tensor &tensor(const std::vector<NamedValue> &results, const std::string &name) {
  for (const NamedValue &result : results)
    if (result.name == name)
      return std::get<ref::Tensor>(result.value);
  ADD_FAILURE() << "no result " << name;
  static const ref::Tensor none;
  return none;
}

/// |got - want| / |want|
inline double getDistance(const ref::Tensor &got, const ref::Tensor &want) {
  EXPECT_EQ(got.shape, want.shape);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.data.size() && i < got.data.size(); ++i) {
    difference += std::pow(double(got.data[i]) - want.data[i], 2);
    norm += std::pow(double(want.data[i]), 2);
  }
  return std::sqrt(difference / norm);
}

//===----------------------------------------------------------------------===//
// Golden files of the authors' Lighthouse code
//===----------------------------------------------------------------------===//

inline std::string getGoldenPath(const std::string &name) {
  const char *folder = std::getenv("FRESNEL_GOLDEN_DIR");
  return std::string(folder ? folder : FRESNEL_SOURCE_DIR "/../shared/golden") + "/lighthouse_" + name + ".safetensors";
}

inline ref::Tensor toTensor(const rt::NamedTensor &stored) {
  // [B, N, H, D] in the file, [B, H, N, D] here.
  int64_t b = stored.shape[0], n = stored.shape[1], h = stored.shape[2], d = stored.shape[3];
  std::vector<float> flat(size_t(stored.elements()));
  rt::toFloat(stored.data.data(), stored.dtype, stored.elements(), flat.data());
  ref::Tensor tensor({b, h, n, d});
  for (int64_t i = 0; i < b; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t m = 0; m < h; ++m)
        std::memcpy(&tensor.data[size_t(((i * h + m) * n + j) * d)], &flat[size_t(((i * n + j) * h + m) * d)],
                    size_t(d) * 4);
  return tensor;
}

} // namespace fresnel

#endif // FRESNEL_TESTS_INTERPRETERSUPPORT_H
