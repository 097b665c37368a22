"""One seed, as many independent random streams as there are names. Never Python's global generator."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream of that name: SHA-256 of the length-prefixed parts."""
    parts = [str(seed), *map(str, names)]
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(joined.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *names))
