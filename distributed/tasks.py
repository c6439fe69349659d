#!/usr/bin/env python3
"""Mines a corpus in shards, a task each, and merges on the driver: the form in which Ray or Spark would run it.

Usage: distributed/tasks.py HARDNEG QUERIES.npy CORPUS.npy SHARDS K [ray]

HARDNEG is the program of this repository. A task is one function of a shard, `mine`, which needs no other task; the
tasks are processes of this machine, or with the last argument tasks of Ray, for which files lie where all its nodes
find them. Under Spark `mine` is what `mapPartitions` is given. The driver's `merge` is associative, so that it may also
be a tree of tasks. The merged lists are compared with those of one task that has the whole corpus.
"""

import ast
import heapq
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor


class Rows:
    """The rows of a 2-D `.npy` file of version 1, of which some are copied to another file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            start = file.read(10)
            self.header = ast.literal_eval(file.read(int.from_bytes(start[8:], "little")).decode("latin1"))
            self.path, self.offset = path, file.tell()
        self.count, dim = self.header["shape"]
        self.bytes = dim * int(self.header["descr"][2:])

    def save(self, first, end, path):
        """Writes rows `first` to `end` as a file of their own."""
        header = repr({**self.header, "shape": (end - first, self.header["shape"][1])}).encode("latin1")
        header += b" " * (-(len(header) + 11) % 64) + b"\n"
        with open(self.path, "rb") as source, open(path, "wb") as file:
            source.seek(self.offset + first * self.bytes)
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
            file.write(source.read((end - first) * self.bytes))


def mine(program, queries, rows, first, end, k):
    """The k most similar of rows `first` to `end` for each query: lists of (-similarity, index in the whole corpus)."""
    with tempfile.TemporaryDirectory() as folder:
        shard, out = os.path.join(folder, "shard.npy"), os.path.join(folder, "lists.jsonl")
        rows.save(first, end, shard)
        command = [program, "mine", queries, shard, "--k", str(k), "--threads", "1", "--jsonl", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with open(out) as lines:
            found = [json.loads(line) for line in lines]
    return [[(-s, first + i) for i, s in zip(row["negatives"], row["scores"])] for row in found]


def merge(shards, k):
    """The lists of all shards: the most similar first, and the lower index first on a tie."""
    return [list(heapq.merge(*lists))[:k] for lists in zip(*shards)]


def in_processes(tasks):
    """Runs `mine` for each tuple of arguments, as processes of this machine."""
    with ThreadPoolExecutor() as pool:
        return [task.result() for task in [pool.submit(mine, *task) for task in tasks]]


def under_ray(tasks):
    """Runs `mine` for each tuple of arguments, as tasks of Ray."""
    import ray

    ray.init()
    remote = ray.remote(mine)
    return ray.get([remote.remote(*task) for task in tasks])


def main():
    program, queries, corpus = map(os.path.abspath, sys.argv[1:4])
    count, k = map(int, sys.argv[4:6])
    if sys.argv[6:] not in ([], ["ray"]):
        sys.exit(__doc__)
    run = under_ray if sys.argv[6:] else in_processes
    rows = Rows(corpus)
    ends = [rows.count * shard // count for shard in range(count + 1)]
    tasks = [(program, queries, rows, first, end, k) for first, end in zip(ends, ends[1:])]
    merged = merge(run(tasks), k)
    assert merged == mine(program, queries, rows, 0, rows.count, k), "the lists of the whole corpus are others"
    print(f"{len(merged)} lists of {k}, the same from {count} shards as from one")


if __name__ == "__main__":
    main()
