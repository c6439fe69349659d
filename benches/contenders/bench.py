"""All contenders on one batch: compared first, then timed in turn."""

import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from contenders import answer, machine
from contenders.answer import Answer
from contenders.batch import Batch
from contenders.crate import Crate
from contenders.job import BOTH, FORWARD
from contenders.process import Process, Unavailable, set_threads

# What the runs of a turn should take together, in milliseconds, and how many there may be.
TURN = 300
FEWEST, MOST = 3, 2000
# Before every turn, in seconds: threads with nothing left to do look for work for up to 0.2 seconds, and take a core.
PAUSE = 0.25
# The crate's rules, by whether any negative may be the closest.
RULES = {False: "at-or-below", True: "any"}


@dataclass(frozen=True)
class Contender:
    """A column of the table: a job of a library."""

    title: str
    library: str
    job: str
    # The column that its time is a multiple of.
    base: str


CRATE = "crate"
# The modules that run the other libraries.
LIBRARIES = {"NumPy": "lab", "PyTorch": "pytorch", "FAISS": "flat_search"}
OURS, OURS_BOTH = "hardneg forward", "hardneg forward + backward"
CONTENDERS = [
    Contender(OURS, CRATE, FORWARD, OURS),
    Contender("NumPy forward", "NumPy", FORWARD, OURS),
    Contender("PyTorch forward", "PyTorch", FORWARD, OURS),
    Contender("torch.compile forward", "PyTorch", f"compiled {FORWARD}", OURS),
    Contender("FAISS top-2 search", "FAISS", "search", OURS),
    Contender(OURS_BOTH, CRATE, BOTH, OURS_BOTH),
    Contender("PyTorch forward + backward", "PyTorch", BOTH, OURS_BOTH),
    Contender("torch.compile forward + backward", "PyTorch", f"compiled {BOTH}", OURS_BOTH),
]


@dataclass
class Setting:
    """A shape on a number of threads, with the milliseconds of all rounds for each contender that took part."""

    rows: int
    dim: int
    threads: int
    rounds: dict[str, list[float]] = field(default_factory=dict)
    # For each contender, the rows whose closest negative is another one for being a near tie.
    near_ties: dict[str, int] = field(default_factory=dict)

    def median(self, title: str) -> float:
        """The middle of a contender's rounds."""
        return statistics.median(self.rounds[title])

    def spread(self) -> float:
        """By how much the rounds of a contender differ, as a share of their median: the largest of all contenders."""
        return max((max(rounds) - min(rounds)) / statistics.median(rounds) for rounds in self.rounds.values())


class Bench:
    """Measures settings, and keeps what it learns of the libraries on the way."""

    def __init__(self, score: Path, rounds: int) -> None:
        self.versions: dict[str, str] = {}
        # Why a library, or one contender, does not take part.
        self.missing: dict[str, str] = {}
        self._score = score
        self._rounds = rounds

    def measure(self, batch: Batch, threads: int) -> Setting:
        """Compares what all contenders compute, and then times those that work."""
        setting = Setting(*batch.shape(), threads)
        set_threads(threads)
        with ExitStack() as stack:
            crate, others = Crate(self._score, batch, threads), self._open(batch, threads, stack)
            self.versions[CRATE] = f"hardneg {machine.toolchain()} ({crate.describe()})"
            _say(f"{setting.rows} x {setting.dim}, threads {threads}: comparing")
            setting.near_ties = self._compare(batch, crate, others)
            working = [each for each in CONTENDERS if each.library == CRATE or each.title in setting.near_ties]
            _say("timing")
            setting.rounds = self._time(working, {CRATE: crate, **others})
        return setting

    def _open(self, batch: Batch, threads: int, stack: ExitStack) -> dict[str, Process]:
        """Loads the batch into the libraries that are there."""
        libraries = {}
        for name, module in LIBRARIES.items():
            try:
                libraries[name] = stack.enter_context(Process(module, batch, threads))
                self.versions[name] = libraries[name].version
            except Unavailable as error:
                self.missing[name] = str(error)
        return libraries

    def _compare(self, batch: Batch, crate: Crate, libraries: dict[str, Process]) -> dict[str, int]:
        """The near ties of every contender that works."""
        ours = {any_negative: crate.answer(rule) for any_negative, rule in RULES.items()}
        near_ties = {}
        for each in (each for each in CONTENDERS if each.library in libraries):
            try:
                theirs = libraries[each.library].answer(each.job)
                near_ties[each.title] = _compare(batch, ours[theirs.any_negative], theirs, each.title)
            except Unavailable as error:
                self.missing[each.title] = str(error)
        return near_ties

    def _time(self, contenders: list[Contender], libraries: dict[str, Process | Crate]) -> dict[str, list[float]]:
        """The milliseconds of every round. Each round begins with another contender."""
        runs = {each: _runs(libraries[each.library].milliseconds(each.job, FEWEST)) for each in contenders}
        rounds = {each.title: [] for each in contenders}
        for first in range(self._rounds):
            for each in _rotated(contenders, first):
                time.sleep(PAUSE)
                rounds[each.title].append(libraries[each.library].milliseconds(each.job, runs[each]))
        return rounds


def _compare(batch: Batch, ours: Answer, theirs: Answer, title: str) -> int:
    try:
        return answer.compare(batch, ours, theirs)
    except answer.Disagreement as error:
        sys.exit(f"{title} and hardneg disagree on {batch.anchors}: {error}")


def _runs(milliseconds: float) -> int:
    """How many runs fill a turn."""
    return min(max(FEWEST, round(TURN / milliseconds)), MOST)


def _rotated(contenders: list[Contender], first: int) -> list[Contender]:
    first %= len(contenders)
    return contenders[first:] + contenders[:first]


def _say(progress: str) -> None:
    print(progress, file=sys.stderr)
