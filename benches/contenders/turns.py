"""Libraries with a batch in their memory, and contenders that are timed in turn."""

import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from contenders.process import Process, Unavailable

# What the runs of a turn should take together, in milliseconds, and how many there may be.
TURN = 300
FEWEST, MOST = 3, 2000
# Before every turn, in seconds: threads with nothing left to do look for work for up to 0.2 seconds, and take a core.
PAUSE = 0.25


@dataclass(frozen=True)
class Contender:
    """A column of the table: a job of a library."""

    title: str
    library: str
    job: str
    # The column that its time is a multiple of.
    base: str


@dataclass
class Setting:
    """A shape on a number of threads, with the milliseconds of all rounds for each contender that took part."""

    sizes: dict[str, int]
    threads: int
    rounds: dict[str, list[float]] = field(default_factory=dict)
    # For each contender, the rows whose closest negative is another one for being a near tie.
    near_ties: dict[str, int] = field(default_factory=dict)

    def shape(self) -> str:
        """The sizes, as a person writes them."""
        return " x ".join(map(str, self.sizes.values()))

    def median(self, title: str) -> float:
        """The middle of a contender's rounds."""
        return statistics.median(self.rounds[title])

    def spread(self) -> float:
        """By how much the rounds of a contender differ, as a share of their median: the largest of all contenders."""
        return max((max(rounds) - min(rounds)) / statistics.median(rounds) for rounds in self.rounds.values())


class Timed(Protocol):
    """A library, or the crate."""

    def milliseconds(self, name: str, repeat: int) -> float:
        """The median time of a job."""


@dataclass
class Libraries:
    """What is learnt of the libraries on the way."""

    versions: dict[str, str] = field(default_factory=dict)
    # Why a library, or one contender, does not take part.
    missing: dict[str, str] = field(default_factory=dict)

    def open(self, modules: dict[str, str], batch: object, threads: int, stack: ExitStack) -> dict[str, Process]:
        """Loads the batch into the libraries that are there."""
        libraries = {}
        for name, module in modules.items():
            try:
                libraries[name] = stack.enter_context(Process(module, batch, threads))
                self.versions[name] = libraries[name].version
            except Unavailable as error:
                self.missing[name] = str(error)
        return libraries


def time_in_turns(contenders: list[Contender], libraries: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """The milliseconds of every round. Each round begins with another contender."""
    runs = {each: _runs(libraries[each.library].milliseconds(each.job, FEWEST)) for each in contenders}
    times = {each.title: [] for each in contenders}
    for first in range(rounds):
        for each in _rotated(contenders, first):
            time.sleep(PAUSE)
            times[each.title].append(libraries[each.library].milliseconds(each.job, runs[each]))
    return times


def say(progress: str) -> None:
    """Tells a person who waits how far it is."""
    print(progress, file=sys.stderr)


def _runs(milliseconds: float) -> int:
    """How many runs fill a turn."""
    return min(max(FEWEST, round(TURN / milliseconds)), MOST)


def _rotated(contenders: list[Contender], first: int) -> list[Contender]:
    first %= len(contenders)
    return contenders[first:] + contenders[:first]
