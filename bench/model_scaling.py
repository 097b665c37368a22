"""Time and memory against length: one layer of each recurrent mixer, with full attention beside them.

    python bench/model_scaling.py --out bench/results/model-scaling-$(date +%F).json [--plot scaling.png]
                                  [--lengths 256 ... 8192] [--only NAME ...] [--threads 1]

Width 256, 4 heads of 64, float32, one text, forward without gradients through a DecodeCache. One JSON line per mixer
and length:
    seconds      of the processor (a busy machine does not bend the curve), fastest of --runs
    peak_mb      the most bytes of tensors alive at once that the forward made, counted storage by storage in a run of
                 its own; the resident size is no measure, since the allocator keeps what was freed; what a kernel
                 takes inside is not seen
    cache_bytes  what is kept to go on from there
Beside the mixers, attention alone as it is written and by the tiles of flash.py, causal, forward and backward: both take
quadratic time, the tiles linear memory.
Last, a line per mixer with the slopes of their logarithms over log length from the third longest to the longest text:
1 is linear, 2 quadratic, 0 constant.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ownlm.model.architecture import Architecture
from ownlm.model.attention.flash import flash_attention
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.scaled_dot_product import attention, causal
from ownlm.model.blocks import Layer, MixerSpec
from ownlm.model.decoder import Decoder
from ownlm.model.place import DecodeCache
from ownlm.model.position import Rope
from ownlm.model.recurrent.delta_net import DeltaNet
from ownlm.model.recurrent.gated_delta_net import GatedDeltaNet
from ownlm.model.recurrent.infini_attention import InfiniAttention
from ownlm.model.recurrent.linear_attention import LinearAttention
from ownlm.model.recurrent.neural_memory import NeuralMemory
from ownlm.model.recurrent.retnet import Retention
from ownlm.model.recurrent.rwkv import TimeMix
from ownlm.model.recurrent.rwkv7 import GooseTimeMix
from ownlm.model.recurrent.rwkv_matrix import MatrixTimeMix
from ownlm.model.recurrent.test_time_training import TestTimeTraining

WIDTH, HEADS, HEAD = 256, 4, 64
MIXERS: dict[str, MixerSpec] = {
    "full attention": GroupedQuery(HEADS, HEADS, HEAD, rope=Rope()),
    # A cap on the scores makes them be formed: attention as it is written, T x T numbers per head.
    "full attention, scores formed": GroupedQuery(HEADS, HEADS, HEAD, rope=Rope(), softcap=50.0),
    "sliding window 256": GroupedQuery(HEADS, HEADS, HEAD, rope=Rope(), window=256),
    "linear attention": LinearAttention(HEADS, HEAD),
    "retention": Retention(HEADS, HEAD),
    "DeltaNet": DeltaNet(HEADS, HEAD),
    "gated DeltaNet": GatedDeltaNet(HEADS, HEAD),
    "Infini-attention 256": InfiniAttention(HEADS, HEAD, segment=256),
    "neural memory": NeuralMemory(HEADS, HEAD, chunk=64),
    "neural memory, two layers": NeuralMemory(HEADS, HEAD, hidden=128, chunk=64),
    "TTT-Linear": TestTimeTraining(HEADS, HEAD, chunk=16),
    "RWKV-4": TimeMix(WIDTH),
    "RWKV-6": MatrixTimeMix(HEADS, HEAD),
    "RWKV-7": GooseTimeMix(HEADS, HEAD),
}
ATTENTIONS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "standard attention, with gradients": lambda q, k, v: attention(q, k, v, causal(q.shape[2]))[0],
    "flash.py in tiles of 128, with gradients": lambda q, k, v: flash_attention(
        q, k, v, block_q=128, block_k=128
    ),
}
"""Functions of q, k and v alone, causal, forward and backward: they keep no cache."""
BUDGET_BYTES = 1 << 30
"""Lengths at which the scores alone would take this much are left out, and said to be."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that operations inside made and that are still alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.peak = 0, 0
        self.alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor):
                self.count(value.untyped_storage())
        return out

    def count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.alive or not size:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self.alive[key]

        self.alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def seconds_of(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_of(work: Any) -> int:
    live = LiveBytes()
    with live:
        work()
    return live.peak


def measured(name: str, spec: MixerSpec, lengths: list[int], runs: int) -> list[dict[str, Any]]:
    model = Decoder(Architecture(64, WIDTH, (Layer(spec),), max(lengths))).eval()
    lines: list[dict[str, Any]] = []
    for length in lengths:
        line: dict[str, Any] = {"bench": "model scaling", "mixer": name, "length": length}
        formed = getattr(spec, "softcap", None) or getattr(spec, "window", None)
        if formed and 4 * HEADS * length**2 >= BUDGET_BYTES:
            lines.append(line | {"left_out": f"the scores alone take {BUDGET_BYTES >> 20} MiB"})
            continue
        ids = torch.randint(0, 64, (1, length), generator=torch.Generator().manual_seed(0))
        caches = [DecodeCache(model.architecture.windows()) for _ in range(runs + 1)]

        def forward(cache: DecodeCache, ids: torch.Tensor = ids) -> None:
            with torch.no_grad():
                model.hidden(ids, cache)

        line |= {
            "seconds": round(min(seconds_of(lambda c=c: forward(c)) for c in caches[1:]), 5),
            "peak_mb": round(peak_of(lambda c=caches[0]: forward(c)) / 1e6, 3),
            "cache_bytes": caches[0].num_bytes,
        }
        lines.append(line)
        print(json.dumps(line), flush=True)
    return lines


def measured_attention(name: str, lengths: list[int], runs: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for length in lengths:
        line: dict[str, Any] = {"bench": "model scaling", "mixer": name, "length": length}
        if name.startswith("standard") and 4 * HEADS * length**2 >= BUDGET_BYTES:
            lines.append(line | {"left_out": f"the scores alone take {BUDGET_BYTES >> 20} MiB"})
            continue
        generator = torch.Generator().manual_seed(0)
        qkv = [torch.randn(1, HEADS, length, HEAD, generator=generator, requires_grad=True) for _ in range(3)]

        def both(qkv: list[torch.Tensor] = qkv) -> None:
            torch.autograd.grad(ATTENTIONS[name](*qkv).sum(), qkv)

        line |= {
            "seconds": round(min(seconds_of(both) for _ in range(runs)), 5),
            "peak_mb": round(peak_of(both) / 1e6, 3),
            "cache_bytes": 0,
        }
        lines.append(line)
        print(json.dumps(line), flush=True)
    return lines


def slope(lines: list[dict[str, Any]], key: str) -> float | None:
    """Of log(value) over log(length) from the third longest to the longest text that was measured."""
    points = [(line["length"], line[key]) for line in lines if line.get(key)][-3:]
    if len(points) < 2:
        return None
    (a, x), (b, y) = points[0], points[-1]
    return round(math.log(y / x) / math.log(b / a), 2)


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    figure = Figure(figsize=(13, 5), layout="constrained")
    for axes, key in zip(figure.subplots(1, 3), ("seconds", "peak_mb", "cache_bytes"), strict=True):
        for n, name in enumerate(dict.fromkeys(line["mixer"] for line in lines)):
            points = [
                (p["length"], p[key]) for p in lines if p["mixer"] == name and p.get("length") and p.get(key)
            ]
            style = "--" if n >= 10 else "-"
            if points:
                axes.loglog(*zip(*points, strict=True), style, marker="o", markersize=3, label=name, base=2)
        axes.set(xlabel="tokens", title=key.replace("_", " "))
        axes.grid(alpha=0.3)
    figure.axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192])
    parser.add_argument("--only", nargs="+", choices=[*MIXERS, *ATTENTIONS], default=[*MIXERS, *ATTENTIONS])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the lines there, as a JSON list")
    parser.add_argument("--plot", type=Path, help="draw them there, as PNG, SVG or PDF")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    lines: list[dict[str, Any]] = [{"bench": "model scaling", "date": date, "width": WIDTH, "heads": HEADS, "threads": options.threads, "torch": torch.__version__}]  # fmt: skip
    for name in options.only:
        lengths, runs = sorted(options.lengths), options.runs
        found = measured(name, MIXERS[name], lengths, runs) if name in MIXERS else measured_attention(name, lengths, runs)  # fmt: skip
        summary = {"bench": "model scaling", "mixer": name, "time_slope": slope(found, "seconds"),
                   "memory_slope": slope(found, "peak_mb"), "cache_slope": slope(found, "cache_bytes")}  # fmt: skip
        print(json.dumps(summary), flush=True)
        lines += [*found, summary]
    if options.out:
        options.out.write_text("[\n" + ",\n".join(map(json.dumps, lines)) + "\n]\n", "utf-8")
    if options.plot:
        plot(lines[1:], options.plot)


if __name__ == "__main__":
    main()
