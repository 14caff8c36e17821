"""Finds products whose left operand in registers is overwritten by another one's, in kernels as ptxas made them.

ptxas of CUDA 13.0 may place two left operands of `wgmma` in the same registers though the first is read again in the
loop's next step. In the machine code a register of a left operand is then reached both by a load from shared memory and by
arithmetic: that is what is looked for. Usage: left_operands.py --fresnel PATH [--ptxas PATH] [--nvdisasm PATH] PROGRAM
[ARGUMENT]..., the arguments as `fresnel compile` takes them, and the target sm_90a. Prints a line for each kernel with left
operands in registers; exit code 1 if one was overwritten, 2 if there is none to look at.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z0-9_.]+)\s*(.*?)\s*;")
LABEL = re.compile(r"^(\.L_\w+):")
SECTION = re.compile(r"^\.text\.(\S+):")
LOADS = {"LDSM", "LDS"}
# What writes no register, or one of another kind, with the first name in its list of operands.
WITHOUT_RESULT = ("ST", "BRA", "BAR", "SYNCS", "EXIT", "RED", "UTMA", "CCTL", "ISETP", "FSETP", "PLOP3", "R2UR", "R2P", "WARP")

Instruction = collections.namedtuple("Instruction", "predicated name operands")


def registers(operand, count):
    """The numbers of `count` registers from the one named."""
    match = re.match(r"^R(\d+)(\.\w+)*$", operand)
    return range(int(match.group(1)), int(match.group(1)) + count) if match else range(0)


def width(name):
    """How many registers an instruction's result fills."""
    if match := re.search(r"HGMMA\.64x(\d+)x", name):
        return int(match.group(1)) // 2
    if name.startswith("LDSM"):
        return 4 if name.endswith(".4") else 2 if name.endswith(".2") else 1
    if name.startswith("CS2R"):
        return 1 if ".32" in name else 2
    return 4 if ".128" in name else 2 if ".64" in name or ".WIDE" in name else 1


class Kernel:
    """A kernel's instructions, and which may follow which."""

    def __init__(self, name):
        self.name, self.code, self.labels = name, [], {}

    def results(self, i):
        instruction = self.code[i]
        if instruction.name.startswith(WITHOUT_RESULT) and not instruction.name.startswith("STSM"):
            return range(0)
        operands = [o for o in instruction.operands if not re.match(r"^!?U?P(\d|T)$", o)]
        return registers(operands[0], width(instruction.name)) if operands else range(0)

    def predecessors(self):
        before = [[] for _ in self.code]
        for i, instruction in enumerate(self.code):
            base, following = instruction.name.split(".")[0], []
            if base == "BRA":
                target = re.search(r"\((\.L_\w+)\)", " ".join(instruction.operands))
                following = [self.labels[target.group(1)]] if target and target.group(1) in self.labels else []
                conditional = instruction.predicated or any(re.match(r"^!?U?P\d$", o) for o in instruction.operands)
                following += [i + 1] if conditional else []
            elif base not in ("EXIT", "RET") or instruction.predicated:
                following = [i + 1]
            for j in following:
                if j < len(self.code):
                    before[j].append(i)
        return before

    def definitions(self, use, register, before, results):
        """The instructions that may have written what `use` reads."""
        found, seen, work = set(), set(), list(before[use])
        while work:
            i = work.pop()
            if i in seen:
                continue
            seen.add(i)
            if register in results[i]:
                found.add(self.code[i].name.split(".")[0])
                if not self.code[i].predicated:
                    continue
            work.extend(before[i])
        return found

    def check(self):
        """How many registers of left operands there are, and how many of them are overwritten."""
        uses = [(i, r) for i, instruction in enumerate(self.code) if instruction.name.startswith("HGMMA")
                for r in registers(instruction.operands[1], 4)]
        if not uses:
            return 0, 0
        before, results = self.predecessors(), [self.results(i) for i in range(len(self.code))]
        kinds = [self.definitions(i, r, before, results) for i, r in uses]
        return len(uses), sum(bool(k & LOADS and k - LOADS) for k in kinds)


def parse(text):
    kernels = []
    for line in text.splitlines():
        if match := SECTION.match(line.strip()):
            kernels.append(Kernel(match.group(1)))
        elif kernels and (match := LABEL.match(line)):
            kernels[-1].labels[match.group(1)] = len(kernels[-1].code)
        elif kernels and (match := INSTRUCTION.match(line)):
            operands = [operand.strip() for operand in match.group(3).split(",")]
            kernels[-1].code.append(Instruction(bool(match.group(1)), match.group(2), operands))
    return kernels


def assemble(arguments, program, folder):
    """The kernels of a program, from its PTX."""
    ptx, kernels = pathlib.Path(folder) / "all.ptx", []
    subprocess.run([arguments.fresnel, "compile", *program, "--target", "sm_90a", "--emit", "ptx", "-o", str(ptx)], check=True,
                   stderr=subprocess.PIPE, text=True)
    modules = ptx.read_text(errors="ignore").replace("\0", "").split(".version ")[1:]
    for number, module in enumerate(modules):
        if "wgmma" not in module:
            continue
        source, binary = (pathlib.Path(folder) / f"{number}.{ending}" for ending in ("ptx", "cubin"))
        source.write_text(".version " + module)
        subprocess.run([arguments.ptxas, "-arch=sm_90a", str(source), "-o", str(binary)], check=True)
        listing = subprocess.run([arguments.nvdisasm, "-c", str(binary)], check=True, capture_output=True, text=True)
        kernels += parse(listing.stdout)
    return kernels


def read_kernels(description):
    """The kernels of the program that the command line names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--ptxas", default="ptxas")
    parser.add_argument("--nvdisasm", default="nvdisasm")
    arguments, program = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            return assemble(arguments, program, folder)
        except subprocess.CalledProcessError as error:
            sys.exit(f"error: {error}: {error.stderr or ''}")


def main():
    kernels = read_kernels(__doc__.splitlines()[0])
    counts = [(kernel.name, *kernel.check()) for kernel in kernels]
    for name, operands, overwritten in counts:
        if operands:
            print(f"{'FAIL' if overwritten else 'ok  '} {name}: {operands} registers of left operands, {overwritten} overwritten")
    if not any(operands for _, operands, _ in counts):
        print("no kernel has a left operand in registers")
        return 2
    return int(any(overwritten for _, _, overwritten in counts))


if __name__ == "__main__":
    sys.exit(main())
