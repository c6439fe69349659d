"""The crate's bank beside searches and products of prepared candidates: compared first, then timed in turn.

Everybody has its candidates before the clock starts, and finds for every anchor the most similar candidate other than
the positive. The crate normalises the anchors, and computes means and the loss, too.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from contenders import machine
from contenders.answer import Answer, Disagreement
from contenders.bank import Bank
from contenders.catalogue import Catalogue, compare
from contenders.job import SEARCH
from contenders.process import Process, Unavailable, set_threads
from contenders.turns import Contender, Libraries, Setting, say, time_in_turns

CRATE = "crate"
# The modules that run the other libraries.
LIBRARIES = {
    "NumPy": "search_numpy",
    "PyTorch": "search_pytorch",
    "FAISS": "search_faiss",
    "usearch": "search_usearch",
    "NumKong": "search_numkong",
}
OURS, EIGHT_BITS = "hardneg bank", "FAISS 8 bits"
CONTENDERS = [
    Contender(OURS, CRATE, SEARCH, OURS),
    Contender("FAISS flat", "FAISS", SEARCH, OURS),
    Contender(EIGHT_BITS, "FAISS", "8 bits", OURS),
    Contender("usearch exact", "usearch", SEARCH, OURS),
    Contender("PyTorch product, top 1", "PyTorch", SEARCH, OURS),
    Contender("NumPy product, top 1", "NumPy", SEARCH, OURS),
    Contender("NumKong product, top 1", "NumKong", SEARCH, OURS),
]


class BankBench:
    """Measures settings, and keeps what it learns of the libraries on the way."""

    def __init__(self, program: Path, rounds: int) -> None:
        self.libraries = Libraries()
        # Of the contender that may be: answers that are neither the crate's nor near ties, for each shape.
        self.wrong: dict[str, int] = {}
        self._program = program
        self._rounds = rounds

    def measure(self, catalogue: Catalogue, threads: int) -> Setting:
        """Compares what all contenders find, and then times those that work."""
        setting = Setting(catalogue.sizes(), threads)
        set_threads(threads)
        with ExitStack() as stack:
            crate = Bank(self._program, catalogue, threads)
            others = self.libraries.open(LIBRARIES, catalogue, threads, stack)
            self.libraries.versions[CRATE] = f"hardneg {machine.toolchain()} ({crate.describe()})"
            say(f"{setting.shape()}, threads {threads}: comparing")
            self._compare(catalogue, crate.answer(), others, setting)
            working = [each for each in CONTENDERS if each.library == CRATE or each.title in setting.near_ties]
            say("timing")
            setting.rounds = time_in_turns(working, {CRATE: crate, **others}, self._rounds)
        return setting

    def _compare(self, catalogue: Catalogue, ours: Answer, libraries: dict[str, Process], setting: Setting) -> None:
        """Counts the near ties of every contender that works, and the wrong answers of the one that may have some."""
        for each in (each for each in CONTENDERS if each.library in libraries):
            try:
                ties, wrong = compare(catalogue, ours, libraries[each.library].answer(each.job))
            except Unavailable as error:
                self.libraries.missing[each.title] = str(error)
                continue
            except Disagreement as error:
                sys.exit(f"{each.title} and hardneg disagree: {error}")
            if wrong and each.title != EIGHT_BITS:
                sys.exit(f"{each.title} and hardneg disagree on {wrong} anchors of {catalogue.anchors}")
            setting.near_ties[each.title] = ties
            if each.title == EIGHT_BITS:
                rows = " x ".join(str(size) for name, size in setting.sizes.items() if name != "anchors")
                self.wrong[rows] = wrong
