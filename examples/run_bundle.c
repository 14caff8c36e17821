/*===- run_bundle.c - Loads a bundle and shows its interface, in C ---------===*
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *===----------------------------------------------------------------------===*
 *
 * Usage: run_bundle_c BUNDLE.fkb
 * Prints the tensors that the plan takes and checks that a launch without them
 * is refused. Device memory comes from the host program's CUDA library, so a
 * real caller passes its own pointers and stream to frn_plan_launch. Exit code
 * 4 without a GPU.
 *
 *===----------------------------------------------------------------------===*/

#include "fresnel/c/fresnel.h"
#include <stdio.h>

int main(int argc, char **argv) {
  frn_plan *plan = NULL;
  frn_status status;
  size_t i;
  if (argc != 2) {
    fprintf(stderr, "usage: %s BUNDLE.fkb\n", argv[0]);
    return 2;
  }
  status = frn_plan_load(argv[1], 0, &plan);
  if (status != FRN_OK) {
    fprintf(stderr, "error (%s): %s\n", frn_status_name(status), frn_last_error());
    return status == FRN_NO_DRIVER ? 4 : 1;
  }
  for (i = 0; i < frn_plan_argument_count(plan); ++i) {
    frn_argument argument;
    int32_t d;
    if (frn_plan_argument(plan, i, &argument) != FRN_OK)
      return 1;
    printf("%s %s [", argument.is_output ? "output" : "input ", argument.name);
    for (d = 0; d < argument.rank; ++d)
      printf("%s%lld", d ? ", " : "", (long long)argument.shape[d]);
    printf("]\n");
  }
  printf("workspace %lld bytes\n", (long long)frn_plan_workspace_bytes(plan));
  status = frn_plan_launch(plan, NULL, 0, NULL, 0, NULL);
  printf("launch without tensors: %s (%s)\n", frn_status_name(status), frn_last_error());
  frn_plan_destroy(plan);
  return status == FRN_INVALID_ARGUMENT ? 0 : 1;
}
