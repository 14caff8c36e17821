/*===- fresnel.h - C interface of the runtime ----------------------*- C -*-===*
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *===----------------------------------------------------------------------===*
 *
 * A plan is a bundle loaded on one GPU. Functions return FRN_OK or a code, and
 * frn_last_error() then says in words what went wrong.
 *
 * Ownership: frn_plan_load gives a plan that frn_plan_destroy frees. All device
 * memory (tensors, workspace, saved buffer) is the caller's, before and after; the
 * library allocates none and frees none. Strings and shapes that a plan hands out
 * live as long as the plan.
 *
 * Threads: a plan is immutable. Any function may be called on it from several
 * threads at once, except frn_plan_destroy, which must be the last. Two launches
 * that may overlap in time need two workspaces (and two saved buffers). The text of
 * frn_last_error belongs to the thread.
 *
 * Streams: launches go to the caller's stream and return without waiting. The
 * device's primary context must be current (cudaSetDevice makes it so); a thread
 * that has no context yet gets it, one with another's is refused. Launches allocate
 * nothing and may be captured into a CUDA graph. frn_plan_load may not: load before
 * the capture.
 *
 * Errors: nothing throws. All checks of a launch come before its first kernel, so
 * a refused launch has launched nothing; FRN_CUDA_ERROR is the driver's own word
 * and may belong to earlier work on the context.
 *
 * Training: a bundle compiled with --grad has two plans. The forward launch leaves
 * what the backward launch reads in the saved buffer (frn_plan_saved_bytes), which
 * must stay as it is in between. A tensor of the backward plan that has the name
 * of a tensor of the forward plan is that tensor; the others are the gradients,
 * dX for X. docs/training.md has an example.
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

/* Enumerations hold any int, also in C++: what a caller passes is checked, and newer
 * libraries know more values. */
#ifdef __cplusplus
#define FRN_ENUM_BASE : int
#else
#define FRN_ENUM_BASE
#endif

/* Grows when the interface breaks; frn_abi_version() returns the library's. */
#define FRN_ABI_VERSION 1
/* Grows with each addition; frn_abi_minor() returns the library's. */
#define FRN_ABI_MINOR 5

typedef enum frn_status FRN_ENUM_BASE {
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
  FRN_JIT_DISABLED = 14,
  FRN_INTERNAL = 99
} frn_status;

typedef enum frn_dtype FRN_ENUM_BASE {
  FRN_F32 = 0,
  FRN_BF16 = 1,
  FRN_F16 = 2,
  FRN_I32 = 3,
  /* Since 1.4: masks, where every byte that is not 0 means true. */
  FRN_I8 = 4
} frn_dtype;

/* The driver's stream: the same type as CUstream and cudaStream_t. */
typedef struct CUstream_st *frn_stream;
typedef struct frn_plan frn_plan;

/* A tensor on the device. Shapes are logical, [batch, head, sequence, head_dim]
 * for rank 4; strides are in elements, 1 in the last dimension. Inputs may share
 * memory, such as slices of one projection; an output shares none. */
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

/* The two plans of a bundle with gradients. */
typedef enum frn_direction FRN_ENUM_BASE { FRN_FORWARD = 0, FRN_BACKWARD = 1 } frn_direction;

/* Device memory that a launch uses besides its tensors, each aligned to 256 bytes.
 * Where 0 bytes are needed, the pointer may be null. */
typedef struct {
  void *workspace;
  int64_t workspace_bytes;
  void *saved;
  int64_t saved_bytes;
} frn_memory;

/* A tensor inside the saved buffer, contiguous. The pointers live as long as the plan. */
typedef struct {
  const char *name;
  frn_dtype dtype;
  int32_t rank;
  const int64_t *shape;
  int64_t offset;
  int64_t bytes;
} frn_saved_tensor;

/* What chose a kernel's schedule: a trial of the same problem in a tuning database, a
 * trial of the nearest lengths, or the compiler, also where no database was asked. */
typedef enum frn_choice FRN_ENUM_BASE { FRN_EXACT = 0, FRN_NEAREST = 1, FRN_HEURISTIC = 2 } frn_choice;

/* A kernel of a plan: the operation that it computes, such as "fresnel.attend", and its
 * schedule, a JSON object. The pointers live as long as the plan. */
typedef struct {
  const char *name;
  const char *op;
  const char *schedule;
  frn_choice choice;
} frn_kernel;

FRN_API int frn_abi_version(void);
FRN_API int frn_abi_minor(void);
FRN_API const char *frn_status_name(frn_status status);
/* The last error of the calling thread; valid until its next call. */
FRN_API const char *frn_last_error(void);

/* Reads a bundle, checks it, and loads it on GPU `device`, whose primary context it
 * retains until the plan is destroyed. */
FRN_API frn_status frn_plan_load(const char *path, int device, frn_plan **plan);
/* The same for a bundle in memory, of which the plan keeps a copy. */
FRN_API frn_status frn_plan_load_memory(const void *bundle, size_t bytes, int device, frn_plan **plan);
FRN_API void frn_plan_destroy(frn_plan *plan);

/* The tensors that frn_plan_launch takes, inputs and outputs, in its order. The
 * functions of this form are about the forward plan; counts and sizes of a null
 * plan are 0. */
FRN_API size_t frn_plan_argument_count(const frn_plan *plan);
FRN_API frn_status frn_plan_argument(const frn_plan *plan, size_t index, frn_argument *argument);
/* Device memory that a launch needs besides, in bytes; aligned to 256. */
FRN_API int64_t frn_plan_workspace_bytes(const frn_plan *plan);

/* Launches the forward plan on `stream`. FRN_INVALID_ARGUMENT for a plan that
 * saves something for its backward plan: frn_plan_run takes a buffer for that. */
FRN_API frn_status frn_plan_launch(const frn_plan *plan, const frn_tensor *tensors, size_t count, void *workspace,
                                   int64_t workspace_bytes, frn_stream stream);

/* 1 if the bundle was compiled with gradients, else 0 (also for a null plan). */
FRN_API int32_t frn_plan_has_backward(const frn_plan *plan);

/* What a plan takes. FRN_UNSUPPORTED for the backward plan of a bundle without
 * gradients, FRN_INVALID_ARGUMENT for null pointers, directions that are none and
 * indices past the end. */
FRN_API frn_status frn_plan_count_arguments(const frn_plan *plan, frn_direction direction, size_t *count);
FRN_API frn_status frn_plan_get_argument(const frn_plan *plan, frn_direction direction, size_t index,
                                         frn_argument *argument);
FRN_API frn_status frn_plan_get_workspace_bytes(const frn_plan *plan, frn_direction direction, int64_t *bytes);

/* Since 1.5: the kernels that a plan launches, in order; one that it launches twice, as
 * for two slices of the heads, comes twice. Errors as above, and FRN_UNSUPPORTED for a choice that a newer version
 * made. */
FRN_API frn_status frn_plan_count_kernels(const frn_plan *plan, frn_direction direction, size_t *count);
FRN_API frn_status frn_plan_get_kernel(const frn_plan *plan, frn_direction direction, size_t index, frn_kernel *kernel);

/* The buffer between the two launches: its size, and what lies in it. Of a plan that computes batch and heads in
 * slices (compile --head-slices) these are the tensors of the first slice; each of the others has an equal part of
 * the buffer behind it, with the same tensors in the same places. */
FRN_API int64_t frn_plan_saved_bytes(const frn_plan *plan);
FRN_API size_t frn_plan_saved_count(const frn_plan *plan);
FRN_API frn_status frn_plan_get_saved(const frn_plan *plan, size_t index, frn_saved_tensor *saved);

/* Launches the forward or the backward plan on `stream`: `tensors` in the order of
 * frn_plan_get_argument. FRN_INVALID_ARGUMENT names the tensor that does not fit,
 * FRN_WORKSPACE_TOO_SMALL the buffer that is missing or too small. */
FRN_API frn_status frn_plan_run(const frn_plan *plan, frn_direction direction, const frn_tensor *tensors, size_t count,
                                const frn_memory *memory, frn_stream stream);

/* DLPack: views of other libraries' tensors, for frn_plan_run and frn_plan_launch.
 *
 * `managed` is what a library exports, in the layout of DLPack before 1.0 or of 1.x;
 * include its dlpack.h, or pass the pointer of a Python capsule "dltensor" or
 * "dltensor_versioned". `tensor` becomes a view: its shape points into `managed`, its
 * strides too, or into `strides` where `managed` has none because it is contiguous.
 *
 * Ownership: nothing is copied and `managed` stays the caller's, who calls its deleter
 * once when the kernels have run, also after an error. Streams: DLPack carries none in
 * C; the data must be ready on the stream of the launch. Shapes are logical, as for
 * every frn_tensor: a [B, N, H, D] array is passed with its axes 1 and 2 exchanged.
 *
 * FRN_INVALID_ARGUMENT says what does not fit: the version, a device that is no CUDA
 * device or not `device` (the plan's), the type, the rank, the alignment to 16 bytes;
 * with `is_output` also a tensor that is read-only or a copy. Names, shapes and strides
 * are the launch's to check. */
#define FRN_MAX_RANK 8
struct DLManagedTensor;
struct DLManagedTensorVersioned;
FRN_API frn_status frn_tensor_from_dlpack(const struct DLManagedTensor *managed, int device,
                                          int64_t strides[FRN_MAX_RANK], frn_tensor *tensor);
FRN_API frn_status frn_tensor_from_dlpack_versioned(const struct DLManagedTensorVersioned *managed, int device,
                                                    int32_t is_output, int64_t strides[FRN_MAX_RANK],
                                                    frn_tensor *tensor);

/* Digests, for the processes of a job to compare when it starts: 64 hexadecimal
 * digits and a terminating null.
 *
 * Of a plan: over its target, code, geometry, buffers and launches. Equal digests:
 * the same kernels, launched alike.
 *
 * Of a selection: over every problem of the tuning database at `database` (null:
 * the user's) with the schedule and the kernel that it chooses for GPU `device`;
 * what `fresnel db digest` prints. FRN_IO_ERROR if there is no database at `database`;
 * the user's is empty where nothing was tuned yet. */
#define FRN_DIGEST_SIZE 65
FRN_API frn_status frn_plan_digest(const frn_plan *plan, char digest[FRN_DIGEST_SIZE]);
FRN_API frn_status frn_selection_digest(const char *database, int device, char digest[FRN_DIGEST_SIZE]);

#ifdef __cplusplus
}
#endif

#endif /* FRESNEL_C_FRESNEL_H */
