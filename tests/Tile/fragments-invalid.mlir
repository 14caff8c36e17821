// Fragments have the rank of their layout and sizes that are known.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

func.func @accumulator(%a: tensor<64x64xbf16, #tile.lhs>, %b: !tile.shared<64x64xbf16, swizzled>) {
  // expected-error @+1 {{result #0 must be accumulator fragment (#tile.acc), but got 'tensor<64xf32, #tile.acc>'}}
  %0 = tile.wgmma %a, %b : tensor<64x64xbf16, #tile.lhs>, !tile.shared<64x64xbf16, swizzled> -> tensor<64xf32, #tile.acc>
  return
}

// -----

func.func @left(%b: !tile.shared<64x64xbf16, padded>) {
  // expected-error @+1 {{result #0 must be left operand fragment (#tile.lhs), but got 'tensor<64x?xbf16, #tile.lhs>'}}
  %0 = tile.load_lhs %b : !tile.shared<64x64xbf16, padded> -> tensor<64x?xbf16, #tile.lhs>
  return
}

// -----

func.func @rows(%r: tensor<64x1xf32, #tile.rows>) {
  // expected-error @+1 {{operand #0 must be row fragment (#tile.rows), but got 'tensor<64x1xf32, #tile.rows>'}}
  %0 = tile.broadcast %r : tensor<64x1xf32, #tile.rows> -> tensor<64x64xf32, #tile.acc>
  return
}
