"""The process of a library, which `hardneg-compare --peers` starts: `python worker.py MODULE THREADS`.

Each line of the standard input is a request in JSON, each line of the standard output its answer. A request opens a
case, of which the rows and the right answers are files in a folder, or runs a job of that case some times.
"""

import ctypes
import importlib
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

from task import Job, Task

# Runs that take less, in seconds, are timed several together: reading the clock takes some 60 ns.
CLOCKED = 2e-5


def main() -> None:
    """Answers requests until there are no more."""
    # Whatever a library prints goes to the standard error.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, threads = sys.argv[1], int(sys.argv[2])
    jobs: dict[str, Job] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = open_case(module, threads, request, jobs) if "open" in request else run(jobs, request)
        except Exception as error:  # What a library raises, the other side is to print.
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=channel, flush=True)


def open_case(module: str, threads: int, request: dict, jobs: dict[str, Job]) -> dict:
    """Loads the rows, and checks what each job computes."""
    library = importlib.import_module(module)
    jobs.clear()
    task = Task.load(Path(request["folder"]), request)
    found, missing = {}, {}
    for name, job in library.jobs(task, threads).items():
        try:
            found[name] = job.check()
            jobs[name] = job
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return {"version": library.version(), "jobs": found, "missing": missing}


def run(jobs: dict[str, Job], request: dict) -> dict:
    """The median time of some runs, after one that warms the caches, and where it is asked for the peak of memory."""
    job, times = jobs[request["run"]], request["times"]
    if request["memory"]:
        return run_once(job)
    once = seconds(job, 1)
    together = math.ceil(CLOCKED / once)
    return {"seconds": statistics.median(seconds(job, together) for _ in range(times)), "memory": None}


def run_once(job: Job) -> dict:
    """The time of a run, and its peak of memory beyond what was there before, where the system is Linux."""
    if not Path("/proc/self/clear_refs").exists():
        return {"seconds": seconds(job, 1), "memory": None}
    ctypes.CDLL(None).malloc_trim(0)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    taken = seconds(job, 1)
    return {"seconds": taken, "memory": max(memory("VmHWM") - before, 0)}


def memory(key: str) -> int:
    """Bytes, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def seconds(job: Job, together: int) -> float:
    """The time of a run, of several together."""
    start = time.perf_counter()
    for _ in range(together):
        job.run()
    return (time.perf_counter() - start) / together


if __name__ == "__main__":
    main()
