// summary: Video Sparse Attention within videos that lie packed in the sequence
// paper: VSA, arXiv 2505.13389
// param batch int 1 1 65535 : batch size; all sequences are cut alike
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : tokens of all documents together, N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param documents int 16 1 65535 : documents at most; cu_seqlens has one entry more
// param block int 64 1 65536 : tokens of a cube, in cube order; a document's first begins with its first token, and its last may be short
// param topk int 32 1 65536 : key cubes per query cube, of its document
// derive entries = next(documents)
// derive places = places(seq_len, documents, block)
// derive cubes = ceildiv(places, block)
// derive picked = min(topk, cubes)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!gates = tensor<${batch}x${heads}x${seq_len}x2x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>
!cu = tensor<1x1x${entries}xi32>
!tokens = tensor<1x2x${places}xi32>
!cubes = tensor<1x2x${cubes}xi32>
!from = tensor<1x1x${places}xi32>
!to = tensor<1x1x${seq_len}xi32>
!qa = tensor<${batch}x${heads}x${places}x${head_dim}x${dtype}>
!kva = tensor<${batch}x${kv_heads}x${places}x${head_dim}x${dtype}>
!gatesa = tensor<${batch}x${heads}x${places}x2x${dtype}>
!lsea = tensor<${batch}x${heads}x${places}xf32>
!qc = tensor<${batch}x${heads}x${cubes}x${head_dim}x${dtype}>
!kc = tensor<${batch}x${kv_heads}x${cubes}x${head_dim}x${dtype}>
!scores = tensor<${batch}x${heads}x${cubes}x${cubes}xf32>
!list = tensor<${batch}x${heads}x${cubes}x${picked}xi32>

fresnel.program @vsa_documents(%q: !q, %k: !kv, %v: !kv, %gates: !gates, %cu_seqlens: !cu) {
  %bounds, %cubes, %tokens, %from, %to = fresnel.align_documents %cu_seqlens {seq_len = ${seq_len}, block = ${block}} : !cu
  %qa = fresnel.move %q from %from to %to : !q, !from, !to
  %ka = fresnel.move %k from %from to %to : !kv, !from, !to
  %va = fresnel.move %v from %from to %to : !kv, !from, !to
  %ga = fresnel.move %gates from %from to %to : !gates, !from, !to
  %qc = fresnel.pool mean %qa documents(%tokens : !tokens) {window = ${block}} : !qa
  %kc = fresnel.pool mean %ka documents(%tokens : !tokens) {window = ${block}} : !kva
  %vc = fresnel.pool mean %va documents(%tokens : !tokens) {window = ${block}} : !kva
  %pooled, %l0 = fresnel.attend %qc, %kc, %vc documents(%cubes : !cubes) : !qc, !kc, !kc
  %coarse = fresnel.unpool %pooled {window = ${block}, seq_len = ${places}} : !qc
  %scores = fresnel.block_score %qc, %kc : !qc, !kc
  %picked = fresnel.select_blocks %scores documents(%tokens : !tokens)
      {topk = ${topk}, query_block = ${block}, key_block = ${block}} : !scores
  %fine, %l1 = fresnel.attend %qa, %ka, %va blocks(%picked : !list) documents(%tokens : !tokens)
      {query_block = ${block}, key_block = ${block}} : !qa, !kva, !kva
  %gated = fresnel.gate %coarse, %fine by %ga : !qa, !qa by !gatesa
  %out = fresnel.move %gated from %to to %from : !qa, !to, !from
  %lse = fresnel.move %l1 from %to to %from : !lsea, !to, !from
  fresnel.return %out, %lse, %picked {names = ["out", "lse", "selected"]} : !q, !lse, !list
}
