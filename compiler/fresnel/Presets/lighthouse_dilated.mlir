// summary: Lighthouse Attention whose scores are norms of the outputs of dilated attention
// paper: Lighthouse Attention, arXiv 2605.06554
// param batch int 1 1 65535 : batch size
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads, and each query head scores the keys of its own
// param seq_len int 8192 1 16777216 : sequence length N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param levels int 3 1 16 : pyramid levels L, tokens included
// param factor int 4 2 1024 : pooling factor p
// param topk int 2048 1 16777216 : parents kept per level
// param dilation int 4 1 64 : the scores' attention sees every dilation-th token; its cost falls by this factor
// param open_first_window bool false : keep the first windows, so that no output row is empty (the paper: false)
// hint scorer : its scores are norms of outputs of dilated attention; the preset lighthouse has the scorer norm; gla adds trained weights, which a program of tensors has no place for
// derive group = ceildiv(heads, kv_heads)
// derive folded_heads = product(heads, dilation)
// derive folded_len = ceildiv(seq_len, dilation)
// derive entries = pyramid(seq_len, levels, factor)
// derive selected = cascade(seq_len, levels, factor, topk)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!f = tensor<${batch}x${folded_heads}x${folded_len}x${head_dim}x${dtype}>
!fn = tensor<${batch}x${folded_heads}x${folded_len}xf32>
!n = tensor<${batch}x${heads}x${seq_len}xf32>
!qp = tensor<${batch}x${heads}x${entries}x${head_dim}x${dtype}>
!kvp = tensor<${batch}x${kv_heads}x${entries}x${head_dim}x${dtype}>
!s = tensor<${batch}x${heads}x${entries}xf32>
!sel = tensor<${batch}x${heads}x${selected}xi32>
!rows = tensor<${batch}x${heads}x${selected}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${selected}xf32>

fresnel.program @lighthouse_dilated(%q: !q, %k: !kv, %v: !kv) {
  %qf = fresnel.fold %q {factor = ${dilation}} : !q
  %kf = fresnel.fold %k {factor = ${dilation}, repeat = ${group}} : !kv
  %vf = fresnel.fold %v {factor = ${dilation}, repeat = ${group}} : !kv
  %qo, %ql = fresnel.attend %qf, %kf, %vf {causal = true} : !f, !f, !f
  %ko, %kl = fresnel.attend %kf, %qf, %vf {causal = true} : !f, !f, !f
  %qfn = fresnel.norm %qo : !f
  %kfn = fresnel.norm %ko : !f
  %qn = fresnel.unfold %qfn {factor = ${dilation}, seq_len = ${seq_len}} : !fn
  %kn = fresnel.unfold %kfn {factor = ${dilation}, seq_len = ${seq_len}} : !fn
  %qs = fresnel.pyramid max %qn {levels = ${levels}, factor = ${factor}} : !n
  %ks = fresnel.pyramid max %kn {levels = ${levels}, factor = ${factor}} : !n
  %selected = fresnel.select_cascade %qs, %ks {seq_len = ${seq_len}, levels = ${levels}, factor = ${factor},
      topk = ${topk}, open_first_window = ${open_first_window}} : !s, !s
  %qp = fresnel.pyramid mean %q {levels = ${levels}, factor = ${factor}} : !q
  %kp = fresnel.pyramid mean %k {levels = ${levels}, factor = ${factor}} : !kv
  %vp = fresnel.pyramid mean %v {levels = ${levels}, factor = ${factor}} : !kv
  %qg = fresnel.gather %qp, %selected : !qp, !sel
  %kg = fresnel.gather %kp, %selected : !kvp, !sel
  %vg = fresnel.gather %vp, %selected : !kvp, !sel
  %rows, %lse = fresnel.attend %qg, %kg, %vg {causal = true} : !rows, !rows, !rows
  %out = fresnel.scatter %rows, %selected {seq_len = ${seq_len}, levels = ${levels}, factor = ${factor}} : !rows, !sel
  fresnel.return %out, %lse, %selected {names = ["out", "lse", "selected"]} : !q, !lse, !sel
}
