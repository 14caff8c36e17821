"""Tunes methods twice, once undisturbed and once killed by SIGKILL at random points, and compares the two databases.

Every method has a lane for each database, and lanes are spread over --gpus; tuners of one database run at the same time where
there are GPUs for it. Checked: the killed database holds the same problems and candidates; a kill lost the running candidate
at most; nothing is damaged or was measured twice; the choices agree, or differ by less than --tolerance in both databases; no
choice is slower than the default by more than --tolerance, by the measurement of the other database, too; every run that is not
killed keeps its budget, from the start of its process to the end, and so does one with a small budget. Usage: tune_kill.py
--fresnel PATH [--gpus 0,1] [--work FOLDER] [--method "dense:8192,16384"]... Exit code 1 if a claim does not hold.
"""

import argparse
import collections
import concurrent.futures
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

METHODS = ("dense:4096,8192,16384,32768", "lighthouse:16384,32768,65536,98304")
Ended = collections.namedtuple("Ended", "code seconds report")


# ----------------------------------------------------------------------------------------------------------------------
# Running
# ----------------------------------------------------------------------------------------------------------------------

class Tuner:
    """`fresnel tune` with one method."""

    def __init__(self, options, method):
        self.name, _, lengths = method.partition(":")
        self.options = options
        self.command = [options.fresnel, "tune", self.name, "--seq", lengths, "--head-dim", options.head_dim, "--heads",
                        options.heads, "--json", *sum((["--set", text] for text in options.set), [])]
        self.command += ["--target", options.target] if options.target else []
        self.command += ["--jobs", str(options.jobs)] if options.jobs else []

    def start(self, database, gpu, *more):
        environment = dict(os.environ, CUDA_VISIBLE_DEVICES=gpu)
        return subprocess.Popen([*self.command, "--db", str(database), *more], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, database, gpu, budget, *more):
        begin = time.monotonic()
        process = self.start(database, gpu, "--budget", str(budget), *more)
        output, errors = process.communicate()
        if process.returncode:
            print(f"{self.name} into {database}: code {process.returncode}\n{errors[-2000:]}", flush=True)
        return Ended(process.returncode, time.monotonic() - begin, json.loads(output) if output else {})

    def most(self):
        return ("--most", str(self.options.most)) if self.options.most else ()

    def undisturbed(self, database, gpu):
        return self.run(database, gpu, self.options.budget, *self.most())

    def killed(self, database, gpu, delays):
        """Kills the tuner after each delay; then lets it end. Gives how often it was there to be killed, and the last run."""
        kills = 0
        for delay in delays:
            process = self.start(database, gpu, "--budget", str(self.options.budget), *self.most())
            timer = threading.Timer(delay, process.kill)
            timer.start()
            process.communicate()
            timer.cancel()
            kills += process.returncode == -9
            print(f"{self.name}: after {delay:.1f} s {'killed' if process.returncode == -9 else 'it had ended'}", flush=True)
        return kills, self.undisturbed(database, gpu)


def run_lanes(options, folder):
    """Both databases. Gives the undisturbed runs, the killed ones and those with a small budget, by method."""
    rng = random.Random(options.seed)
    gpus, tuners = options.gpus.split(","), [Tuner(options, method) for method in options.method or METHODS]
    delays = [[] for _ in tuners]
    for kill in range(options.kills):
        delays[kill % len(tuners)].append(rng.uniform(*options.kill_after))

    def undisturbed(tuner, gpu):
        ended = tuner.undisturbed(folder / "whole", gpu)
        small = tuner.run(folder / f"small_{tuner.name}", gpu, options.small_budget) if options.small_budget else None
        return ended, small

    lanes = [(undisturbed, tuner, ()) for tuner in tuners]
    lanes += [(lambda tuner, gpu, times: tuner.killed(folder / "killed", gpu, times), tuner, (times,))
              for tuner, times in zip(tuners, delays)]
    # One thread a GPU: what is timed there runs alone.
    pools = [concurrent.futures.ThreadPoolExecutor(1) for _ in gpus]
    futures = [pools[i % len(gpus)].submit(run, tuner, gpus[i % len(gpus)], *rest)
               for i, (run, tuner, rest) in enumerate(lanes)]
    results = [future.result() for future in futures]
    names = [tuner.name for tuner in tuners]
    return dict(zip(names, results)), dict(zip(names, results[len(names):]))


# ----------------------------------------------------------------------------------------------------------------------
# Databases
# ----------------------------------------------------------------------------------------------------------------------

def key_of(record):
    return json.dumps(record["problem"], sort_keys=True)


def describe(key):
    problem = json.loads(key)
    return f"{problem['op'].split('.')[-1]} " + "x".join(map(str, problem["operands"][0]["shape"]))


class Database:
    """The records of a folder's journals. A torn line may be a journal's last one only."""

    def __init__(self, folder):
        self.folder, self.damage, self.torn = folder, [], 0
        self.trials = []
        self.unfinished = {}  # For each run, the candidates whose trial began and did not end.
        for path in sorted(folder.glob("journal/*.jsonl")):
            self.read(path)

    def read(self, path):
        lines, open_trials = path.read_bytes().split(b"\n"), set()
        for number, line in enumerate(lines):
            if not line:
                continue
            try:
                record = json.loads(line)
            except ValueError:
                if number == len(lines) - 1:
                    self.torn += 1
                else:
                    self.damage.append(f"{path.name}:{number + 1}")
                continue
            candidate = (key_of(record), json.dumps(record["schedule"], sort_keys=True))
            if record["type"] == "begin":
                open_trials.add(candidate)
                continue
            if record["type"] == "trial":
                self.trials.append(record)
            open_trials.discard(candidate)
        self.unfinished[path.name] = open_trials

    def counts(self):
        """How often each candidate was screened, by problem and schedule."""
        return collections.Counter((key_of(trial), json.dumps(trial["schedule"], sort_keys=True)) for trial in self.trials
                                   if trial["stage"] == "screen")

    def relative(self, key, schedule):
        """Time of the default's, by the trial of the latest stage."""
        stages = ("screen", "halving", "final")
        found = [trial for trial in self.trials if key_of(trial) == key and trial["schedule"] == schedule
                 and trial["status"] == "ok"]
        return max(found, key=lambda trial: stages.index(trial["stage"]))["us"]["relative"] if found else None

    def gap(self, key, a, b):
        """How far two schedules are apart, in parts of the default's time."""
        times = [self.relative(key, schedule) for schedule in (a, b)]
        return math.inf if None in times else abs(times[0] - times[1])


def choices(fresnel, folder):
    """The chosen trial of each problem, as the tool says."""
    result = subprocess.run([fresnel, "db", "ls", "--db", str(folder), "--json"], capture_output=True, text=True, check=False)
    problems = json.loads(result.stdout)["problems"] if result.returncode == 0 else []
    return {json.dumps(problem["problem"], sort_keys=True): problem["chosen"] for problem in problems}, result.stderr


# ----------------------------------------------------------------------------------------------------------------------
# Claims
# ----------------------------------------------------------------------------------------------------------------------

class Claims:
    def __init__(self):
        self.failed = 0

    def check(self, holds, claim, *details):
        self.failed += not holds
        print(f"{'ok    ' if holds else 'FAILED'} {claim}", flush=True)
        for detail in details if not holds else ():
            print(f"       {detail}", flush=True)


def check_records(claims, options, whole, killed, runs):
    kills = sum(count for count, _ in runs.values())
    claims.check(kills == options.kills, f"the tuners were killed {kills} times, {options.kills} asked for")
    ours, theirs = whole.counts(), killed.counts()
    problems = {key for key, _ in ours}
    claims.check(bool(ours), "the undisturbed run tried candidates")
    claims.check(set(ours) == set(theirs), f"both databases hold the same {len(ours)} candidates of {len(problems)} problems",
                 *(f"only in one: {describe(key)} {schedule}" for key, schedule in set(ours) ^ set(theirs)))
    claims.check(max(theirs.values(), default=0) == 1, "no candidate was recorded twice",
                 *(f"{describe(key)} {schedule}" for (key, schedule), count in theirs.items() if count > 1))
    lost = {name: trials for name, trials in killed.unfinished.items() if trials}
    claims.check(len(lost) <= kills and all(len(trials) == 1 for trials in lost.values()),
                 f"a kill lost the running candidate at most: {len(lost)} of {kills} lost one", lost)
    claims.check(not killed.damage and killed.torn <= kills, f"no record is damaged, {killed.torn} torn by a kill",
                 *killed.damage)


def check_choices(claims, options, whole, killed):
    (ours, complaints), (theirs, more) = (choices(options.fresnel, database.folder) for database in (whole, killed))
    claims.check(not complaints and not more, "the databases are read without a warning", complaints, more)
    claims.check(set(ours) == set(theirs) and None not in [*ours.values(), *theirs.values()],
                 f"every problem has a choice in both databases ({len(ours)})")
    print("\n| problem | default us | chosen us | of default | in the killed one | choice of the killed one |\n|" + "---|" * 6)
    same, apart, slow = 0, [], []
    for key in sorted(set(ours) & set(theirs), key=describe):
        ours_here, theirs_here = ours[key], theirs[key]
        if not ours_here or not theirs_here:
            continue
        a, b = ours_here["schedule"], theirs_here["schedule"]
        mine, across = ours_here["us"]["relative"], killed.relative(key, a)
        gap = max(database.gap(key, a, b) for database in (whole, killed))
        same += a == b
        if a != b and gap > options.tolerance:
            apart.append(f"{describe(key)}: {a} and {b} are {gap:.3f} apart")
        slow += [f"{describe(key)}: {value}" for value in (mine, theirs_here["us"]["relative"], across, whole.relative(key, b))
                 if value is None or value > 1 + options.tolerance]
        print(f"| {describe(key)} | {ours_here['us']['median'] / mine:.1f} | {ours_here['us']['median']:.1f} | {mine:.3f} | "
              f"{'-' if across is None else f'{across:.3f}'} | {'the same' if a == b else f'other, {gap:.3f} apart'} |")
    print()
    claims.check(not apart, f"{same} of {len(ours)} choices are the same, the others within {options.tolerance}", *apart)
    claims.check(not slow, f"no choice is slower than the default by more than {options.tolerance}, by either database", *slow)


def check_budgets(claims, options, undisturbed, runs):
    for name, (ended, small) in undisturbed.items():
        last = runs[name][1]
        claims.check(ended.code == 0 and last.code == 0, f"{name}: both tuners ended well")
        for title, run, budget in (("undisturbed", ended, options.budget), ("small budget", small, options.small_budget)):
            if run:
                claims.check(run.seconds <= budget and run.code == 0,
                             f"{name}, {title}: {run.seconds:.1f} s of a budget of {budget:.0f} s")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", required=True)
    parser.add_argument("--gpus", default="0", help="numbers of GPUs of one kind: N,N,... (default 0)")
    parser.add_argument("--method", action="append", help=f"NAME:LENGTH,... (default: {' and '.join(METHODS)})")
    parser.add_argument("--head-dim", default="64,128")
    parser.add_argument("--heads", default="8")
    parser.add_argument("--set", action="append", default=[], help="a parameter of the methods: NAME=VALUE")
    parser.add_argument("--target", help="GPU to compile for (default: the one that measures)")
    parser.add_argument("--jobs", type=int, help="compilations at a time")
    parser.add_argument("--most", type=int, default=3, help="candidates of a kernel (default 3): equal work for both databases")
    parser.add_argument("--budget", type=float, default=300, help="seconds for each run of the tuner (default 300)")
    parser.add_argument("--small-budget", type=float, default=25, help="seconds of the runs that end by it; 0: none")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--kill-after", type=float, nargs=2, default=(2, 14), metavar=("LOW", "HIGH"), help="seconds")
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=pathlib.Path, help="keeps the databases here")
    return parser.parse_args()


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or pathlib.Path(temporary)
        if (folder / "whole").exists() or (folder / "killed").exists():
            sys.exit(f"tune_kill.py: {folder} holds databases of an earlier run; remove them")
        begin = time.monotonic()
        undisturbed, runs = run_lanes(options, folder)
        print(f"tuned in {time.monotonic() - begin:.0f} s\n")
        whole, killed, claims = Database(folder / "whole"), Database(folder / "killed"), Claims()
        check_records(claims, options, whole, killed, runs)
        check_budgets(claims, options, undisturbed, runs)
        check_choices(claims, options, whole, killed)
    print(f"{claims.failed} claims failed" if claims.failed else "every claim holds")
    return 1 if claims.failed else 0


if __name__ == "__main__":
    sys.exit(main())
