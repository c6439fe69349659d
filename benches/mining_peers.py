#!/usr/bin/env python3
"""`hardneg mine` beside what people mine hard negatives with today, on the same embeddings and as many threads.

    pip install -r benches/requirements.txt && python benches/mining_peers.py

The others are `mine_hard_negatives` of sentence-transformers, with a stand-in model that returns the embeddings, and
the k + 1 most similar rows of a flat FAISS index, filtered afterwards. Each run is a process of its own, which gives a
time (without the start of the process, libraries and files), a peak of memory and an answer. Contenders take turns, for
several rounds. Answers of hardneg are checked against a product in double precision, the others' against hardneg's,
query by query. The result is a table in Markdown on the standard output, and below it the causes of all differences.
Linux only, where a process can tell its own peak.
"""

import argparse
import contextlib
import ctypes
import io
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

try:
    import numpy as np
    from contenders import crate, machine
    from contenders.batch import NOISE
    from contenders.process import set_threads
    from contenders.turns import say
except ImportError as error:
    sys.exit(f"{error}: pip install -r benches/requirements.txt")

K = 10
SAMPLE = crate.ROOT / "examples" / "data"
SHAPES = "real:4096x16384x384,random:1000x98304x768"
# Two cosines that are nearer than this are a tie to sums in single precision, and to the program, which rounds once.
NEAR, ROUNDED = 2e-6, 1.3e-7
# What libraries do once, on the first call, happens before the clock starts, with so many queries and rows.
WARM_UP = 64


@dataclass(frozen=True)
class Rule:
    """Thresholds, with the names that sentence-transformers gives them."""

    title: str
    option: str | None = None
    keyword: str | None = None
    value: float = 0.0

    def limit(self, positives: np.ndarray) -> np.ndarray:
        """The largest similarity of a negative that qualifies, for the similarity of each query's positive."""
        limits = {
            None: np.full_like(positives, np.inf),
            "absolute_margin": positives - self.value,
            "relative_margin": positives - abs(positives) * self.value,
            "max_score": np.full_like(positives, self.value),
        }
        return limits[self.keyword]


NONE = Rule("none")
ABSOLUTE = Rule("absolute margin 0.1", "--absolute-margin", "absolute_margin", 0.1)
RELATIVE = Rule("relative margin 0.05", "--relative-margin", "relative_margin", 0.05)
AT_MOST = Rule("at most 0.6", "--max-similarity", "max_score", 0.6)
# Positives of random rows are far above all negatives: no threshold rules anything out, and one shows its price.
RULES = {"real": (NONE, ABSOLUTE, RELATIVE, AT_MOST), "random": (NONE, RELATIVE)}


@dataclass(frozen=True)
class Embeddings:
    """Files of rows of length 1; row i of the corpus is the positive of query i."""

    title: str
    queries: Path
    corpus: Path
    rules: tuple[Rule, ...]

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Both arrays."""
        return np.load(self.queries), np.load(self.corpus)

    def bytes(self) -> int:
        """The memory of the rows."""
        return sum(np.load(path, mmap_mode="r").nbytes for path in (self.queries, self.corpus))


@dataclass(frozen=True)
class Run:
    """What a run gave: `found` holds k indices a query, -1 where it ran short, and `peak` the bytes beyond the rows."""

    milliseconds: float
    peak: int
    found: np.ndarray


class Program:
    """`hardneg mine`."""

    def __init__(self, program: Path, threads: int, folder: Path) -> None:
        self._command, self._threads, self._folder = [program, "mine"], threads, folder
        np.save(folder / "one.npy", np.ones((1, 4), np.float32))
        one = Embeddings("", folder / "one.npy", folder / "one.npy", (NONE,))
        # What the program needs before it has rows: the libraries of the others are not counted, either.
        self._base = 0
        self._base = self.run(one, NONE).peak

    def run(self, rows: Embeddings, rule: Rule) -> Run:
        """Mines once."""
        options = [f"--k={K}", f"--threads={self._threads}", "--paired", f"--npy={self._folder}/found"]
        options += [f"{rule.option}={rule.value}"] if rule.option else []
        command = [*self._command, rows.queries, rows.corpus, *options]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = dict(line.split(": ", 1) for line in printed.stdout.splitlines())
        peak = int(lines.get("peak_memory_bytes", 0)) - rows.bytes() - self._base
        milliseconds = float(lines["prepare_milliseconds"]) + float(lines["milliseconds"])
        return Run(milliseconds, peak, np.load(self._folder / "found_indices.npy"))


class Library:
    """A contender in Python: a process has the library and the rows, and each run is a copy of that process."""

    def __init__(self, name: str, rows: Embeddings, threads: int) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self.version = self._pool.submit(_open, name, rows, threads).result()

    def run(self, _rows: Embeddings, rule: Rule) -> Run:
        """Mines once."""
        return self._pool.submit(_in_a_copy, rule).result()

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown()


# What follows, up to `Tally`, runs in the process of a library.

_opened = {}


def _open(name: str, rows: Embeddings, threads: int) -> str:
    mine, version = LIBRARIES[name](threads)
    _opened.update(mine=mine, rows=rows.load())
    return version


def _in_a_copy(rule: Rule) -> Run:
    with get_context("fork").Pool(1) as pool:
        return pool.apply(_run, (rule,))


def _run(rule: Rule) -> Run:
    queries, corpus = _opened["rows"]
    _opened["mine"](queries[:WARM_UP], corpus[: 2 * WARM_UP], rule)
    ctypes.CDLL(None).malloc_trim(0)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    found = _opened["mine"](queries, corpus, rule)
    seconds = time.perf_counter() - start
    return Run(1e3 * seconds, _memory("VmHWM") - before, found)


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def faiss_flat(threads: int):
    """The k + 1 most similar rows, without the positive and what the threshold rules out."""
    from contenders.flat_search import faiss, version

    faiss.omp_set_num_threads(threads)

    def mine(queries: np.ndarray, corpus: np.ndarray, rule: Rule) -> np.ndarray:
        index = faiss.IndexFlatIP(corpus.shape[1])
        index.add(corpus)
        scores, indices = index.search(queries, K + 1)
        positives = np.einsum("ij,ij->i", queries, corpus[: len(queries)])
        keep = (indices != np.arange(len(queries))[:, None]) & (scores <= rule.limit(positives)[:, None])
        order = np.argsort(~keep, axis=1, kind="stable")[:, :K]
        return np.take_along_axis(np.where(keep, indices, -1), order, axis=1)

    return mine, version()


def sentence_transformers(threads: int, use_faiss: bool = False):
    """`mine_hard_negatives`, with all its defaults but for the number of negatives and the form of its result."""
    # First, as it chooses the kernels of FAISS.
    from contenders.flat_search import faiss

    import datasets
    import sentence_transformers as library
    import torch

    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    datasets.disable_progress_bars()

    class Model:
        """Returns the rows whose numbers the texts are."""

        device = torch.device("cpu")
        similarity = staticmethod(library.util.dot_score)
        similarity_pairwise = staticmethod(library.util.pairwise_dot_score)

        def __init__(self, queries: np.ndarray, corpus: np.ndarray) -> None:
            self.encode_query = lambda _texts, **_: queries
            self.encode_document = lambda _texts, **_: corpus
            self.get_embedding_dimension = lambda: corpus.shape[1]

    def mine(queries: np.ndarray, corpus: np.ndarray, rule: Rule) -> np.ndarray:
        texts = [str(row) for row in range(len(corpus))]
        pairs = datasets.Dataset.from_dict({"query": texts[: len(queries)], "positive": texts[: len(queries)]})
        thresholds = {rule.keyword: rule.value} if rule.keyword else {}
        form = {"output_format": "labeled-list", "verbose": False, "use_faiss": use_faiss}
        with contextlib.redirect_stderr(io.StringIO()):
            mined = library.util.mine_hard_negatives(
                pairs, Model(queries, corpus), corpus=texts, num_negatives=K, **thresholds, **form
            )
        found = np.full((len(queries), K), -1)
        for query, (_, *negatives) in zip(mined["query"], mined["positive"]):
            found[int(query), : len(negatives)] = [int(negative) for negative in negatives]
        return found

    return mine, f"sentence-transformers {library.__version__}, PyTorch {torch.__version__}"


def sentence_transformers_faiss(threads: int):
    """The same with a flat FAISS index."""
    return sentence_transformers(threads, use_faiss=True)


OURS, FLAT = "hardneg", "FAISS flat, top k"
LIBRARIES = {
    FLAT: faiss_flat,
    "mine_hard_negatives": sentence_transformers,
    "the same, use_faiss": sentence_transformers_faiss,
}


@dataclass
class Tally:
    """How an answer differs from hardneg's: queries that ran short, negatives, and queries by cause."""

    short: int = 0
    wrong: int = 0
    missing: int = 0
    causes: Counter = field(default_factory=Counter)


class Exact:
    """Similarities in double precision."""

    def __init__(self, rows: Embeddings) -> None:
        self.queries, self.corpus = (side.astype(np.float64) for side in rows.load())
        self.queries, self.corpus = (
            side / np.linalg.norm(side, axis=1, keepdims=True) for side in (self.queries, self.corpus)
        )
        self.positives = (self.queries * self.corpus[: len(self.queries)]).sum(axis=1)

    def check(self, answers: dict[Rule, np.ndarray]) -> dict[str, int]:
        """In how many queries answers are not the most similar negatives that qualify, but for one rounding."""
        wrong = Counter()
        for start in range(0, len(self.queries), 256):
            block = slice(start, start + 256)
            similarities = self.queries[block] @ self.corpus.T
            own = np.arange(len(similarities))
            similarities[own, start + own] = -np.inf
            for rule, found in answers.items():
                limit = rule.limit(self.positives[block])[:, None]
                wrong[rule] += np.count_nonzero(~_is_exact(similarities, limit, found[block]))
        return {rule.title: count for rule, count in wrong.items() if count}

    def similarities(self, query: int, found: np.ndarray) -> np.ndarray:
        """Of a query and rows of the corpus."""
        return self.corpus[found] @ self.queries[query]

    def compare(self, rule: Rule, ours: np.ndarray, theirs: np.ndarray) -> Tally:
        """Theirs beside ours, query by query."""
        limits = rule.limit(self.positives)
        tally = Tally(short=np.count_nonzero(theirs[:, -1] < 0))
        for query in np.flatnonzero((ours != theirs).any(axis=1)):
            our, their = (side[query][side[query] >= 0] for side in (ours, theirs))
            wrong, missing = np.setdiff1d(their, our), np.setdiff1d(our, their)
            tally.wrong += len(wrong)
            tally.missing += len(missing)
            tally.causes[self._cause(query, limits[query], our, their)] += 1
        return tally

    def _cause(self, query: int, limit: float, our: np.ndarray, their: np.ndarray) -> str:
        our_similarities, their_similarities = (self.similarities(query, side) for side in (our, their))
        last = their_similarities.min(initial=np.inf)
        differing = np.setxor1d(our, their)
        similarities = self.similarities(query, differing)
        at_limit = abs(similarities - limit) <= NEAR
        is_ours = np.isin(differing, our)
        # What their list leaves out at its end, or has there in place of something else.
        at_end = is_ours & (similarities <= last + NEAR) | ~is_ours & (similarities <= our_similarities[-1] + NEAR)
        if not (at_limit | at_end).all():
            return "unexplained"
        if len(their) < len(our) and (is_ours & ~at_limit).any():
            return "the pool ran short"
        if at_limit.any():
            return "a similarity within f32 rounding of the threshold"
        if len(our) == len(their) and (abs(our_similarities - their_similarities) <= NEAR).all():
            return "similarities that f32 sums cannot order"
        return "unexplained"


def _is_exact(similarities: np.ndarray, limit: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Whether every found row qualifies, and the i-th is as similar as the i-th most similar one that does."""
    found_similarities = np.where(found < 0, -np.inf, np.take_along_axis(similarities, np.maximum(found, 0), axis=1))
    qualifies = (found_similarities <= limit + ROUNDED).all(axis=1)
    repeated = (np.diff(np.sort(found, axis=1), axis=1) == 0) & (np.sort(found, axis=1)[:, 1:] >= 0)
    bounds = [np.where(similarities <= limit + shift, similarities, -np.inf) for shift in (-ROUNDED, ROUNDED)]
    least, most = (-np.sort(-np.partition(each, -K, axis=1)[:, -K:], axis=1) for each in bounds)
    inside = (found_similarities >= least - ROUNDED) & (found_similarities <= most + ROUNDED)
    return qualifies & ~repeated.any(axis=1) & inside.all(axis=1)


def embeddings(folder: Path, shape: str) -> Embeddings:
    """Writes rows: real ones and mixtures of them, or random ones, with noise between queries and positives."""
    kind, sizes = shape.split(":")
    queries, corpus, dim = (int(size) for size in sizes.split("x"))
    random = np.random.default_rng(0)
    if kind == "real":
        sides = [np.load(SAMPLE / f"{side}.npy") for side in ("anchors", "positives")]
        mixed = _mixtures(random, *sides, corpus)
        sides, title = (mixed[0][:queries], mixed[1]), "real"
    else:
        rows = random.standard_normal((corpus, dim), dtype=np.float32)
        noise = np.float32(NOISE) * random.standard_normal((queries, dim), dtype=np.float32)
        sides, title = (rows[:queries] + noise, rows), "random"
    title = f"{queries} x {corpus} x {dim}, {title}"
    written = Embeddings(title, folder / "queries.npy", folder / "corpus.npy", RULES[kind])
    for path, side in zip((written.queries, written.corpus), sides):
        np.save(path, side / np.linalg.norm(side, axis=1, keepdims=True))
    return written


def _mixtures(random: np.random.Generator, anchors: np.ndarray, positives: np.ndarray, rows: int) -> list[np.ndarray]:
    """The pairs, and mixtures of two in the same proportion on both sides with noise of a tenth of their norm."""
    count, dim = anchors.shape
    one, other = random.integers(count, size=(2, rows - count))
    share = random.random((rows - count, 1), dtype=np.float32)
    scale = np.float32(0.1 / np.sqrt(dim))
    return [
        np.concatenate([
            side,
            share * side[one]
            + (1 - share) * side[other]
            + scale * random.standard_normal((rows - count, dim), dtype=np.float32),
        ])
        for side in (anchors, positives)
    ]


def main() -> None:
    """Measures every shape under every threshold, and prints the table."""
    args = parse()
    set_threads(args.threads)
    program = args.program or crate.build("hardneg-cli")
    heads = ["rows", "threshold", "contender", "time", "peak memory", "short queries", "wrong", "missing", "spread"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * 3 + "|---:" * (len(heads) - 3) + "|"]
    notes = {}
    for shape in args.shapes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            lines += measure(args, program, embeddings(Path(folder), shape), Path(folder), notes)
    print(*lines, "", *(f"- {key}: {value}." for key, value in notes.items()), sep="\n")
    print(f"- Machine: {machine.describe()}, threads: {args.threads}; Python {platform.python_version()}.")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=SHAPES, help=f"real:.. or random:QUERIESxCORPUSxDIM (default: {SHAPES})")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contender (default: 3)")
    parser.add_argument("--program", type=Path, help="this hardneg instead of one that is built first")
    return parser.parse_args()


def measure(args: argparse.Namespace, program: Path, rows: Embeddings, folder: Path, notes: dict) -> list[str]:
    """The lines of a shape; what is to be said of them goes into `notes`."""
    contenders = {OURS: Program(program, args.threads, folder)}
    for name in LIBRARIES:
        contenders[name] = Library(name, rows, args.threads)
        notes[name] = contenders[name].version
    runs = {(rule, name): [] for rule in rows.rules for name in contenders}
    for number in range(args.rounds):
        say(f"{rows.title}: round {number + 1}")
        for rule in rows.rules:
            for name in _rotated(list(contenders), number):
                runs[rule, name].append(contenders[name].run(rows, rule))
    for name in LIBRARIES:
        contenders[name].close()
    say(f"{rows.title}: comparing with double precision")
    exact = Exact(rows)
    ours = {rule: runs[rule, OURS][0].found for rule in rows.rules}
    if inexact := exact.check(ours):
        sys.exit(f"hardneg is wrong, in so many queries: {inexact}")
    lines = []
    for rule in rows.rules:
        for name in contenders:
            tally = exact.compare(rule, ours[rule], runs[rule, name][0].found)
            lines.append(_line(rows, rule, name, runs, [tally.short, tally.wrong, tally.missing]))
            if tally.causes:
                causes = "; ".join(f"{cause}: {count}" for cause, count in tally.causes.most_common())
                notes[f"Queries that differ, {name}, {rows.title}, {rule.title}"] = causes
    return lines


def _line(rows: Embeddings, rule: Rule, name: str, runs: dict, counts: list[int]) -> str:
    times = {each: [run.milliseconds for run in runs[rule, each]] for each in (name, OURS)}
    peaks = {each: statistics.median(run.peak for run in runs[rule, each]) for each in (name, OURS)}
    time_, our_time = (statistics.median(times[each]) for each in (name, OURS))
    is_ours = name == OURS
    multiple = "" if is_ours else f" ({time_ / our_time:.1f} x)"
    memory = "" if is_ours else f" ({peaks[name] / peaks[OURS]:.1f} x)"
    spread = (max(times[name]) - min(times[name])) / time_
    cells = [rows.title, rule.title, name, f"{time_:.0f} ms{multiple}", f"{peaks[name] / 2**20:.1f} MiB{memory}"]
    return "| " + " | ".join([*cells, *map(str, counts), f"{spread:.0%}"]) + " |"


def _rotated(names: list[str], first: int) -> list[str]:
    first %= len(names)
    return names[first:] + names[:first]


if __name__ == "__main__":
    main()
