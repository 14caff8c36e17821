// summary: Lighthouse Attention with scores of dilated attention, within each of the documents that lie packed in the sequence
// paper: Lighthouse Attention, arXiv 2605.06554
// param batch int 1 1 65535 : batch size; all sequences are cut alike
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads, and each query head scores the keys of its own
// param seq_len int 0 0 16777216 : tokens of all documents together, N; 0 for their sum
// param documents lengths 4096,4096 : lengths of the documents, known when the program is compiled
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param levels int 3 1 16 : pyramid levels L, tokens included
// param factor int 4 2 1024 : pooling factor p
// param topk int 2048 1 16777216 : parents kept per level, of each document
// param dilation int 4 1 64 : the scores' attention sees every dilation-th token of a document; its cost falls by this factor
// param open_first_window bool false : keep the first windows of each document, so that no output row is empty (the paper: false)
// hint scorer : its scores are norms of outputs of dilated attention; the preset lighthouse_documents has the scorer norm; gla adds trained weights, which a program of tensors has no place for
// derive tokens = total(seq_len, documents)
// derive places = aligned(documents, dilation)
// derive group = ceildiv(heads, kv_heads)
// derive folded_heads = product(heads, dilation)
// derive folded_len = ceildiv(places, dilation)
// derive entries = pyramid(tokens, levels, factor, documents)
// derive selected = cascade(tokens, levels, factor, topk, documents)
// derive selected_documents = cascades(documents, levels, factor, topk)
!q = tensor<${batch}x${heads}x${tokens}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${tokens}x${head_dim}x${dtype}>
!qa = tensor<${batch}x${heads}x${places}x${head_dim}x${dtype}>
!kva = tensor<${batch}x${kv_heads}x${places}x${head_dim}x${dtype}>
!f = tensor<${batch}x${folded_heads}x${folded_len}x${head_dim}x${dtype}>
!fn = tensor<${batch}x${folded_heads}x${folded_len}xf32>
!fb = tensor<1x2x${folded_len}xi32>
!na = tensor<${batch}x${heads}x${places}xf32>
!n = tensor<${batch}x${heads}x${tokens}xf32>
!from = tensor<1x1x${places}xi32>
!to = tensor<1x1x${tokens}xi32>
!qp = tensor<${batch}x${heads}x${entries}x${head_dim}x${dtype}>
!kvp = tensor<${batch}x${kv_heads}x${entries}x${head_dim}x${dtype}>
!s = tensor<${batch}x${heads}x${entries}xf32>
!sel = tensor<${batch}x${heads}x${selected}xi32>
!rows = tensor<${batch}x${heads}x${selected}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${selected}xf32>

fresnel.program @lighthouse_dilated_documents(%q: !q, %k: !kv, %v: !kv) {
  %places, %folded, %tokens, %from, %to = fresnel.align_documents {seq_len = ${tokens}, block = ${dilation},
      documents = array<i64: ${documents}>}
  %qa = fresnel.move %q from %from to %to : !q, !from, !to
  %ka = fresnel.move %k from %from to %to : !kv, !from, !to
  %va = fresnel.move %v from %from to %to : !kv, !from, !to
  %qf = fresnel.fold %qa {factor = ${dilation}} : !qa
  %kf = fresnel.fold %ka {factor = ${dilation}, repeat = ${group}} : !kva
  %vf = fresnel.fold %va {factor = ${dilation}, repeat = ${group}} : !kva
  %qo, %ql = fresnel.attend %qf, %kf, %vf documents(%folded : !fb) {causal = true} : !f, !f, !f
  %ko, %kl = fresnel.attend %kf, %qf, %vf documents(%folded : !fb) {causal = true} : !f, !f, !f
  %qfn = fresnel.norm %qo : !f
  %kfn = fresnel.norm %ko : !f
  %qan = fresnel.unfold %qfn {factor = ${dilation}, seq_len = ${places}} : !fn
  %kan = fresnel.unfold %kfn {factor = ${dilation}, seq_len = ${places}} : !fn
  %qn = fresnel.move %qan from %to to %from : !na, !to, !from
  %kn = fresnel.move %kan from %to to %from : !na, !to, !from
  %qs = fresnel.pyramid max %qn {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !n
  %ks = fresnel.pyramid max %kn {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !n
  %selected = fresnel.select_cascade %qs, %ks {seq_len = ${tokens}, levels = ${levels}, factor = ${factor},
      topk = ${topk}, open_first_window = ${open_first_window}, documents = array<i64: ${documents}>} : !s, !s
  %qp = fresnel.pyramid mean %q {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !q
  %kp = fresnel.pyramid mean %k {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !kv
  %vp = fresnel.pyramid mean %v {levels = ${levels}, factor = ${factor}, documents = array<i64: ${documents}>} : !kv
  %qg = fresnel.gather %qp, %selected : !qp, !sel
  %kg = fresnel.gather %kp, %selected : !kvp, !sel
  %vg = fresnel.gather %vp, %selected : !kvp, !sel
  %bounds = fresnel.document_bounds {seq_len = ${selected}, documents = array<i64: ${selected_documents}>}
  %rows, %lse = fresnel.attend %qg, %kg, %vg documents(%bounds : tensor<1x2x${selected}xi32>) {causal = true}
      : !rows, !rows, !rows
  %out = fresnel.scatter %rows, %selected {seq_len = ${tokens}, levels = ${levels}, factor = ${factor},
      documents = array<i64: ${documents}>} : !rows, !sel
  fresnel.return %out, %lse, %selected {names = ["out", "lse", "selected"]} : !q, !lse, !sel
}
