"""The crate, through the program `hardneg`, whose `score` times the computation itself: no start, no reading of files."""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from contenders.answer import Answer
from contenders.batch import Batch
from contenders.job import BOTH, FORWARD

ROOT = Path(__file__).resolve().parents[2]
# The line of `score` that has the time of a job.
TIMES = {FORWARD: "milliseconds", BOTH: "milliseconds_with_gradients"}


def build(package: str) -> Path:
    """Builds the program of a package with optimisations, and says where it is."""
    command = ["cargo", "build", "--release", "--package", package, "--message-format", "json-render-diagnostics"]
    try:
        lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"hardneg cannot be built: {error}")
    built = (json.loads(line).get("executable") for line in lines)
    return Path(next(path for path in built if path))


class Crate:
    """`hardneg score` on a batch."""

    def __init__(self, program: Path, batch: Batch, threads: int) -> None:
        options = [f"--margin={batch.margin}", f"--threads={threads}"]
        self._command = [program, "score", batch.anchors, batch.positives, *options]

    def answer(self, rule: str) -> Answer:
        """Losses, closest negatives and gradients under a rule."""
        with tempfile.TemporaryDirectory() as folder:
            rows, prefix = Path(folder, "rows.csv"), Path(folder, "gradients")
            self._run(rule, f"--rows={rows}", f"--gradients={prefix}")
            gradients = tuple(np.load(f"{prefix}_{side}.npy") for side in ("anchors", "positives"))
            return Answer(*_read_rows(rows), gradients)

    def milliseconds(self, name: str, repeat: int) -> float:
        """The median time of a job, as `score` reports it."""
        with tempfile.TemporaryDirectory() as folder:
            options = [f"--gradients={folder}/gradients"] if name == BOTH else []
            printed = self._run("at-or-below", f"--repeat={repeat}", *options)
        return float(printed[TIMES[name]])

    def describe(self) -> str:
        """How `score` computes here."""
        printed = self._run("at-or-below")
        return f"backend {printed['backend']}, screen {printed['screen']}"

    def _run(self, rule: str, *options: str) -> dict[str, str]:
        return read_lines([*self._command, f"--negatives={rule}", *options])


class SingleCalls(Crate):
    """The same, timed by `hardneg-compare --latency`: what `score` collects beside a call would show in a short one."""

    def __init__(self, score: Path, compare: Path, batch: Batch, threads: int) -> None:
        super().__init__(score, batch, threads)
        # Its margin is its own: how long a forward pass takes does not depend on that.
        files = ["--data", batch.anchors, batch.positives]
        self._timing = [compare, "--latency", *files, f"--threads={threads}"]

    def milliseconds(self, name: str, repeat: int) -> float:
        """The median time of a forward call."""
        del name
        return float(read_lines([*self._timing, f"--repeat={repeat}"])["milliseconds"])


def read_lines(command: list[str | Path]) -> dict[str, str]:
    """The `key: value` lines that a program prints."""
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(line.split(": ", 1) for line in printed.splitlines())


def _read_rows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = np.array([float(row["loss"]) for row in rows])
    return losses, np.array([int(row["closest_index"] or -1) for row in rows])
