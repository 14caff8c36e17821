//===- Gradients.h - Vector-Jacobian products of the ops --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// For an op y = f(x) and the gradient dy of a scalar with respect to y, the
// gradient dx with respect to x. Selections carry no gradient.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_GRADIENTS_H
#define FRESNEL_REFERENCE_GRADIENTS_H

#include "fresnel/Reference/Attend.h"
#include "fresnel/Reference/Combine.h"
#include "fresnel/Reference/Movement.h"
#include "fresnel/Reference/Pooling.h"

namespace fresnel::ref {

/// Sum of tensors of one shape.
Tensor add(const std::vector<Tensor> &terms);

//===----------------------------------------------------------------------===//
// Attention (Dao et al., FlashAttention, arXiv 2205.14135, appendix B)
//===----------------------------------------------------------------------===//

/// out, dout [B, H, N, D], dlse [B, H, N] or null -> [B, H, N]: the row's
/// sum over d of out * dout, minus dlse.
Tensor attendDelta(const Tensor &out, const Tensor &dout, const Tensor *dlse);

/// What both gradients of attention read; shapes as for `attend`, `dout` as its
/// output, `lse` and `delta` [B, Hq, Nq].
struct AttendGradInputs {
  const Tensor &q, &k, &v, &lse, &delta, &dout;
};

/// dq, with p = exp(s - lse) and ds = p (dout . v - delta): sum over the keys of
/// scale ds k, times the derivative of the soft cap.
Tensor attendGradQ(const AttendGradInputs &inputs, const AttendOptions &options);

struct KvGradients {
  Tensor dk, dv;
};

/// dk and dv: sums over the query heads that share the key head, then over their rows.
KvGradients attendGradKv(const AttendGradInputs &inputs, const AttendOptions &options);

/// What the gradient in one pass reads of each row: [B, H, 2, P], P = N in whole steps
/// of 128. Row 0 is the LSE times log2(e), +inf where there are no keys or no row; row 1
/// is `attendDelta`, 0 where there is no row.
Tensor attendStats(const Tensor &out, const Tensor &dout, const Tensor &lse, const Tensor *dlse);
/// The same of LSEs and deltas, both [B, H, N].
Tensor joinStats(const Tensor &lse, const Tensor &delta);
/// For each chunk of 128 keys the largest magnitude of an element of k, and the largest norm of a row of v:
/// [B, H, 2, ceil(N / 128)]. NaN if there is one.
Tensor boundKeys(const Tensor &k, const Tensor &v);
/// `stats` with a third row: the factors with which sums of dQ become integers, from those bounds.
Tensor addFactors(const Tensor &stats, const Tensor &dout, const Tensor &bounds);
/// The LSE and delta of `rows` rows out of that. LSEs that are not finite become +inf, so that weights are 0.
AttendResult splitStats(const Tensor &stats, int64_t rows);

/// Rows [B, H, N, D] as the accumulators of a warpgroup hold them, and back: [B, H, T,
/// 64 D], T tiles of 64 rows, an even number; place 4 (128 j + t) + 2 r + i of a tile is
/// row 16 (t / 32) + t % 32 / 4 + 8 r, column 8 j + 2 (t % 4) + i. D is a multiple of 8;
/// what lies beyond the rows is 0.
Tensor toTiles(const Tensor &rows);
/// ... times `scale`.
Tensor fromTiles(const Tensor &tiles, int64_t rows, int64_t columns, double scale);
/// The same with integers: each row times its factor, the third row of `stats`, rounded; and divided by it.
IndexTensor toIntegers(const Tensor &rows, const Tensor &stats);
Tensor fromIntegers(const IndexTensor &tiles, const Tensor &stats, int64_t rows, int64_t columns, double scale);
/// Whether integers, sums of a term for each 64 of `keys` keys, are too coarse for the rows of a tile of head `plane`.
bool areTooCoarse(const IndexTensor &tiles, const Tensor &stats, int64_t plane, int64_t tile, int64_t rows,
                  int64_t keys);
/// dq out of integers, but of the inputs where they are too coarse.
Tensor settleTiles(const IndexTensor &tiles, const Tensor &stats, const AttendGradInputs &inputs,
                   const AttendOptions &options);

//===----------------------------------------------------------------------===//
// Pooling: a mean hands each row of a window its share, a maximum gives all to
// the first row that attains it.
//===----------------------------------------------------------------------===//

/// dy as the result of `pool` -> gradient of its operand of `seqLen` rows; `x`
/// is that operand and needed for a maximum only, else null.
Tensor poolGrad(const Tensor &dy, const Tensor *x, int64_t seqLen, const PoolOptions &options);
Tensor pyramidGrad(const Tensor &dy, const Tensor *x, int64_t seqLen, const PyramidOptions &options);
/// dy [B, H, N, D] -> sums of `window` rows each: [B, H, ceil(N / window), D].
Tensor unpoolGrad(const Tensor &dy, int64_t window);

//===----------------------------------------------------------------------===//
// Movement
//===----------------------------------------------------------------------===//

/// dy [B, H, S, D], indices [B, H, S] -> [B, heads, rows, D]: row i sums dy over
/// the query heads that share the head, then over the slots that hold i.
Tensor gatherGrad(const Tensor &dy, const IndexTensor &indices, int64_t heads, int64_t rows);
/// dy [B, H, N, D], pyramid indices [B, H, S] -> [B, H, S, D]: slot s with the
/// entry (l, i) sums dy over [i F + F - 1, min(i F + 2F - 1, N)), F = factor^l.
/// Tokens of documents are counted from the first of theirs on.
Tensor scatterGrad(const Tensor &dy, const IndexTensor &indices, const ScatterOptions &options);

//===----------------------------------------------------------------------===//
// Combination
//===----------------------------------------------------------------------===//

struct GateGradients {
  std::vector<Tensor> branches;
  Tensor gates;
};
GateGradients gateGrad(const std::vector<Tensor> &branches, const Tensor &gates, const Tensor &dy,
                       const GateOptions &options);

struct GateDeltas {
  std::vector<Tensor> lses, deltas;
};
/// What makes the gradients of gated attention out of dy instead of out of the branch's own gradient: per branch the
/// LSE [B, H, N] minus the logarithm of the logistic function of the gate (0 without an LSE), and `attendDelta`.
GateDeltas gateDelta(const std::vector<Tensor> &branches, const Tensor &gates, const Tensor &dy,
                     const std::vector<const Tensor *> &lses);

/// Per part its gradients; `merged` is the result of `merge`. `dlse` may be null.
std::vector<AttendResult> mergeGrad(const std::vector<AttendResult> &parts, const AttendResult &merged,
                                    const Tensor &dout, const Tensor *dlse);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_GRADIENTS_H
