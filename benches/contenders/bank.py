"""The crate's bank, through the program `hardneg-compare`, which times the calls: no start, no reading of files."""

from pathlib import Path

import numpy as np

from contenders.answer import Answer
from contenders.catalogue import Catalogue
from contenders.crate import read_lines


class Bank:
    """`hardneg-compare --bank` on files."""

    def __init__(self, program: Path, catalogue: Catalogue, threads: int) -> None:
        files = ["--data", catalogue.anchors, catalogue.candidates]
        self._command = [program, "--bank", *files, f"--threads={threads}"]
        self._count = catalogue.count

    def answer(self) -> Answer:
        """The closest negatives of all anchors, whatever their positives."""
        closest = self._run("--repeat=1")["closest"].split()
        return Answer(closest=np.array([int(index) for index in closest]), any_negative=True)

    def milliseconds(self, name: str, repeat: int) -> float:
        """The median time of a call."""
        del name
        return float(self._run(f"--anchors={self._count}", f"--repeat={repeat}")["milliseconds"])

    def describe(self) -> str:
        """How it computes here."""
        printed = self._run("--anchors=1", "--repeat=1")
        return f"backend {printed['backend']}, {printed['bytes_per_element']} bytes an element"

    def _run(self, *options: str) -> dict[str, str]:
        return read_lines([*self._command, *options])
