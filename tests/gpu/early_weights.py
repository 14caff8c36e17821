"""Finds where ptxas put the exponentials of attention's softmax: how many stand before the wait for the product with V.

Usage: early_weights.py --fresnel PATH [--ptxas PATH] [--nvdisasm PATH] PROGRAM [ARGUMENT]..., the arguments as `fresnel
compile` takes them, and the target sm_90a. In the machine code it looks at the stretches between a wait that leaves one
product under way and the next one that leaves none. Prints a line for each kernel that has such stretches, with the
exponentials of each; exit code 2 if there is none.
"""

import sys

import left_operands


def count(kernel):
    """The exponentials of every stretch in the order of the code."""
    counts, inside = [], None
    for instruction in kernel.code:
        if instruction.name.startswith("WARPGROUP.DEPBAR"):
            if instruction.operands[-1] != "0x0":
                inside = 0
            elif inside is not None:
                counts.append(inside)
                inside = None
        elif inside is not None and instruction.name.startswith("MUFU.EX2"):
            inside += 1
    return counts


def main():
    kernels = left_operands.read_kernels(__doc__.splitlines()[0])
    stretches = [(kernel.name, count(kernel)) for kernel in kernels]
    for name, counts in stretches:
        if counts:
            print(f"{name}: {' '.join(map(str, counts))} exponentials before the wait")
    if not any(counts for _, counts in stretches):
        print("no kernel waits for scores in front of a product with V")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
