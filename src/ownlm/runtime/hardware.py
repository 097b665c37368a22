"""What this machine is: read from the operating system, without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# /proc/cpuinfo flag -> the name people use
_ISA = {
    "avx2": "AVX2", "fma": "FMA", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16",
    "amx_bf16": "AMX-BF16", "amx_int8": "AMX-INT8", "asimd": "NEON", "bf16": "BF16", "i8mm": "I8MM",
}  # fmt: skip
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Facts of the machine. Sizes in bytes."""

    system: str
    processor: str
    cores: int  # usable by this process
    memory: int  # total, lowered to a container's limit where there is one
    isa: tuple[str, ...]
    python: str
    torch: str | None  # version, None when not installed
    gpus: tuple[str, ...]
    compiler: str | None
    browser: str | None

    @property
    def has_bf16(self) -> bool:
        return "BF16" in self.isa or "AMX-BF16" in self.isa

    def as_dict(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


def _cpuinfo() -> tuple[str, tuple[str, ...]]:
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags |= set(value.split())
    except OSError:
        pass  # not Linux: the name is all there is
    return name, tuple(dict.fromkeys(label for flag, label in _ISA.items() if flag in flags))


def _memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        return min(total, int(limit)) if limit != "max" else total
    except (OSError, ValueError):
        return total


def _gpus() -> tuple[str, ...]:
    """Names of NVIDIA GPUs as the driver lists them, without starting CUDA."""
    found = []
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Model:"):
                found.append(line.partition(":")[2].strip())
    return tuple(found)


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def facts() -> Hardware:
    processor, isa = _cpuinfo()
    affinity = getattr(os, "sched_getaffinity", None)
    return Hardware(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor,
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        memory=_memory(),
        isa=isa,
        python=sys.version.split()[0],
        torch=version_of("torch"),
        gpus=_gpus(),
        compiler=next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None),
        browser=next((path for name in _BROWSERS if (path := shutil.which(name))), None),
    )
