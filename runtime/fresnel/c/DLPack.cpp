//===- DLPack.cpp - Tensors of other libraries as the C interface's
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/c/DLPack.h"
#include "fresnel/c/Guard.h"
#include "fresnel/c/fresnel.h"

using namespace fresnel::rt;

static Status refuse(const std::string &why) { return Status(Code::InvalidArgument, "the DLPack tensor " + why); }

static std::string nameOfDevice(int32_t type) {
  const char *name = type == dlpack::kCpu           ? " (CPU)"
                     : type == dlpack::kCudaHost    ? " (pinned memory of the CPU)"
                     : type == dlpack::kRocm        ? " (ROCm)"
                     : type == dlpack::kCudaManaged ? " (managed memory)"
                                                    : "";
  return std::to_string(type) + name;
}

static Status readDtype(dlpack::DataType dtype, frn_dtype &result) {
  if (dtype.code == dlpack::kFloat && dtype.bits == 32 && dtype.lanes == 1)
    result = FRN_F32;
  else if (dtype.code == dlpack::kBfloat && dtype.bits == 16 && dtype.lanes == 1)
    result = FRN_BF16;
  else if (dtype.code == dlpack::kFloat && dtype.bits == 16 && dtype.lanes == 1)
    result = FRN_F16;
  else if (dtype.code == dlpack::kInt && dtype.bits == 32 && dtype.lanes == 1)
    result = FRN_I32;
  else if (dtype.bits == 8 && dtype.lanes == 1 &&
           (dtype.code == dlpack::kBool || dtype.code == dlpack::kUint || dtype.code == dlpack::kInt))
    result = FRN_I8;
  else
    return refuse("has type code " + std::to_string(dtype.code) + " with " + std::to_string(dtype.bits) + " bits and " +
                  std::to_string(dtype.lanes) + " lanes, but f32 (2, 32, 1), bf16 (4, 16, 1), f16 (2, 16, 1), i32 " +
                  "(0, 32, 1) or a mask of bytes (6, 8, 1) is needed");
  return Status();
}

/// Where the tensor begins, aligned as kernels need it.
static Status readAddress(const dlpack::Tensor &tensor, void **address) {
  *address = nullptr;
  if (!tensor.data)
    return refuse("is a null pointer, as tensors without elements are");
  uintptr_t start = reinterpret_cast<uintptr_t>(tensor.data) + uintptr_t(tensor.byteOffset);
  if (start % 16)
    return refuse("starts " + std::to_string(start % 16) + " bytes past a multiple of 16 (byte_offset is " +
                  std::to_string(tensor.byteOffset) + "), but kernels need a multiple of 16; copy it");
  *address = reinterpret_cast<void *>(start);
  return Status();
}

/// Strides of a contiguous tensor. Unsigned, because shapes are not checked yet.
static void makeStrides(const dlpack::Tensor &tensor, int64_t *strides) {
  uint64_t stride = 1;
  for (int32_t d = tensor.rank; d-- > 0; stride *= uint64_t(tensor.shape[d]))
    strides[d] = int64_t(stride);
}

static Status readTensor(const dlpack::Tensor &tensor, int device, int64_t *strides, frn_tensor &result) {
  if (tensor.device.type != dlpack::kCuda)
    return refuse("is on device type " + nameOfDevice(tensor.device.type) + ", but the kernels run on type 2 (CUDA)");
  if (tensor.device.id != device)
    return refuse("is on GPU " + std::to_string(tensor.device.id) + ", but the plan is on GPU " +
                  std::to_string(device));
  if (tensor.rank < 0 || tensor.rank > FRN_MAX_RANK)
    return refuse("has rank " + std::to_string(tensor.rank) + ", but ranks from 0 to " + std::to_string(FRN_MAX_RANK) +
                  " are taken");
  if (tensor.rank > 0 && !tensor.shape)
    return refuse("has rank " + std::to_string(tensor.rank) + ", but no shape");
  for (int32_t d = 0; d < tensor.rank; ++d)
    if (tensor.shape[d] < 0)
      return refuse("has size " + std::to_string(tensor.shape[d]) + " in dimension " + std::to_string(d));
  Status status = readDtype(tensor.dtype, result.dtype);
  if (status.ok())
    status = readAddress(tensor, &result.data);
  if (!status.ok())
    return status;
  result.rank = tensor.rank;
  result.shape = tensor.shape;
  result.strides = tensor.strides;
  if (!tensor.strides) {
    makeStrides(tensor, strides);
    result.strides = strides;
  }
  return Status();
}

frn_status frn_tensor_from_dlpack(const struct DLManagedTensor *managed, int device, int64_t strides[FRN_MAX_RANK],
                                  frn_tensor *tensor) {
  return guard([&]() -> Status {
    if (!managed || !strides || !tensor)
      return Status(Code::InvalidArgument, "frn_tensor_from_dlpack: managed, strides and tensor must not be null");
    *tensor = {};
    return readTensor(reinterpret_cast<const dlpack::Managed *>(managed)->tensor, device, strides, *tensor);
  });
}

frn_status frn_tensor_from_dlpack_versioned(const struct DLManagedTensorVersioned *managed, int device,
                                            int32_t is_output, int64_t strides[FRN_MAX_RANK], frn_tensor *tensor) {
  return guard([&]() -> Status {
    if (!managed || !strides || !tensor)
      return Status(Code::InvalidArgument,
                    "frn_tensor_from_dlpack_versioned: managed, strides and tensor must not be null");
    *tensor = {};
    const auto &versioned = *reinterpret_cast<const dlpack::Versioned *>(managed);
    // Nothing else is where we know it to be.
    if (versioned.major != dlpack::kMajor)
      return refuse("has version " + std::to_string(versioned.major) + "." + std::to_string(versioned.minor) +
                    ", but version 1 is read; export it with max_version (1, 0)");
    if (is_output && versioned.flags & dlpack::kReadOnly)
      return refuse("is read-only, but the kernels write to it");
    if (is_output && versioned.flags & dlpack::kIsCopied)
      return refuse("is a copy that its library made for the export, so what the kernels write would be lost");
    return readTensor(versioned.tensor, device, strides, *tensor);
  });
}
