// summary: Lighthouse Attention within each of the documents that lie packed in the sequence
// paper: Lighthouse Attention, arXiv 2605.06554
// param batch int 1 1 65535 : batch size; all sequences are cut alike
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 0 0 16777216 : tokens of all documents together, N; 0 for their sum
// param documents lengths 4096,4096 : lengths of the documents, known when the program is compiled
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param levels int 3 1 16 : pyramid levels L, tokens included
// param factor int 4 2 1024 : pooling factor p
// param topk int 2048 1 16777216 : parents kept per level, of each document
// param open_first_window bool false : keep the first windows of each document, so that no output row is empty (the paper: false)
// param per_kv_head bool false : one selection for the query heads that share a key and value head, by the largest of their scores
// derive tokens = total(seq_len, documents)
// derive entries = pyramid(tokens, levels, factor, documents)
// derive selections = choose(per_kv_head, kv_heads, heads)
// derive selected = cascade(tokens, levels, factor, topk, documents)
// derive selected_documents = cascades(documents, levels, factor, topk)
!q = tensor<${batch}x${heads}x${tokens}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${tokens}x${head_dim}x${dtype}>
!qp = tensor<${batch}x${heads}x${entries}x${head_dim}x${dtype}>
!kvp = tensor<${batch}x${kv_heads}x${entries}x${head_dim}x${dtype}>
!qn = tensor<${batch}x${heads}x${tokens}xf32>
!kn = tensor<${batch}x${kv_heads}x${tokens}xf32>
!qs = tensor<${batch}x${heads}x${entries}xf32>
!ks = tensor<${batch}x${kv_heads}x${entries}xf32>
!sel = tensor<${batch}x${selections}x${selected}xi32>
!rows = tensor<${batch}x${heads}x${selected}x${head_dim}x${dtype}>
!kvrows = tensor<${batch}x${selections}x${selected}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${selected}xf32>

fresnel.program @lighthouse_documents(%q: !q, %k: !kv, %v: !kv) {
  %qn = fresnel.norm %q : !q
  %kn = fresnel.norm %k : !kv
  %qs = fresnel.pyramid max %qn {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !qn
  %ks = fresnel.pyramid max %kn {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !kn
  %selected = fresnel.select_cascade %qs, %ks {seq_len = ${tokens}, levels = ${levels}, factor = ${factor},
      topk = ${topk}, open_first_window = ${open_first_window}, per_key_head = ${per_kv_head},
      documents = array<i64: ${documents}>} : !qs, !ks
  %qp = fresnel.pyramid mean %q {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !q
  %kp = fresnel.pyramid mean %k {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !kv
  %vp = fresnel.pyramid mean %v {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !kv
  %qg = fresnel.gather %qp, %selected : !qp, !sel
  %kg = fresnel.gather %kp, %selected : !kvp, !sel
  %vg = fresnel.gather %vp, %selected : !kvp, !sel
  %bounds = fresnel.document_bounds {seq_len = ${selected}, documents = array<i64: ${selected_documents}>}
  %rows, %lse = fresnel.attend %qg, %kg, %vg documents(%bounds : tensor<1x2x${selected}xi32>) {causal = true}
      : !rows, !kvrows, !kvrows
  %out = fresnel.scatter %rows, %selected {seq_len = ${tokens}, levels = ${levels}, factor = ${factor},
      documents = array<i64: ${documents}>} : !rows, !sel
  fresnel.return %out, %lse, %selected {names = ["out", "lse", "selected"]} : !q, !lse, !sel
}
