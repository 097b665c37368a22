"""Tokenizer training and encoding beside HF tokenizers, tiktoken and rustbpe, in the same run.

    python bench/encoding.py --peers /path/to/site-packages --out bench/results/encoding-$(date +%F).json

Peers are taken from this environment or from --peers (`pip install --target PATH rustbpe tiktoken tokenizers`);
an absent one is reported and left out. Text: the technical documentation and code of OWNLM_TEST_DATA, or the
sources of the running Python's standard library. One JSON line per result, medians of --runs, all contestants
taking turns in each round. "ratio" is how many times faster than that peer ownlm is: the median over the rounds of
the ratio within a round, so that a machine that gets busy between rounds does not decide it; "ratio_of_best" is that
of the fastest runs.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import os
import random
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # encoding is compared per core

import numpy as np

from ownlm.runtime import native
from ownlm.tokenizer import bpe
from ownlm.tokenizer.pretokenize import PATTERNS
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import SPECIALS

PATTERN = PATTERNS["llama3"]
Contestants = dict[str, Callable[[], Any]]


def texts(megabytes: float) -> tuple[str, list[str]]:
    """(name of the text, documents in a fixed shuffled order up to that size)."""
    folder = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    documents: list[str] = []
    paths = [*sorted(folder.glob("text_techdocs/*.jsonl.gz")), *folder.glob("code_python_stdlib/*.jsonl.gz")]
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            documents += [json.loads(line)["text"] for line in file]
    name = "techdocs, 13 languages, and Python code"
    if not documents:
        name = "standard library sources"
        library = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
        documents = [
            path.read_text("utf-8", "replace") for path in library if "site-packages" not in path.parts
        ]
    random.Random(0).shuffle(documents)
    size, chosen = 0, []
    for document in documents:
        if size >= megabytes * 1e6:
            break
        chosen.append(document)
        size += len(document.encode("utf-8"))
    return name, chosen


def peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(json.dumps({"bench": "encoding", "peer": name, "absent": True}), flush=True)
        return None


def race(contestants: Contestants, runs: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every run and the last result of each contestant; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    results: dict[str, Any] = {}
    for _ in range(runs):
        for name, work in contestants.items():
            start = time.perf_counter()
            results[name] = work()
            seconds[name].append(time.perf_counter() - start)
    return seconds, results


def report(
    what: str, size: int, seconds: dict[str, list[float]], facts: dict[str, Any], same: dict[str, bool]
) -> list[dict]:
    lines = []
    own = seconds["ownlm"]
    for name, runs in seconds.items():
        median = statistics.median(runs)
        line = {
            "bench": "encoding", "what": what, "who": name, "seconds": round(median, 4),
            "mb_per_second": round(size / 1e6 / median, 2), "runs": [round(s, 4) for s in runs],
            "ratio": round(statistics.median(b / a for a, b in zip(own, runs, strict=True)), 2),
            "ratio_of_best": round(min(runs) / min(own), 2), "identical": same.get(name), **facts,
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        lines.append(line)
    return lines


def training(documents: list[str], vocab_size: int) -> Contestants:
    contestants: Contestants = {"ownlm": lambda: bpe.train(documents, vocab_size)}
    if rustbpe := peer("rustbpe"):

        def rust() -> Any:
            tokenizer = rustbpe.Tokenizer()
            tokenizer.train_from_iterator(iter(documents), vocab_size - len(SPECIALS), pattern=PATTERN)
            return tokenizer

        contestants["rustbpe"] = rust
    if hf := peer("tokenizers"):
        contestants["HF tokenizers"] = lambda: _hf_train(hf, documents, vocab_size)
    return contestants


def _hf_train(hf: Any, documents: list[str], vocab_size: int) -> Any:
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence(
        [
            hf.pre_tokenizers.Split(hf.Regex(PATTERN), "isolated"),
            hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # training is compared with all cores
    trainer = hf.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(documents, trainer)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return tokenizer


def encoding(documents: list[str], tokenizer: Tokenizer, threads: int) -> Contestants:
    """Every ownlm run starts with an empty word cache; "ownlm warm" keeps it."""
    warm = Tokenizer(tokenizer.vocabulary)
    warm.encode_batch(documents, threads)
    fresh = iter([Tokenizer(tokenizer.vocabulary) for _ in range(100)])
    contestants: Contestants = {
        "ownlm": lambda: next(fresh).encode_batch(documents, threads),
        "ownlm warm": lambda: warm.encode_batch(documents, threads),
    }
    if tiktoken := peer("tiktoken"):
        special = set(tokenizer.specials.values())
        ranks = {token: id for id, token in enumerate(tokenizer.vocabulary.tokens) if id not in special}
        other = tiktoken.Encoding("own", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
        if threads == 1:
            contestants["tiktoken"] = lambda: [other.encode_ordinary(text) for text in documents]
        else:
            contestants["tiktoken"] = lambda: other.encode_ordinary_batch(documents, num_threads=threads)
    if threads == 1 and (hf := peer("tokenizers")):
        from ownlm.tokenizer.hf_json import to_json

        theirs = hf.Tokenizer.from_str(json.dumps(to_json(tokenizer.vocabulary)))
        contestants["HF tokenizers"] = lambda: [e.ids for e in theirs.encode_batch_fast(documents)]
    return contestants


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="folder with peers installed by pip --target")
    parser.add_argument("--out", type=Path, help="also write the lines there, as a JSON list")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(str(options.peers))
    name, documents = texts(options.megabytes)
    size = sum(len(text.encode("utf-8")) for text in documents)
    facts = {
        "text": name, "bytes": size, "documents": len(documents), "vocab_size": options.vocab_size,
        "cores": len(os.sched_getaffinity(0)), "native": native.status(), "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    seconds, results = race(training(documents, options.vocab_size), options.runs)
    own: Tokenizer = results["ownlm"]
    same = {}
    if "rustbpe" in results:
        theirs = {bytes(token): id for token, id in results["rustbpe"].get_mergeable_ranks()}
        same["rustbpe"] = theirs == {
            token: id for id, token in enumerate(own.vocabulary.tokens[: len(theirs)])
        }
    lines = report("train", size, seconds, facts, same)
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        seconds, results = race(encoding(documents, own, threads), options.runs)
        ids = results["ownlm"]
        same = {
            name: all(np.array_equal(a, b) for a, b in zip(ids, other, strict=True))
            for name, other in results.items()
        }
        lines += report(f"encode, {threads} thread{'s' * (threads > 1)}", size, seconds, facts, same)
    if options.out:
        options.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
