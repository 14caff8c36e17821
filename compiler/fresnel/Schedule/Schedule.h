//===- Schedule.h - Choosing and checking schedules
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_SCHEDULE_H
#define FRESNEL_SCHEDULE_SCHEDULE_H

#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Target/TargetInfo.h"
#include "llvm/Support/JSON.h"

namespace fresnel {

/// Why no GPU schedule can serve the operation, or "" if one can.
std::string explainUnsupported(mlir::Operation *op);

/// The default schedule of a supported operation.
ScheduleAttr getDefaultSchedule(mlir::Operation *op, const TargetInfo &target);

/// Checks a schedule against the operation and the target; returns the limit
/// that is broken and what to change, or "".
std::string verifySchedule(ScheduleAttr schedule, mlir::Operation *op, const TargetInfo &target);

/// True for the operations that a family with matrix products serves: attention and its gradients.
bool isAttention(mlir::Operation *op);
/// The same without attention itself.
bool isAttentionGradient(mlir::Operation *op);

/// The block lists of an attention operation, or null.
mlir::Value getBlockList(mlir::Operation *op);
/// The bounds of its documents, or null.
mlir::Value getDocumentBounds(mlir::Operation *op);

/// Whether bounds are of documents in order, each of which holds its tokens, whatever the numbers are from which they
/// are made.
bool areInOrder(mlir::Value bounds);
/// Where the blocks of its lists start, or null.
mlir::Value getBlockStarts(mlir::Operation *op);

/// Shared memory of the portable kernel of an attention operation, in bytes.
int64_t getPortableSharedBytes(ScheduleAttr schedule, mlir::Operation *op);

/// Into how many parts the portable gradient of keys and values cuts their
/// columns: the sums of one thread block stay in registers.
int64_t getPortableGradParts(int64_t headDim, int64_t valueDim);

/// By field names; missing fields take their defaults, unknown ones are errors.
llvm::json::Object toJson(ScheduleAttr schedule);
llvm::Expected<ScheduleAttr> scheduleFromJson(const llvm::json::Object &object, mlir::MLIRContext *context);

/// Whether such a `text` names another family than hopper.
bool excludesHopper(llvm::StringRef text);

/// The schedule with the fields that `text` names: `name=value`, separated by `:`.
llvm::Expected<ScheduleAttr> changeSchedule(ScheduleAttr schedule, llvm::StringRef text);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_SCHEDULE_H
