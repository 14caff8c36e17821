/*===- main.c - Uses the installed C interface ---------------------*- C -*-===*
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *===----------------------------------------------------------------------===*
 *
 * Usage: consumer_c BUNDLE. Loads the bundle and launches its forward plan with tensors
 * that lie nowhere: the driver is the tests', which runs nothing.
 *
 *===----------------------------------------------------------------------===*/

#include "fresnel/c/fresnel.h"
#include <stdio.h>

#define MOST 32

static int fail(const char *where) {
  fprintf(stderr, "%s: %s\n", where, frn_last_error());
  return 1;
}

int main(int argc, char **argv) {
  frn_plan *plan = NULL;
  frn_memory memory = {0};
  frn_tensor tensors[MOST];
  int64_t strides[MOST][FRN_MAX_RANK];
  size_t count = 0, i;
  if (argc != 2 || frn_abi_version() != FRN_ABI_VERSION || frn_abi_minor() < FRN_ABI_MINOR)
    return 1;
  if (frn_plan_load(argv[1], 0, &plan) != FRN_OK)
    return fail("loading");
  if (frn_plan_count_arguments(plan, FRN_FORWARD, &count) != FRN_OK || count > MOST)
    return fail("counting");
  for (i = 0; i < count; ++i) {
    frn_argument argument;
    int32_t d;
    if (frn_plan_get_argument(plan, FRN_FORWARD, i, &argument) != FRN_OK)
      return fail("asking");
    for (d = argument.rank; d-- > 0;)
      strides[i][d] = d + 1 == argument.rank ? 1 : strides[i][d + 1] * argument.shape[d + 1];
    tensors[i].data = (void *)((uintptr_t)(i + 1) << 20);
    tensors[i].dtype = argument.dtype;
    tensors[i].rank = argument.rank;
    tensors[i].shape = argument.shape;
    tensors[i].strides = strides[i];
  }
  if (frn_plan_get_workspace_bytes(plan, FRN_FORWARD, &memory.workspace_bytes) != FRN_OK)
    return fail("asking");
  memory.workspace = (void *)((uintptr_t)1 << 30);
  if (frn_plan_run(plan, FRN_FORWARD, tensors, count, &memory, NULL) != FRN_OK)
    return fail("launching");
  frn_plan_destroy(plan);
  printf("C: launched with %d tensors\n", (int)count);
  return 0;
}
