"""Times the presets on the GPU: the mean of back-to-back runs after a first one.

Usage: bench.py --fresnel PATH [--repeat N] [--target sm_90a]. TFLOP/s count 4 B H N^2 D, halved for causal, for dense;
the visible pairs for window; for Lighthouse the time alone. Clocks drift: compare numbers of one run only.
"""

import argparse
import json
import subprocess
import sys

CASES = (
    ("dense", {"seq_len": 8192}),
    ("dense", {"seq_len": 16384}),
    ("dense", {"seq_len": 16384, "causal": "false"}),
    ("dense", {"seq_len": 16384, "head_dim": 64}),
    ("window", {"seq_len": 65536, "window": 4096}),
    ("lighthouse", {"seq_len": 32768}),
    ("lighthouse", {"seq_len": 98304}),
)


def flops(method, sets):
    length, dim, heads = sets["seq_len"], sets.get("head_dim", 128), sets["heads"]
    if method == "dense":
        pairs = length * length / (1 if sets.get("causal") == "false" else 2)
    elif method == "window":
        pairs = length * sets["window"] - sets["window"] ** 2 / 2
    else:
        return None
    return 4 * heads * dim * pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", required=True)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--target", default="sm_90a")
    arguments = parser.parse_args()
    print(f"{'method':<12}{'parameters':<44}{'ms':>9}{'TFLOP/s':>9}")
    for method, case in CASES:
        sets = {"heads": 8, "kv_heads": 8, **case}
        command = [arguments.fresnel, "run", method, "--random", "1", "--device", "cuda", "--json", "--target",
                   arguments.target, "--repeat", str(arguments.repeat)]
        for name, value in sets.items():
            command += ["--set", f"{name}={value}"]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            sys.exit(f"bench: {' '.join(command)}: exit code {result.returncode}")
        seconds = json.loads(result.stdout)["seconds_per_run"]
        work = flops(method, sets)
        rate = f"{work / seconds / 1e12:9.1f}" if work else f"{'-':>9}"
        print(f"{method:<12}{' '.join(f'{k}={v}' for k, v in sets.items()):<44}{seconds * 1e3:9.3f}{rate}", flush=True)


if __name__ == "__main__":
    main()
