// summary: Lighthouse Attention: dense causal attention over a selected sub-sequence of a pyramid
// paper: Lighthouse Attention, arXiv 2605.06554
// param batch int 1 1 65535 : batch size
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : sequence length N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param levels int 3 1 16 : pyramid levels L, tokens included
// param factor int 4 2 1024 : pooling factor p
// param topk int 2048 1 16777216 : parents kept per level
// param open_first_window bool false : keep the first windows, so that no output row is empty (the paper: false)
// param per_kv_head bool false : one selection for the query heads that share a key and value head, by the largest of their scores
// hint scorer : its scores are norms of queries and keys; the preset lighthouse_dilated has the scorer dilated; gla adds trained weights, which a program of tensors has no place for
// derive entries = pyramid(seq_len, levels, factor)
// derive selections = choose(per_kv_head, kv_heads, heads)
// derive selected = cascade(seq_len, levels, factor, topk)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!qp = tensor<${batch}x${heads}x${entries}x${head_dim}x${dtype}>
!kvp = tensor<${batch}x${kv_heads}x${entries}x${head_dim}x${dtype}>
!qn = tensor<${batch}x${heads}x${seq_len}xf32>
!kn = tensor<${batch}x${kv_heads}x${seq_len}xf32>
!qs = tensor<${batch}x${heads}x${entries}xf32>
!ks = tensor<${batch}x${kv_heads}x${entries}xf32>
!sel = tensor<${batch}x${selections}x${selected}xi32>
!rows = tensor<${batch}x${heads}x${selected}x${head_dim}x${dtype}>
!kvrows = tensor<${batch}x${selections}x${selected}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${selected}xf32>

fresnel.program @lighthouse(%q: !q, %k: !kv, %v: !kv) {
  %qn = fresnel.norm %q : !q
  %kn = fresnel.norm %k : !kv
  %qs = fresnel.pyramid max %qn {levels = ${levels}, factor = ${factor}} : !qn
  %ks = fresnel.pyramid max %kn {levels = ${levels}, factor = ${factor}} : !kn
  %selected = fresnel.select_cascade %qs, %ks {seq_len = ${seq_len}, levels = ${levels}, factor = ${factor},
      topk = ${topk}, open_first_window = ${open_first_window}, per_key_head = ${per_kv_head}} : !qs, !ks
  %qp = fresnel.pyramid mean %q {levels = ${levels}, factor = ${factor}} : !q
  %kp = fresnel.pyramid mean %k {levels = ${levels}, factor = ${factor}} : !kv
  %vp = fresnel.pyramid mean %v {levels = ${levels}, factor = ${factor}} : !kv
  %qg = fresnel.gather %qp, %selected : !qp, !sel
  %kg = fresnel.gather %kp, %selected : !kvp, !sel
  %vg = fresnel.gather %vp, %selected : !kvp, !sel
  %rows, %lse = fresnel.attend %qg, %kg, %vg {causal = true} : !rows, !kvrows, !kvrows
  %out = fresnel.scatter %rows, %selected {seq_len = ${seq_len}, levels = ${levels}, factor = ${factor}} : !rows, !sel
  fresnel.return %out, %lse, %selected {names = ["out", "lse", "selected"]} : !q, !lse, !sel
}
