"""Tokens per second of the streaming loader, from packed shards in the page cache.

    python bench/streaming.py --out bench/results/streaming-$(date +%F).json
    python bench/streaming.py --peers PYTHON ...     another interpreter that has webdataset: its reader beside ours

Shards of random ids with document lengths drawn from a log-normal law (median 400 tokens) as in web text. One JSON
line per result, best and median of --runs; on a
busy machine tokens_per_cpu_second is the fairer number. "memory copy" is the same number of tokens taken in one slice: the ceiling.
"tokens" makes the rows alone; "all" also segments, positions and documents of every token.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ownlm.data.pack.plan import plan_rows
from ownlm.data.pack.rows import PackedShards
from ownlm.data.pack.webdataset import write_webdataset
from ownlm.data.shards import Shards, write_shards
from ownlm.data.stream.token_stream import Batch, Source, TokenStream
from ownlm.records import Document

PEER = """
import sys, time, glob, webdataset
begin = time.perf_counter()
tokens = 0
for sample in webdataset.WebDataset(sorted(glob.glob(sys.argv[1])), shardshuffle=False).shuffle(1000).decode():
    tokens += len(sample["tokens.npy"])
print(tokens / (time.perf_counter() - begin))
"""


def shards(prefix: Path, num_tokens: int, seed: int) -> Shards:
    random = np.random.default_rng(seed)
    lengths: list[int] = []
    while sum(lengths) < num_tokens:
        lengths += np.clip(random.lognormal(6, 1.0, 1000), 4, 100_000).astype(int).tolist()
    documents = (Document(f"{seed}-{n}", "", f"{n}") for n in range(len(lengths)))
    rest = iter(lengths)

    def encode(texts: list[str]) -> list[np.ndarray]:
        return [random.integers(2, 32_000, next(rest), np.uint16) for _ in texts]

    write_shards(prefix, documents, encode, 0, 32_000, eos_id=1)
    return Shards(prefix)


def spread(batch: Batch) -> tuple[np.ndarray, ...]:
    return batch.rows.segments, batch.rows.positions, batch.rows.documents


def rate(read: Callable[[int], object], tokens_per_step: int, steps: int, runs: int) -> dict[str, float]:
    found, busy = [], []
    read(0)
    for run in range(runs):
        begin, used = time.perf_counter(), time.process_time()
        for step in range(run * steps, (run + 1) * steps):
            read(step)
        found.append(tokens_per_step * steps / (time.perf_counter() - begin))
        busy.append(tokens_per_step * steps / (time.process_time() - used))
    return {
        "tokens_per_second": round(statistics.median(found)), "best_tokens_per_second": round(max(found)),
        "tokens_per_cpu_second": round(statistics.median(busy)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8_000_000, help="of each of two shard sets")
    parser.add_argument("--length", type=int, default=2049, help="tokens per row")
    parser.add_argument("--batch", type=int, default=16, help="rows per batch")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="a Python that has webdataset")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []

    def tell(**facts: object) -> None:
        line = {"bench": "streaming", "length": options.length, "batch": options.batch, **facts,
                "cores": len(os.sched_getaffinity(0)), "date": time.strftime("%Y-%m-%d")}  # fmt: skip
        print(json.dumps(line), flush=True)
        lines.append(line)

    size = options.batch * options.length
    with tempfile.TemporaryDirectory() as folder:
        sets = [shards(Path(folder) / name, options.tokens, seed) for seed, name in enumerate("ab")]
        flat = np.asarray(sets[0].tokens)
        tell(who="memory copy", **rate(
            lambda step: flat[step * size % (len(flat) - size) :][:size].copy(), size, options.steps, options.runs))  # fmt: skip
        for mode in ("stream", "best-fit", "pad"):
            begin = time.perf_counter()
            packed = [PackedShards(one, plan_rows(one, mode, options.length)) for one in sets]
            planning = time.perf_counter() - begin
            for shuffle in ("full", 4096, 0):
                stream = TokenStream(
                    [Source("a", packed[0], 0.8), Source("b", packed[1], 0.2)],
                    options.batch,
                    0,
                    shuffle=shuffle,
                )
                for what, read in (
                    ("tokens", stream.batch),
                    ("all", lambda step, s=stream: spread(s.batch(step))),
                ):
                    found = rate(read, size, options.steps, options.runs)
                    tell(who="ownlm", what=what, mode=mode, shuffle=shuffle,
                         padding=packed[0].plan.facts.padding_share,
                         planning_tokens_per_second=round(2 * options.tokens / planning), **found)  # fmt: skip
        if options.peers:
            rows = PackedShards(sets[0], plan_rows(sets[0], "stream", options.length))
            write_webdataset(rows, Path(folder) / "w", 512)
            done = subprocess.run([options.peers, "-c", PEER, str(Path(folder) / "w" / "*.tar")],
                                  capture_output=True, text=True)  # fmt: skip
            if done.returncode:
                tell(who="webdataset", absent=done.stderr.strip().splitlines()[-1])
            else:
                tell(
                    who="webdataset", mode="stream", shuffle=1000, tokens_per_second=round(float(done.stdout))
                )
    tell(who="ownlm", peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    if options.out:
        options.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
