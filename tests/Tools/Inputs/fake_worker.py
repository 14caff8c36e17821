#!/usr/bin/env python3
"""A worker of `fresnel tune` (FRESNEL_TUNE_WORKER) whose GPU is a formula.

A kernel's time follows from its schedule and grid alone. FAKE_TUNE holds what goes wrong, as JSON:
{"hang": [...], "crash": [...], "wrong": [...]}, each a list of FIELD=VALUE that schedules have.
FAKE_DELAY is how many seconds a measurement takes. FAKE_LOG names a file that gets a line per measurement: the schedule,
and how many candidates of the kernel were compiled until then.
"""

import glob
import json
import math
import os
import re
import signal
import struct
import sys
import time


def read_kernel(path):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<I", data[4:8])
    return json.loads(data[48:48 + length])["kernels"][-1]


def microseconds(kernel):
    schedule = kernel["schedule"]
    spread = abs(math.log2(schedule["tile_n"] / 112)) + 0.2 * abs(schedule["stages"] - 2)
    return 100 * (1 + 0.3 * spread + 0.1 * (schedule["tile_m"] == 64) + 0.05 * schedule.get("persistent", False))


def matches(kernel, conditions):
    text = {f"{name}={value}" for name, value in kernel["schedule"].items()}
    return any(condition in text for condition in conditions)


def measure(job):
    kernels = [read_kernel(path) for path in job["variants"]]
    trouble = json.loads(os.environ.get("FAKE_TUNE", "{}"))
    if "FAKE_LOG" in os.environ:
        with open(os.environ["FAKE_LOG"], "a") as log:
            compiled = glob.glob(re.sub(r"\.\d+\.full\.fkb$", ".*.full.fkb", job["variants"][0]))
            log.write(f"{json.dumps(kernels[-1]['schedule'])} compiled {len(compiled)}\n")
    time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
    if matches(kernels[-1], trouble.get("hang", [])):
        time.sleep(1000)
    if matches(kernels[-1], trouble.get("crash", [])):
        os.kill(os.getpid(), signal.SIGSEGV)
    if matches(kernels[-1], trouble.get("wrong", [])):
        return {"status": "wrong_result", "reason": "'out' against the oracle: relative L2 3.00e-01 (limit 1e-02)"}
    base = microseconds(kernels[0])
    variants = [{"median": (t := microseconds(kernel)), "p20": t, "p80": t, "count": job["rounds"],
                 "relative": t / base, "error": 0.001} for kernel in kernels]
    return {"status": "ok", "oracle": 0.002 if "check" in job else -1, "variants": variants,
            "clock": [1700, 1755], "throttled": 0}


def main():
    job = json.load(open(sys.argv[2]))
    if job["type"] == "describe":
        print(json.dumps({"status": "ok", "name": "Fake GPU", "compute": 90, "multiprocessors": 132,
                          "clock_khz": 1980000}))
    else:
        print(json.dumps(measure(job)))


main()
