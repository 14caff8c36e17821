// summary: Native Sparse Attention: compressed, selected and sliding branches, gated
// paper: NSA, arXiv 2502.11089
// param batch int 1 1 65535 : batch size
// param heads int 64 1 65535 : query heads
// param kv_heads int 4 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : sequence length N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param window int 32 1 65536 : tokens of a compressed key; the stride must divide it
// param stride int 16 1 65536 : distance of compressed keys
// param block int 64 1 65536 : tokens of a selected block; the stride must divide it
// param topk int 16 3 65536 : selected blocks, one first and two local ones included
// param sliding int 512 1 16777216 : tokens of the sliding branch
// derive pooled = windows(seq_len, window, stride)
// derive blocks = ceildiv(seq_len, block)
// derive picked = min(topk, blocks)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>
!kc = tensor<${batch}x${kv_heads}x${pooled}x${head_dim}x${dtype}>
!probs = tensor<${batch}x${kv_heads}x${seq_len}x${pooled}xf32>
!scores = tensor<${batch}x${kv_heads}x${seq_len}x${blocks}xf32>
!list = tensor<${batch}x${kv_heads}x${seq_len}x${picked}xi32>
!gates = tensor<${batch}x${heads}x${seq_len}x3x${dtype}>

fresnel.program @nsa(%q: !q, %k: !kv, %v: !kv, %gates: !gates) {
  %kc = fresnel.pool mean %k {window = ${window}, stride = ${stride}, tail = #fresnel<tail drop>} : !kv
  %vc = fresnel.pool mean %v {window = ${window}, stride = ${stride}, tail = #fresnel<tail drop>} : !kv
  %compressed, %l0 = fresnel.attend %q, %kc, %vc {causal = true, key_window = ${window}, key_stride = ${stride}} : !q, !kc, !kc
  %probs = fresnel.block_score %q, %kc {causal = true, key_window = ${window}, key_stride = ${stride},
      normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !kc
  %scores = fresnel.regroup %probs {window = ${window}, stride = ${stride}, block = ${block}, seq_len = ${seq_len}} : !probs
  %picked = fresnel.select_blocks %scores {topk = ${topk}, local = 2, sinks = 1, causal = true, key_block = ${block}} : !scores
  %selected, %l1 = fresnel.attend %q, %k, %v blocks(%picked : !list) {causal = true, key_block = ${block}} : !q, !kv, !kv
  %local, %l2 = fresnel.attend %q, %k, %v {causal = true, window = ${sliding}} : !q, !kv, !kv
  %out = fresnel.gate %compressed, %selected, %local by %gates {activation = #fresnel<activation sigmoid>} : !q, !q, !q by !gates
  fresnel.return %out, %picked {names = ["out", "selected"]} : !q, !list
}
