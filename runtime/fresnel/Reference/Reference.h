//===- Reference.h - All reference ops --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every operation of the fresnel dialect in plain C++, accumulated in f64: what
// the interpreter runs and kernels are compared with. The shapes are those that
// the dialect's verifier accepts and are not checked again. All functions are
// thread safe; results do not depend on the number of threads.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_REFERENCE_H
#define FRESNEL_REFERENCE_REFERENCE_H

#include "fresnel/Reference/Attend.h"
#include "fresnel/Reference/Cascade.h"
#include "fresnel/Reference/Combine.h"
#include "fresnel/Reference/Documents.h"
#include "fresnel/Reference/Fused.h"
#include "fresnel/Reference/Gradients.h"
#include "fresnel/Reference/Grouped.h"
#include "fresnel/Reference/Movement.h"
#include "fresnel/Reference/Parallel.h"
#include "fresnel/Reference/Pooling.h"
#include "fresnel/Reference/Selection.h"
#include "fresnel/Reference/Tensor.h"

#endif // FRESNEL_REFERENCE_REFERENCE_H
