//===- DLPack.h - What the runtime reads of DLPack
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The structures of DLPack 1.x that frn_tensor_from_dlpack reads, written down from
// its specification (dmlc/dlpack, include/dlpack/dlpack.h, version 1.3), so that the
// runtime needs no header of others. The layout is an ABI: the asserts keep it.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_C_DLPACK_H
#define FRESNEL_C_DLPACK_H

#include <cstddef>
#include <cstdint>

namespace fresnel::rt::dlpack {

/// Versions of one major number share the layout.
constexpr uint32_t kMajor = 1;
constexpr int32_t kCpu = 1, kCuda = 2, kCudaHost = 3, kRocm = 10, kCudaManaged = 13;
constexpr uint8_t kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kBool = 6;
constexpr uint64_t kReadOnly = 1, kIsCopied = 2;

struct Device {
  int32_t type, id;
};

struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};

struct Tensor {
  void *data;
  Device device;
  int32_t rank;
  DataType dtype;
  int64_t *shape;
  /// In elements. Null for contiguous tensors before DLPack 1.2.
  int64_t *strides;
  uint64_t byteOffset;
};

/// DLManagedTensor, of DLPack before 1.0 and still the most common.
struct Managed {
  Tensor tensor;
  void *managerContext;
  void (*deleter)(Managed *);
};

/// DLManagedTensorVersioned.
struct Versioned {
  uint32_t major, minor;
  void *managerContext;
  void (*deleter)(Versioned *);
  uint64_t flags;
  Tensor tensor;
};

static_assert(sizeof(void *) != 8 ||
              (sizeof(Tensor) == 48 && offsetof(Tensor, dtype) == 20 && offsetof(Tensor, byteOffset) == 40 &&
               sizeof(Managed) == 64 && offsetof(Versioned, flags) == 24 && offsetof(Versioned, tensor) == 32));

} // namespace fresnel::rt::dlpack

#endif // FRESNEL_C_DLPACK_H
