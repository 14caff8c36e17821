/*===- fresnel.h - C interface of the runtime ----------------------*- C -*-===*
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *===----------------------------------------------------------------------===*
 *
 * A plan is a bundle loaded on one GPU. Functions return FRN_OK or a code, and
 * frn_last_error() then says in words what went wrong. Nothing throws, nothing
 * is freed on the caller's behalf. A plan is immutable: frn_plan_launch may be
 * called from several threads, and inside a CUDA graph capture.
 *
 *===----------------------------------------------------------------------===*/
#ifndef FRESNEL_C_FRESNEL_H
#define FRESNEL_C_FRESNEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FRN_API __attribute__((visibility("default")))
#else
#define FRN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when the interface breaks; frn_abi_version() returns the library's. */
#define FRN_ABI_VERSION 1

typedef enum {
  FRN_OK = 0,
  FRN_INVALID_ARGUMENT = 1,
  FRN_UNSUPPORTED = 2,
  FRN_NO_DRIVER = 4,
  FRN_DRIVER_TOO_OLD = 5,
  FRN_INTEGRITY = 6,
  FRN_WORKSPACE_TOO_SMALL = 9,
  FRN_CUDA_ERROR = 10,
  FRN_IO_ERROR = 11,
  FRN_OUT_OF_MEMORY = 13,
  FRN_INTERNAL = 99
} frn_status;

typedef enum { FRN_F32 = 0, FRN_BF16 = 1, FRN_F16 = 2, FRN_I32 = 3 } frn_dtype;

/* The driver's stream: the same type as CUstream and cudaStream_t. */
typedef struct CUstream_st *frn_stream;
typedef struct frn_plan frn_plan;

/* A tensor on the device. Shapes are logical, [batch, head, sequence, head_dim]
 * for rank 4; strides are in elements, 1 in the last dimension. */
typedef struct {
  void *data;
  frn_dtype dtype;
  int32_t rank;
  const int64_t *shape;
  const int64_t *strides;
} frn_tensor;

/* One tensor that a plan takes. The pointers live as long as the plan. */
typedef struct {
  const char *name;
  frn_dtype dtype;
  int32_t rank;
  const int64_t *shape;
  int32_t is_output;
} frn_argument;

FRN_API int frn_abi_version(void);
FRN_API const char *frn_status_name(frn_status status);
/* The last error of the calling thread; valid until its next call. */
FRN_API const char *frn_last_error(void);

/* Reads a bundle, checks it, and loads it on GPU `device`. The device's primary
 * context must be current when the plan is launched. */
FRN_API frn_status frn_plan_load(const char *path, int device, frn_plan **plan);
FRN_API void frn_plan_destroy(frn_plan *plan);

/* The tensors that frn_plan_launch takes, inputs and outputs, in its order. */
FRN_API size_t frn_plan_argument_count(const frn_plan *plan);
FRN_API frn_status frn_plan_argument(const frn_plan *plan, size_t index, frn_argument *argument);
/* Device memory that a launch needs besides, in bytes; aligned to 256. */
FRN_API int64_t frn_plan_workspace_bytes(const frn_plan *plan);

/* Launches the plan's kernels on `stream`. Checks the tensors, allocates
 * nothing and does not wait. */
FRN_API frn_status frn_plan_launch(const frn_plan *plan, const frn_tensor *tensors, size_t count, void *workspace,
                                   int64_t workspace_bytes, frn_stream stream);

#ifdef __cplusplus
}
#endif

#endif /* FRESNEL_C_FRESNEL_H */
