"""All contenders on one batch: compared first, then timed in turn."""

import sys
from collections.abc import Callable
from contextlib import ExitStack

from contenders import answer, machine
from contenders.answer import Answer
from contenders.batch import Batch
from contenders.crate import Crate
from contenders.job import BOTH, FORWARD, PREPARED, PRODUCT, SEARCH
from contenders.process import Process, Unavailable, set_threads
from contenders.turns import Contender, Libraries, Setting, say, time_in_turns

# The crate's rules, by whether any negative may be the closest.
RULES = {False: "at-or-below", True: "any"}


CRATE = "crate"
# The modules that run the other libraries.
LIBRARIES = {"NumPy": "lab", "PyTorch": "pytorch", "FAISS": "flat_search"}
OURS, OURS_BOTH = "hardneg forward", "hardneg forward + backward"
CONTENDERS = [
    Contender(OURS, CRATE, FORWARD, OURS),
    Contender("NumPy forward", "NumPy", FORWARD, OURS),
    Contender("PyTorch forward", "PyTorch", FORWARD, OURS),
    Contender("torch.compile forward", "PyTorch", f"compiled {FORWARD}", OURS),
    Contender("FAISS top-2 search", "FAISS", SEARCH, OURS),
    Contender(OURS_BOTH, CRATE, BOTH, OURS_BOTH),
    Contender("PyTorch forward + backward", "PyTorch", BOTH, OURS_BOTH),
    Contender("torch.compile forward + backward", "PyTorch", f"compiled {BOTH}", OURS_BOTH),
]
# Single calls: the first three do the whole job.
CALLS = [
    Contender(OURS, CRATE, FORWARD, OURS),
    Contender("NumPy forward", "NumPy", FORWARD, OURS),
    Contender("PyTorch forward", "PyTorch", FORWARD, OURS),
    Contender("NumPy product", "NumPy", PRODUCT, OURS),
    Contender("PyTorch product", "PyTorch", PRODUCT, OURS),
    Contender("FAISS prepared, top 2", "FAISS", PREPARED, OURS),
]


class Bench:
    """Measures settings, and keeps what it learns of the libraries on the way."""

    def __init__(self, crate: Callable[[Batch, int], Crate], contenders: list[Contender], rounds: int) -> None:
        self.libraries = Libraries()
        self.contenders = contenders
        self._crate = crate
        self._rounds = rounds

    def measure(self, batch: Batch, threads: int) -> Setting:
        """Compares what all contenders compute, and then times those that work."""
        setting = Setting(batch.sizes(), threads)
        set_threads(threads)
        with ExitStack() as stack:
            crate = self._crate(batch, threads)
            others = self.libraries.open(LIBRARIES, batch, threads, stack)
            self.libraries.versions[CRATE] = f"hardneg {machine.toolchain()} ({crate.describe()})"
            say(f"{setting.shape()}, threads {threads}: comparing")
            setting.near_ties = self._compare(batch, crate, others)
            working = [each for each in self.contenders if each.library == CRATE or each.title in setting.near_ties]
            say("timing")
            setting.rounds = time_in_turns(working, {CRATE: crate, **others}, self._rounds)
        return setting

    def _compare(self, batch: Batch, crate: Crate, libraries: dict[str, Process]) -> dict[str, int]:
        """The near ties of every contender that works."""
        ours = {any_negative: crate.answer(rule) for any_negative, rule in RULES.items()}
        near_ties = {}
        for each in (each for each in self.contenders if each.library in libraries):
            try:
                theirs = libraries[each.library].answer(each.job)
                near_ties[each.title] = _compare(batch, ours[theirs.any_negative], theirs, each.title)
            except Unavailable as error:
                self.libraries.missing[each.title] = str(error)
        return near_ties


def _compare(batch: Batch, ours: Answer, theirs: Answer, title: str) -> int:
    try:
        return answer.compare(batch, ours, theirs)
    except answer.Disagreement as error:
        sys.exit(f"{title} and hardneg disagree on {batch.anchors}: {error}")
