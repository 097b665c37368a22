"""FlashAttention: equal to standard attention, forward and backward, in linear memory; the Triton kernel too."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ownlm.errors import MissingDependency, UsageError
from ownlm.model.attention.flash import flash_attention, flash_forward, flash_traffic, standard_traffic, tiles
from ownlm.model.attention.flash_triton import flash_attention_triton
from ownlm.model.attention.scaled_dot_product import attention, causal

SHAPES = [  # B, H, K, T, L, C, block_q, block_k
    (2, 4, 2, 37, 37, 8, 16, 8),
    (1, 3, 1, 1, 1, 5, 16, 16),
    (1, 2, 2, 5, 23, 4, 2, 7),
    (2, 6, 3, 33, 33, 16, 64, 5),
    (1, 1, 1, 16, 16, 1, 4, 4),
    (1, 2, 1, 1, 19, 8, 8, 8),
]


def random(
    B: int, H: int, K: int, T: int, L: int, C: int, kind: torch.dtype, seed: int = 0
) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(B, n, t, C, generator=g, dtype=torch.float64).to(kind).requires_grad_()
        for n, t in ((H, T), (K, L), (K, L))
    ]


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def standard(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, is_causal: bool) -> torch.Tensor:
    G = q.shape[1] // k.shape[1]
    mask = causal(q.shape[2], k.shape[2]) if is_causal else None
    return attention(q, k.repeat_interleave(G, 1), v.repeat_interleave(G, 1), mask)[0]


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_standard_attention_forward_and_backward(shape: Any, is_causal: bool, kind: torch.dtype, near: float) -> None:  # fmt: skip
    *sizes, block_q, block_k = shape
    q, k, v = random(*sizes, kind)
    found = flash_attention(q, k, v, causal=is_causal, block_q=block_q, block_k=block_k)
    expected = standard(q, k, v, is_causal)
    torch.testing.assert_close(found, expected, rtol=0, atol=near)
    g = torch.randn(found.shape, dtype=kind, generator=torch.Generator().manual_seed(1))
    for a, b in zip(
        torch.autograd.grad(found, (q, k, v), g), torch.autograd.grad(expected, (q, k, v), g), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=near * 10)


def test_it_is_torchs_and_large_scores_do_not_overflow() -> None:
    q, k, v = random(1, 2, 2, 40, 40, 8, torch.float64)
    found = flash_attention(q * 100, k * 100, v, block_q=16, block_k=16)
    expected = F.scaled_dot_product_attention(q * 100, k * 100, v, is_causal=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_causal", [True, False])
def test_gradcheck(is_causal: bool) -> None:
    q, k, v = random(1, 2, 1, 5, 7, 3, torch.float64)
    assert torch.autograd.gradcheck(
        lambda q, k, v: flash_attention(q, k, v, causal=is_causal, block_q=2, block_k=3), (q, k, v)
    )


def test_bf16_stays_bf16_and_near() -> None:
    q, k, v = random(1, 2, 1, 30, 30, 16, torch.bfloat16)
    found = flash_attention(q, k, v, block_q=8, block_k=8)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), standard(q.float(), k.float(), v.float(), True), rtol=0, atol=2e-2
    )
    assert all(g.dtype == torch.bfloat16 for g in torch.autograd.grad(found.sum(), (q, k, v)))


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else [out]:
            if isinstance(t, torch.Tensor):
                self.numel = max(self.numel, t.numel())
        return out


@pytest.mark.parametrize("is_causal", [True, False])
def test_no_tensor_grows_with_the_square(is_causal: bool) -> None:
    largest = {}
    for T in (128, 256):
        q, k, v = random(1, 2, 1, T, T, 4, torch.float32)
        with Largest() as seen:
            flash_attention(q, k, v, causal=is_causal, block_q=16, block_k=16).sum().backward()
        largest[T] = seen.numel
        with Largest() as square:
            standard(q, k, v, is_causal).sum().backward()
        assert square.numel >= 2 * T * T
    assert largest[128] <= 2 * 128 * 4 and largest[256] <= 2 * 256 * 4, "nothing is larger than q itself"


def test_causal_tiles_above_the_diagonal_are_skipped() -> None:
    assert len(list(tiles(64, 64, True, 16, 16))) == 10 and len(list(tiles(64, 64, False, 16, 16))) == 16
    assert sum(t.masked for t in tiles(64, 64, True, 16, 16)) == 4


def test_traffic() -> None:
    assert standard_traffic(8, 8, 2) == (16 + 32 + 128, 128 + 16, 4 * 64 * 2)
    found = flash_traffic(8, 8, 2, causal=False, block_q=4, block_k=2)
    assert found == (16 + 2 * (2 * 8 * 2), 8 * 3, 4 * 64 * 2), (
        "k and v once per row of tiles; as many products"
    )
    large, standard_large = flash_traffic(4096, 4096, 64, causal=False, block_q=256, block_k=64), standard_traffic(4096, 4096, 64)  # fmt: skip
    assert large.read + large.written < (standard_large.read + standard_large.written) / 5


@pytest.mark.parametrize(
    ("q", "k", "options"),
    [
        ((1, 3, 4, 8), (1, 2, 4, 8), {}),
        ((1, 2, 5, 8), (1, 2, 4, 8), {}),
        ((1, 2, 4, 8), (1, 2, 4, 6), {}),
        ((1, 2, 4, 8), (1, 2, 4, 8), {"block_q": 0}),
    ],
)
def test_what_does_not_fit_is_refused(q: Any, k: Any, options: Any) -> None:
    with pytest.raises(UsageError):
        flash_attention(torch.zeros(q), torch.zeros(k), torch.zeros(k), **options)


KERNEL = """
import torch
from ownlm.errors import UsageError
from ownlm.model.attention.flash import flash_attention
from ownlm.model.attention.flash_triton import flash_attention_triton
device = {device!r}
for seed, (B, H, K, T, L, C, causal, kind, near) in enumerate([
    (2, 4, 2, 37, 37, 8, True, torch.float32, 1e-5), (1, 2, 1, 17, 33, 24, True, torch.float32, 1e-5),
    (1, 2, 2, 33, 17, 16, False, torch.float32, 1e-5), (1, 2, 1, 1, 1, 5, True, torch.float32, 1e-5),
    (1, 2, 1, 18, 35, 16, True, torch.bfloat16, 2e-2), (1, 3, 3, 19, 17, 20, False, torch.bfloat16, 2e-2),
    (2, 1, 1, 17, 17, 70, True, torch.float16, 1e-2),
]):
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(B, n, t, C, generator=g).to(device, kind).requires_grad_() for n, t in ((H, T), (K, L), (K, L)))
    a = flash_attention_triton(q, k, v, causal=causal, scale=0.3, block_q=32 if seed % 2 else 16, block_k=16)
    b = flash_attention(q.float(), k.float(), v.float(), causal=causal, scale=0.3)
    assert a.dtype == kind
    torch.testing.assert_close(a.float(), b, rtol=0, atol=near)
    # A gradient that is not contiguous, as a transpose behind attention gives it.
    grad = torch.randn(B, T, H, C, generator=g).to(device, kind).transpose(1, 2)
    for x, y in zip(torch.autograd.grad(a, (q, k, v), grad), torch.autograd.grad(b, (q, k, v), grad.float())):
        assert x.dtype == kind
        torch.testing.assert_close(x, y, rtol=0, atol=10 * near)
many = [q.float() * 10, k.float() * 10, v.float()]  # the exponential of such scores is infinite
torch.testing.assert_close(flash_attention_triton(*many, causal=False, block_q=16, block_k=16), flash_attention(*many, causal=False), rtol=0, atol=1e-3)
try:
    flash_attention_triton(q, k.float(), v)
except UsageError:
    print("kernel agrees")
"""


def test_without_triton_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "ownlm.model.attention.flash_kernels", raising=False)
    x = torch.zeros(1, 1, 2, 16)
    with pytest.raises(MissingDependency, match="pip install triton"):
        flash_attention_triton(x, x, x)


def run_kernel(device: str, interpret: bool) -> None:
    """In a process of its own: Triton reads the switch when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1" if interpret else "0"}
    done = subprocess.run([sys.executable, "-c", KERNEL.format(device=device)], env=environment, capture_output=True, text=True, timeout=250)  # fmt: skip
    assert done.returncode == 0 and "kernel agrees" in done.stdout, done.stderr


def test_the_kernel_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="the kernel needs Triton")
    run_kernel("cpu", interpret=True)


@pytest.mark.gpu
def test_the_kernel_on_a_gpu() -> None:
    pytest.importorskip("triton", reason="the kernel needs Triton")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    run_kernel("cuda", interpret=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forward", "backward_q", "backward_kv"])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(name: str, tmp_path: Path) -> None:
    """What the interpreter forgives (types, shapes, shared memory) the compiler for compute capability 8.0 does not."""
    pytest.importorskip("triton", reason="the kernel needs Triton")
    code = COMPILE.format(name=name)
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=250)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) <= 99 * 1024, "bytes of shared memory: those of the smallest consumer GPUs"


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ownlm.model.attention import flash_kernels
kernel = flash_kernels.{name}
constants = dict(C=64, WIDTH=64, BLOCK_Q=64, BLOCK_K=32, CAUSAL=True, WIDEN=False)
kinds = dict(T="i32", L="i32", H="i32", G="i32", scale="fp32", lse_ptr="*fp32", d_ptr="*fp32")
signature = {{n: "constexpr" if n in constants else kinds.get(n, "*bf16") for n in kernel.arg_names}}
values = {{(kernel.arg_names.index(n),): v for n, v in constants.items()}}
made = triton.compile(ASTSource(kernel, signature, values), target=GPUTarget("cuda", 80, 32), options=dict(num_warps=4, num_stages=2))
print(made.metadata.shared)
"""


def test_values_may_be_of_another_width_than_keys() -> None:
    q, k, v = draw(1, 4, 9, 3), draw(1, 2, 12, 3, seed=2), draw(1, 2, 12, 5, seed=3)
    found = flash_attention(q, k, v, block_q=4, block_k=4)
    torch.testing.assert_close(found, standard(q, k, v, True), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda *x: flash_attention(*x, block_q=4, block_k=4), [x[:, :, :4].requires_grad_() for x in (q, k, v)])  # fmt: skip


def test_the_logsumexp_of_each_row() -> None:
    q, k, v = draw(1, 2, 21, 8), draw(1, 2, 30, 8, seed=2), draw(1, 2, 30, 8, seed=3)
    scores = (q @ k.transpose(-1, -2) * 0.5).masked_fill(~causal(21, 30), -torch.inf)
    found = flash_forward(q, k, v, causal=True, scale=0.5, block_q=4, block_k=8)[1]
    torch.testing.assert_close(found, scores.logsumexp(-1), rtol=0, atol=1e-12)


def test_what_is_saved_for_the_backward_is_linear() -> None:
    def saved(T: int) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (sizes.append(x.numel()), x)[1], lambda x: x):
            flash_attention(*random(1, 2, 1, T, T, 8, torch.float32), block_q=32, block_k=32)
        return sum(sizes)

    assert saved(100) == 100 * (2 * 8 + 8 + 8 + 2 * 8 + 2), "q, k, v, the output and a number per row"
    assert saved(200) == 2 * saved(100)


@pytest.mark.parametrize(("T", "L", "block_q", "block_k"), [(33, 33, 8, 4), (10, 25, 3, 7), (1, 1, 5, 5), (12, 12, 4, 4)])  # fmt: skip
def test_tiles_cover_what_may_be_seen_exactly_once(T: int, L: int, block_q: int, block_k: int) -> None:
    visited = torch.zeros(T, L, dtype=torch.long)
    for tile in tiles(T, L, True, block_q, block_k):
        part = causal(T, L)[tile.rows, tile.columns]
        assert part.any(), "an empty tile was not skipped"
        assert tile.masked == (not part.all())
        visited[tile.rows, tile.columns] += 1
    assert visited.max() == 1 and bool((visited.bool() | ~causal(T, L)).all())


@pytest.mark.parametrize("is_causal", [True, False])
def test_the_counted_operations_are_those_that_torch_counts(is_causal: bool) -> None:
    with FlopCounterMode(display=False) as counter:
        flash_attention(
            *(draw(1, 1, 50, 16, seed=s) for s in range(3)), causal=is_causal, block_q=16, block_k=8
        )
    assert (
        counter.get_total_flops() == flash_traffic(50, 50, 16, causal=is_causal, block_q=16, block_k=8).flops
    )
