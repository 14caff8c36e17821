//===- Manifest.h - What a bundle holds: the contract of compiler and runtime
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_MANIFEST_H
#define FRESNEL_ARTIFACT_MANIFEST_H

#include "fresnel/Artifact/DType.h"
#include "fresnel/Artifact/Status.h"
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fresnel::rt {

/// Readers accept any minor version of the major versions from the oldest to their own. A manifest is
/// written with the lowest version whose readers understand it: that of slices is 2.
constexpr int kOldestFormatMajor = 1, kFormatMajor = 2;
constexpr int kFormatMinor = 4;

/// Numbers of slices of batch and heads. A plan's slices are counted through the heads of
/// the first part of the batch, then those of the next.
using Slices = std::array<int64_t, 2>;
constexpr int64_t countSlices(const Slices &slices) { return slices[0] * slices[1]; }

/// Temporary: in the workspace. Zeroed: the same, and zero when a launch of the plan begins.
enum class BufferKind { Input, Output, Temporary, Zeroed };

/// A tensor of the plan. Shapes are logical: [batch, head, sequence, head_dim].
struct Buffer {
  std::string name;
  BufferKind kind = BufferKind::Input;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  /// Temporary and zeroed buffers: bytes from the start of the workspace.
  int64_t offset = 0;
  /// Bytes from the start of the buffer that goes from the forward to the backward
  /// plan, for an output of the one and an input of the other that lies there; else -1.
  int64_t savedOffset = -1;
  /// Inputs and outputs: into how many slices dimensions 0 and 1, batch and heads, are cut; 1 where every slice of
  /// the plan has all.
  Slices slices{1, 1};

  /// Of the contiguous tensor.
  int64_t elements() const;
  int64_t bytes() const { return elements() * sizeOf(dtype); }
  /// Size of dimension `dim` in one slice.
  int64_t sizeInSlice(size_t dim) const { return dim < slices.size() ? shape[dim] / slices[dim] : shape[dim]; }
  bool isInWorkspace() const { return kind == BufferKind::Temporary || kind == BufferKind::Zeroed; }
  bool isSaved() const { return savedOffset >= 0; }
  /// A tensor that the caller passes by itself.
  bool isArgument() const { return !isInWorkspace() && !isSaved(); }
};

enum class ParamKind { Pointer, Stride, TensorMap };

/// One kernel parameter, made from operand `operand` of the launch.
struct Param {
  ParamKind kind = ParamKind::Pointer;
  int64_t operand = 0;
  /// Stride: the dimension whose stride is passed, in elements, as i64.
  int64_t dim = 0;
  /// TensorMap: the box, in heads and elements, and the swizzle in bytes (0, 32, 64, 128).
  int64_t heads = 1, rows = 0, cols = 0, swizzle = 0;
};

/// What one launch of a kernel's operation takes on any machine.
struct Cost {
  /// Device memory that must move, each byte once.
  int64_t bytesRead = 0, bytesWritten = 0;
  /// Additions and multiplications of the operation's definition.
  int64_t flops = 0;
  /// False where the tensors' contents decide, e.g. which keys a selection opens:
  /// the numbers are the most that can be.
  bool exact = true;

  int64_t bytes() const { return bytesRead + bytesWritten; }
};

struct Kernel {
  std::string name;
  /// The function in the PTX.
  std::string entry;
  /// The operation it computes, e.g. "fresnel.attend".
  std::string op;
  std::array<int64_t, 3> block{1, 1, 1}, grid{1, 1, 1}, cluster{1, 1, 1};
  /// Dynamic shared memory, in bytes.
  int64_t sharedBytes = 0;
  std::vector<Param> params;
  /// A JSON object that the runtime does not read.
  std::string schedule = "{}";
  /// How the schedule was chosen, where a tuning database was asked: a JSON
  /// object of which sourceOf (Selection.h) tells the source.
  std::string choice = "{}";
  /// Absent from bundles of format 1.1 and before.
  std::optional<Cost> cost;
  /// The kernel waits by itself until the launch before it in the plan has
  /// completed, so that it may start to be launched earlier.
  bool dependentLaunch = false;
  /// Place of the PTX in the bundle file and its SHA-256 in hexadecimal.
  int64_t ptxOffset = 0, ptxSize = 0;
  std::string ptxSha256;
};

/// One launch; the operands are indices into the manifest's buffers, inputs of
/// the kernel first, then what it writes.
struct Launch {
  int64_t kernel = 0;
  std::vector<int64_t> operands;
  /// The slice of batch and heads that it computes.
  int64_t slice = 0;
};

struct Target {
  std::string name;
  std::string ptxIsa;
  /// CUDA version of the oldest driver that reads the PTX: major * 1000 + minor * 10.
  int64_t minDriverCuda = 0;
  int64_t computeMajor = 0, computeMinor = 0;
  /// The code runs on exactly this generation, not on later ones.
  bool archSpecific = false;
};

/// Launches in order, and the tensors that they read and write.
struct Plan {
  std::vector<Buffer> buffers;
  int64_t workspaceBytes = 0, workspaceAlign = 256;
  /// Slice after slice; each has the workspace for itself while its launches run.
  std::vector<Launch> launches;

  /// The buffer of that name, or null.
  const Buffer *findBuffer(std::string_view bufferName) const;
};

/// Its own plan is the forward one; programs with gradients have a second plan.
/// The kernels serve both.
struct Manifest : Plan {
  int formatMajor = kOldestFormatMajor, formatMinor = kFormatMinor;
  std::string name;
  /// Versions of what made the bundle.
  std::string fresnelVersion, llvmVersion;
  Target target;
  /// The program's text, so that a run can be checked against the interpreter.
  std::string program;
  /// Preset parameters, a JSON object.
  std::string parameters = "{}";
  std::vector<Kernel> kernels;
  /// Computes the gradients from inputs and outputs of the forward plan, the
  /// gradients of the outputs, and what the forward plan saved.
  std::optional<Plan> backward;
  /// Both plans run once for each slice.
  Slices slices{1, 1};
  /// Size of the buffer that the caller owns from the forward to the backward
  /// launch; aligned like a workspace. Each slice has a part of it, and saved tensors
  /// their place in that part.
  int64_t savedBytes = 0;

  int64_t savedBytesOfSlice() const { return savedBytes / countSlices(slices); }
};

/// Canonical JSON: keys sorted, two spaces.
std::string toJson(const Manifest &manifest);

/// Reads and validates; errors name the place as a JSON pointer.
Expected<Manifest> parseManifest(std::string_view json);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_MANIFEST_H
