"""Tensors as bytes: blocks of 256 entries, each scaled by its largest, each entry one of 256 values.

    value ~ scale[block] * TABLE[code]

The table is dense near zero: seven decades, 1 / 10 of the range to the next lower one, and each lower decade has half
as many steps (Dettmers et al. 2022, arXiv:2110.02861, section 1.3 "dynamic tree quantization", 2.1 and 2.2).
Letters: N entries, K blocks = N / 256 rounded up, the last one filled with zeros.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 256
"""Entries with a common scale. The paper has 2048; bitsandbytes went to 256, which costs 1.2 % more memory."""


@cache
def table(signed: bool, device: str = "cpu") -> Tensor:
    """[256] float32, rising: 0, 1, and the middles of 2^b equal steps of (0.1, 1] 10^-e for e = 0 .. 6.

    Signed: b = 6 - e and both signs; unsigned: b = 7 - e, the sign's bit goes into the steps.
    """
    values = [torch.tensor([0.0, 1.0], dtype=torch.float64)]
    for e in range(7):
        edges = torch.linspace(0.1, 1.0, 2 ** ((6 if signed else 7) - e) + 1, dtype=torch.float64)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0**-e
        values += [middles, -middles] if signed else [middles]
    return torch.cat(values).sort().values.float().to(device)


@cache
def _boundaries(signed: bool, device: str) -> Tensor:
    """[255]: half way between neighbours."""
    values = table(signed, device)
    return (values[1:] + values[:-1]) / 2


def num_blocks(num_entries: int) -> int:
    return -(-num_entries // BLOCK)


def quantize(x: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    """float32 [N] -> codes uint8 [K, 256], scales float32 [K, 1], each value rounded to the nearest of the table.

    Unsigned: what is above zero never becomes zero. A second moment of zero beside a first moment that is not would
    divide by nothing (deviation: the paper rounds to nearest everywhere).
    """
    blocks = functional.pad(x, (0, num_blocks(x.numel()) * BLOCK - x.numel())).view(-1, BLOCK)
    scales = blocks.abs().amax(1, keepdim=True)
    share = blocks / scales.clamp(min=torch.finfo(torch.float32).tiny)
    codes = torch.bucketize(share, _boundaries(signed, str(x.device)), out_int32=True)
    if not signed:
        codes = torch.maximum(codes, (blocks > 0).int())
    return codes.to(torch.uint8), scales


def dequantize(codes: Tensor, scales: Tensor, signed: bool, num_entries: int) -> Tensor:
    """float32 [num_entries]: the inverse of `quantize`, but for rounding."""
    values = table(signed, str(codes.device))[codes.int()] * scales  # [K,256]
    return values.view(-1)[:num_entries]
