"""A seeded permutation of 0 .. n - 1 in constant memory: any place of it in O(1).

A Feistel network of eight rounds over the next even number of bits, walked until it lands below n (Black & Rogaway
2002, "Ciphers with Arbitrary Finite Domains"): at most four steps on average. Not for secrets.
"""

from __future__ import annotations

import numpy as np

from ownlm.runtime.seed import generator

_ROUNDS = 8


class Permutation:
    """`of(places)` is a bijection of 0 .. size - 1, another one for every seed and name."""

    def __init__(self, size: int, seed: int, *names: str | int) -> None:
        if size < 1:
            raise ValueError(f"a permutation of {size} things")
        self.size = size
        half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._half = np.uint64(half)
        self._mask = np.uint64((1 << half) - 1)
        self._keys = generator(seed, "permutation", *names).integers(0, 1 << 63, _ROUNDS, np.uint64)

    def of(self, places: np.ndarray) -> np.ndarray:
        """What stands at these places, int64 of the same shape; places must be in 0 .. size - 1."""
        value = self._once(np.asarray(places).astype(np.uint64))
        outside = value >= self.size
        while outside.any():
            value[outside] = self._once(value[outside])
            outside = value >= self.size
        return value.astype(np.int64)

    def _once(self, value: np.ndarray) -> np.ndarray:
        left, right = value >> self._half, value & self._mask
        for key in self._keys:
            scrambled = (right ^ key) * np.uint64(0x9E3779B97F4A7C15)
            scrambled = (scrambled ^ (scrambled >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
            left, right = right, left ^ ((scrambled >> np.uint64(32)) & self._mask)
        return np.asarray((left << self._half) | right)
