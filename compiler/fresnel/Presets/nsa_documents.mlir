// summary: Native Sparse Attention within documents that lie packed in the sequence
// paper: NSA, arXiv 2502.11089
// param batch int 1 1 65535 : batch size; all sequences are cut alike
// param heads int 64 1 65535 : query heads
// param kv_heads int 4 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : tokens of all documents together, N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param documents int 16 1 65535 : documents at most; cu_seqlens has one entry more
// param window int 32 1 65536 : tokens of a compressed key; the stride must divide it. A document's first begins with its first token
// param stride int 16 1 65536 : distance of compressed keys
// param block int 64 1 65536 : tokens of a selected block; the stride must divide it. Each document begins with a block of its own
// param topk int 16 3 65536 : selected blocks, the document's first and two local ones included
// param sliding int 512 1 16777216 : tokens of the sliding branch
// derive entries = next(documents)
// derive places = places(seq_len, documents, block)
// derive pooled = windows(places, window, stride)
// derive blocks = ceildiv(places, block)
// derive picked = min(topk, blocks)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!gates = tensor<${batch}x${heads}x${seq_len}x3x${dtype}>
!cu = tensor<1x1x${entries}xi32>
!bounds = tensor<1x2x${places}xi32>
!from = tensor<1x1x${places}xi32>
!to = tensor<1x1x${seq_len}xi32>
!qa = tensor<${batch}x${heads}x${places}x${head_dim}x${dtype}>
!kva = tensor<${batch}x${kv_heads}x${places}x${head_dim}x${dtype}>
!gatesa = tensor<${batch}x${heads}x${places}x3x${dtype}>
!kc = tensor<${batch}x${kv_heads}x${pooled}x${head_dim}x${dtype}>
!probs = tensor<${batch}x${kv_heads}x${places}x${pooled}xf32>
!scores = tensor<${batch}x${kv_heads}x${places}x${blocks}xf32>
!list = tensor<${batch}x${kv_heads}x${places}x${picked}xi32>
!lists = tensor<${batch}x${kv_heads}x${seq_len}x${picked}xi32>

fresnel.program @nsa_documents(%q: !q, %k: !kv, %v: !kv, %gates: !gates, %cu_seqlens: !cu) {
  %bounds, %blocks, %tokens, %from, %to = fresnel.align_documents %cu_seqlens {seq_len = ${seq_len}, block = ${block}} : !cu
  %qa = fresnel.move %q from %from to %to : !q, !from, !to
  %ka = fresnel.move %k from %from to %to : !kv, !from, !to
  %va = fresnel.move %v from %from to %to : !kv, !from, !to
  %ga = fresnel.move %gates from %from to %to : !gates, !from, !to
  %kc = fresnel.pool mean %ka {window = ${window}, stride = ${stride}, tail = #fresnel<tail drop>} : !kva
  %vc = fresnel.pool mean %va {window = ${window}, stride = ${stride}, tail = #fresnel<tail drop>} : !kva
  %compressed, %l0 = fresnel.attend %qa, %kc, %vc documents(%bounds : !bounds)
      {causal = true, key_window = ${window}, key_stride = ${stride}} : !qa, !kc, !kc
  %probs = fresnel.block_score %qa, %kc documents(%bounds : !bounds) {causal = true, key_window = ${window},
      key_stride = ${stride}, normalize = #fresnel<normalize softmax>, group_sum = true} : !qa, !kc
  %scores = fresnel.regroup %probs {window = ${window}, stride = ${stride}, block = ${block}, seq_len = ${places}} : !probs
  %picked = fresnel.select_blocks %scores documents(%bounds : !bounds)
      {topk = ${topk}, local = 2, sinks = 1, causal = true, key_block = ${block}} : !scores
  %selected, %l1 = fresnel.attend %qa, %ka, %va blocks(%picked : !list) documents(%bounds : !bounds)
      {causal = true, key_block = ${block}} : !qa, !kva, !kva
  %local, %l2 = fresnel.attend %qa, %ka, %va documents(%bounds : !bounds) {causal = true, window = ${sliding}}
      : !qa, !kva, !kva
  %gated = fresnel.gate %compressed, %selected, %local by %ga {activation = #fresnel<activation sigmoid>}
      : !qa, !qa, !qa by !gatesa
  %out = fresnel.move %gated from %to to %from : !qa, !to, !from
  %chosen = fresnel.move %picked from %to to %from : !list, !to, !from
  fresnel.return %out, %chosen {names = ["out", "selected"]} : !q, !lists
}
