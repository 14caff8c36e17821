"""Checks of `fresnel tune` that take more than one process. Usage: tune_check.py WHAT ARGUMENTS..."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

WORKER = str(pathlib.Path(__file__).with_name("fake_worker.py"))


def start(fresnel, database, length, most, delay="0.05", environment=None, more=()):
    command = [fresnel, "tune", "dense", "--target", "sm_80", "--seq", str(length), "--head-dim", "32", "--heads", "2",
               "--most", str(most), "--db", str(database), "--jobs", "2", *more]
    environment = dict(os.environ, FRESNEL_TUNE_WORKER=WORKER, FAKE_DELAY=delay, **(environment or {}))
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def records(database):
    return [json.loads(line) for path in sorted(pathlib.Path(database).glob("journal/*.jsonl"))
            for line in path.read_text().splitlines()]


def rows(database):
    """(length, schedule, stage, status) of every trial, and how often it is there."""
    found = {}
    for record in records(database):
        if record["type"] == "trial":
            key = (record["problem"]["operands"][0]["shape"][2], json.dumps(record["schedule"]), record["stage"],
                   record["status"])
            found[key] = found.get(key, 0) + 1
    return found


def resume(fresnel, folder):
    assert start(fresnel, f"{folder}/whole", 64, 12).wait() == 0
    whole = rows(f"{folder}/whole")
    assert len(whole) >= 12, whole
    random.seed(7)
    kills = 0
    for _ in range(5):
        process = start(fresnel, f"{folder}/killed", 64, 12)
        time.sleep(random.uniform(0.3, 2.5))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 3, "the runs ended before they were killed"
    assert start(fresnel, f"{folder}/killed", 64, 12).wait() == 0
    killed = rows(f"{folder}/killed")
    assert set(killed) == set(whole), set(killed) ^ set(whole)
    # Nothing was measured twice.
    assert all(count == 1 for count in killed.values()), killed
    # What is complete is not compiled again.
    (problem,) = json.loads(start(fresnel, f"{folder}/killed", 64, 12, more=["--json"]).communicate()[0])["problems"]
    assert (problem["compiled"], problem["measured"], problem["known"]) == (0, 0, 12), problem


def budget(fresnel, folder):
    """A budget is kept, whatever runs when it ends: trials, a trial that hangs, or the compilation of what comes first."""
    hang = {"FAKE_TUNE": json.dumps({"hang": ["stages=2", "stages=3"]})}
    for name, seconds, delay, environment in (("trials", 15, "1", {}), ("hang", 8, "0", hang), ("compilation", 5, "0", {})):
        begin = time.monotonic()
        tuner = start(fresnel, f"{folder}/{name}", 64, 30, delay, environment, ["--budget", str(seconds), "--json"])
        output, errors = tuner.communicate()
        took = time.monotonic() - begin
        assert tuner.returncode == 0, errors
        assert took <= seconds, f"{name}: {took:.2f} s of a budget of {seconds} s"
        report, found = json.loads(output), rows(f"{folder}/{name}")
        assert all(key[3] == "ok" for key in found), found
        assert name != "trials" or (found and report["problems"][0]["chosen"] and not report["left_out"]), output
        assert name != "hang" or (not found and len(report["left_out"]) == 1), output


def stopped(fresnel, folder):
    """A trial that a budget ended says nothing of its candidate, however often that happens; one that never ended does."""
    hang = {"FAKE_TUNE": json.dumps({"hang": ["stages=2", "stages=3"]})}
    assert start(fresnel, f"{folder}/once", 64, 1, "0", hang, ["--budget", "8"]).wait() == 0
    ended = records(f"{folder}/once")
    assert [record["type"] for record in ended] == ["begin", "stopped"], ended
    for name, types, status in (("stopped", ("begin", "stopped"), "ok"), ("crashed", ("begin",), "crashed")):
        journal = pathlib.Path(folder) / name / "journal"
        journal.mkdir(parents=True)
        (journal / "host.1.runs.jsonl").write_text("".join(
            json.dumps(dict(record, run=str(run)), sort_keys=True, separators=(",", ":")) + "\n"
            for run in range(8) for record in ended if record["type"] in types))
        start(fresnel, f"{folder}/{name}", 64, 1, "0").wait()
        assert {key[3] for key in rows(f"{folder}/{name}")} == {status}, rows(f"{folder}/{name}")


def concurrent(fresnel, folder):
    lengths = [64 + 32 * i for i in range(8)]
    tuners = [start(fresnel, f"{folder}/shared", length, 2, delay="0") for length in lengths]
    for tuner in tuners:
        assert tuner.wait() == 0, tuner.stderr.read()
    found = rows(f"{folder}/shared")
    for length in lengths:
        # Two in the screening, two in the final.
        assert sum(key[0] == length for key in found) == 4, (length, found)


def interrupt(fresnel, folder):
    process = start(fresnel, f"{folder}/interrupted", 64, 12, delay="0.3")
    while not rows(f"{folder}/interrupted") and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    print(process.stderr.read())


def scratch(fresnel, folder):
    temporary = pathlib.Path(folder) / "tmp"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}

    def names():
        return {path.name for path in temporary.iterdir()}

    killed, running = (start(fresnel, f"{folder}/{name}", 64, 12, delay=delay, environment=environment)
                       for name, delay in (("killed_once", "0.05"), ("running", "30")))
    while len(names()) < 2:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    for path in temporary.iterdir():
        os.utime(path, (0, 0))
    (temporary / "fresnel-tune.young").mkdir()
    (temporary / "fresnel-tune.link").symlink_to(folder)
    assert start(fresnel, f"{folder}/killed_once", 64, 1, delay="0", environment=environment).wait() == 0
    left = names()
    running.kill()
    running.wait()
    assert len(left) == 3 and {"fresnel-tune.young", "fresnel-tune.link"} < left, left


def outcomes(path):
    problem = json.load(open(path))["problems"][0]
    seen = {}
    for candidate in problem["candidates"]:
        seen.setdefault(candidate["outcome"], []).append(candidate)
        assert candidate["outcome"] == "ok" or candidate["reason"], candidate
    assert {"ok", "illegal", "not measured", "timeout", "crashed", "wrong_result"} <= set(seen), sorted(seen)
    for candidate in seen["ok"]:
        schedule = candidate["schedule"]
        assert schedule["tile_n"] not in (32, 80, 96), schedule


WHAT = {"resume": resume, "budget": budget, "stopped": stopped, "concurrent": concurrent, "interrupt": interrupt,
        "scratch": scratch, "outcomes": outcomes}
WHAT[sys.argv[1]](*sys.argv[2:])
