"""Where the time and memory of a training step go: torch.profiler around a few steps of the ordinary loop.

    operations    by their own time (without what they called): name, calls, milliseconds a step, share
    trace.json    Chrome trace: open in chrome://tracing or https://ui.perfetto.dev
    memory.jsonl  the timeline: microseconds since the start, bytes allocated since then, the operation at work

The profiler itself costs time: take the speed of the run from elsewhere. On a GPU the step is a range of its own in the
trace, and `nsys profile` sees it as an NVTX range with torch.autograd.profiler.emit_nvtx.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, record_function

from ownlm.errors import UsageError
from ownlm.records import StepRecord
from ownlm.runtime import files
from ownlm.train.batches import BatchAt
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

TRACE, MEMORY = "trace.json", "memory.jsonl"


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    calls_per_step: float
    milliseconds_per_step: float
    """Its own, without what it called; on the GPU where there is one."""
    share: float
    """Of all operations' own time."""
    bytes_per_step: float
    """Allocated less freed by itself."""


@dataclass(frozen=True, slots=True)
class Profile:
    num_steps: int
    milliseconds_per_step: float
    tokens_per_second: float
    peak_bytes: int
    """Most bytes allocated at once, above those held when the profile began (weights)."""
    peak_operation: str
    operations: tuple[Operation, ...]
    """By their own time, the longest first."""
    trace: Path
    memory: Path

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"trace": str(self.trace), "memory": str(self.memory)}


def profile(
    model: nn.Module,
    batch_at: BatchAt,
    config: TrainConfig,
    folder: Path,
    notice: Callable[[str], None],
    warm_up: int = 2,
) -> Profile:
    """Train config.num_steps steps, the first `warm_up` (compilation, caches) unseen; the model is trained by it.

    Raises UsageError when no step is left to look at.
    """
    if config.num_steps <= warm_up:
        raise UsageError("There is no step to profile.", f"{config.num_steps} steps, {warm_up} of them warm-up", "take more steps")  # fmt: skip
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    seen: list[StepRecord] = []
    # A folder of its own: an earlier profile's run would be gone on with.
    with tempfile.TemporaryDirectory() as run:
        records = train(model, batch_at, config, Path(run), notice)
        for _ in range(warm_up):
            next(records)
        with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
            while len(seen) < config.num_steps - warm_up:
                with record_function(f"ownlm step {warm_up + len(seen) + 1}"):
                    seen.append(next(records))
        records.close()  # type: ignore[attr-defined]
    trace, memory = folder / TRACE, folder / MEMORY
    profiler.export_chrome_trace(str(trace))
    timeline = _timeline(json.loads(trace.read_text(encoding="utf-8"))["traceEvents"])
    files.write_atomic(memory, "".join(json.dumps(row) + "\n" for row in timeline))
    peak = max(timeline, key=lambda row: row["bytes"], default=None)
    tokens = seen[-1].tokens / config.num_steps
    seconds = sum(record.seconds for record in seen) / len(seen)
    return Profile(len(seen), 1000 * seconds, tokens / seconds, int(peak["bytes"]) if peak else 0, str(peak["operation"]) if peak else "",
                   _operations(profiler.key_averages(), len(seen)), trace, memory)  # fmt: skip


def _operations(averages: Any, num_steps: int) -> tuple[Operation, ...]:
    rows = [row for row in averages if not row.key.startswith("ownlm step")]
    on_gpu = sum(row.self_device_time_total for row in rows) > 0
    times = [
        row.self_device_time_total if on_gpu else row.self_cpu_time_total for row in rows
    ]  # microseconds
    whole = sum(times) or 1.0
    found = [Operation(row.key, row.count / num_steps, time / 1000 / num_steps, time / whole,
                       row.self_cpu_memory_usage / num_steps) for row, time in zip(rows, times, strict=True)]  # fmt: skip
    return tuple(sorted(found, key=lambda one: -one.milliseconds_per_step))


def _timeline(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Allocations in order of time, each with the sum so far and the innermost operation it happened in."""
    changes = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    work = sorted(
        (e for e in events if e.get("ph") == "X" and e.get("cat") == "cpu_op"), key=lambda e: e["ts"]
    )
    rows: list[dict[str, Any]] = []
    open_: list[dict[str, Any]] = []
    total = place = 0
    start = changes[0]["ts"] if changes else 0
    for change in changes:
        while place < len(work) and work[place]["ts"] <= change["ts"]:
            open_.append(work[place])
            place += 1
        open_ = [one for one in open_ if one["ts"] + one["dur"] >= change["ts"]]
        mine = [one for one in open_ if one.get("tid") == change.get("tid")] or open_
        total += int(change["args"]["Bytes"])
        rows.append({"microseconds": round(change["ts"] - start), "bytes": total, "operation": mine[-1]["name"] if mine else ""})  # fmt: skip
    return rows
