"""FlashAttention on CUDA GPUs by Triton kernels, forward and backward (or in Triton's interpreter, to test them).

The algorithm is explained in flash.py, which these kernels are held against; they are in flash_kernels.py. The
everyday path is torch's scaled_dot_product_attention. Triton is looked for when `flash_attention_triton` is called.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ownlm.errors import MissingDependency, UsageError
from ownlm.model.attention.flash import check_shapes

WIDEST = 256
"""Head widths beyond do not fit the registers."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def flash_attention_triton(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, scale: float | None = None, block_q: int = 64, block_k: int = 32
) -> Tensor:  # fmt: skip
    """As `flash_attention`: q [B, H, T, C], k and v [B, K, L, C] -> [B, H, T, C] in q's dtype, sums in float32.

    float32 (products in full precision, no TF32), float16 or bfloat16, all three alike. Tiles are powers of two from 16.
    Raises MissingDependency without Triton, UsageError for another dtype, device, tile or C above 256.
    """
    check_shapes(q, k, v, causal)
    kinds, devices = {q.dtype, k.dtype, v.dtype}, {q.device, k.device, v.device}
    if len(kinds) > 1 or q.dtype not in DTYPES:
        raise UsageError("The kernel takes one dtype.", str(kinds), "give q, k and v as float32, float16 or bfloat16")  # fmt: skip
    if q.shape[-1] > WIDEST or v.shape[-1] != q.shape[-1]:
        raise UsageError("The kernel has no such head width.", f"q {q.shape[-1]}, v {v.shape[-1]}", f"equal ones up to {WIDEST}")  # fmt: skip
    if any(b < 16 or b & (b - 1) for b in (block_q, block_k)):
        raise UsageError("Tiles are powers of two from 16.", f"block_q = {block_q}, block_k = {block_k}", "correct them")  # fmt: skip
    kernels = _kernels()
    if len(devices) > 1 or q.is_cuda == kernels.INTERPRETED:
        where = "the CPU: TRITON_INTERPRET is set" if kernels.INTERPRETED else "a CUDA GPU"
        raise UsageError(f"The kernel runs on {where}.", f"tensors on {', '.join(sorted(map(str, devices)))}", "move them there, or use flash_attention")  # fmt: skip
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out: Tensor = _FlashTriton.apply(q.contiguous(), k.contiguous(), v.contiguous(), causal, scale, block_q, block_k)  # type: ignore[no-untyped-call]  # fmt: skip
    return out


def _kernels() -> Any:
    try:
        from ownlm.model.attention import flash_kernels
    except ImportError as error:
        raise MissingDependency("The GPU kernel needs Triton.", str(error), "pip install triton") from error
    return flash_kernels


class _FlashTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, block_q: int, block_k: int) -> Tensor:  # fmt: skip
        B, H, T, _ = q.shape
        out = torch.empty_like(q)
        logsumexp = torch.empty(B, H, T, dtype=torch.float32, device=q.device)
        kernel, options = _kernels().forward, _options(q, causal, block_q, block_k)
        kernel[(-(-T // block_q), B * H)](q, k, v, out, logsumexp, *_sizes(q, k), scale, **options)
        ctx.save_for_backward(q, k, v, out, logsumexp)
        ctx.options = causal, scale, block_q, block_k
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, logsumexp = ctx.saved_tensors
        causal, scale, block_q, block_k = ctx.options
        grad = grad.contiguous()
        d = torch.linalg.vecdot(grad.float(), out.float())  # [B,H,T]
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        # Four tiles of both sides are held at once where the forward holds three, so that wide ones are cut.
        most = 64 if q.shape[-1] <= 64 else 32 if q.shape[-1] <= 128 else 16
        block_q, block_k = min(block_q, most), min(block_k, most)
        given = (q, k, v, grad, logsumexp, d)
        kernels, sizes, options = _kernels(), _sizes(q, k), _options(q, causal, block_q, block_k)
        (B, H, T, _), (_, K, L, _) = q.shape, k.shape
        kernels.backward_q[(-(-T // block_q), B * H)](*given, dq, *sizes, scale, **options)
        kernels.backward_kv[(-(-L // block_k), B * K)](*given, dk, dv, *sizes, scale, **options)
        return dq, dk, dv, None, None, None, None


def _sizes(q: Tensor, k: Tensor) -> tuple[int, int, int, int]:
    """T, L, H, G."""
    return q.shape[2], k.shape[2], q.shape[1], q.shape[1] // k.shape[1]


def _options(q: Tensor, causal: bool, block_q: int, block_k: int) -> dict[str, Any]:
    C = q.shape[-1]
    # Copying the next tile while this one is worked on doubles the fast memory taken: not where heads are wide.
    stages = 2 if C * q.element_size() <= 256 else 1
    return {"C": C, "WIDTH": max(16, 1 << (C - 1).bit_length()), "BLOCK_Q": block_q, "BLOCK_K": block_k, "CAUSAL": causal,
            "WIDEN": _kernels().INTERPRETED and q.dtype == torch.bfloat16, "num_warps": 4, "num_stages": stages}  # fmt: skip
