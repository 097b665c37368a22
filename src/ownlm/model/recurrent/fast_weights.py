"""A small network whose weights are the state: each token takes a gradient step on it, all of a chunk at once.

Gradients of a chunk are taken at the weights W' where the chunk began, so they do not wait for each other. Token t
then reads with weights that are a fixed combination of W', a momentum S' and the gradients of tokens i <= t:

    S_t = m_t S_{t-1} - r_t grad_t            (momentum m, rate r)
    W_t = f_t W_{t-1} + S_t                   (keeping f)
        = F_t W_now + M_t S_now - sum_i A_ti r_i grad_i

and because grad_i = x_i d_i^T is of rank one, x W_t = F_t x W_now + M_t x S_now - sum_i A_ti r_i (x . x_i) d_i: products
over c x c tokens, no weight per token is ever formed. This is the dual form (Sun et al. 2024, arXiv:2407.04620,
section 2.5), with momentum and forgetting as in Titans (Behrouz et al. 2025, arXiv:2501.00663, section 3.2).

The network has one or two layers, GELU between them. With `bias` each layer has a further row for an input of ones.

Letters: B batch, H heads, T tokens of a piece of a chunk, I inputs and O outputs of a layer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ownlm.model.recurrent.chunked import sums_between

Weights = tuple[Tensor, ...]
"""Of each layer, [B, H, I, O]; I counts the ones of a bias."""


class Steps(NamedTuple):
    """What the rules of a piece of T tokens come to, for the T tokens (rows) and for what is left at the end."""

    weight: Tensor  # F_t: share of W_now in W_t, [B, H, T]
    momentum: Tensor  # M_t: share of S_now in W_t, [B, H, T]
    written: Tensor  # A_ti r_i: share of -grad_i in W_t, zero for i > t, [B, H, T, T]
    momentum_left: Tensor  # share of S_now in S_T, [B, H]
    momentum_written: Tensor  # share of -grad_i in S_T, [B, H, T]


class Learned(NamedTuple):
    """What reading and writing need to know of a chunk's gradients: of each layer inputs x_i and deltas d_i."""

    inputs: tuple[Tensor, ...]  # [B, H, T, I]
    deltas: tuple[Tensor, ...]  # [B, H, T, O]


class FastState(NamedTuple):
    """Of one layer of the model between two pieces."""

    start: Weights  # W': where the chunk began, gradients are taken there
    now: Weights
    momentum: Weights  # () where there is none
    n: int  # tokens of the chunk so far


def plain_steps(rate: Tensor) -> Steps:
    """Neither momentum nor forgetting: rate [B, H, T]."""
    T = rate.shape[-1]
    ones, zeros = torch.ones_like(rate), torch.zeros_like(rate)
    written = rate[:, :, None, :].expand(-1, -1, T, T).tril()
    return Steps(ones, zeros, written, zeros[..., 0], zeros)


def momentum_steps(rate: Tensor, log_momentum: Tensor, log_keep: Tensor) -> Steps:
    """rate r, log m and log f, each [B, H, T]."""
    m, f = log_momentum.cumsum(-1), log_keep.cumsum(-1)
    arrives = sums_between(log_momentum).exp()  # [B,H,T,T]: what of grad_i is still in S_j
    stays = sums_between(log_keep).exp()  # what of S_j is still in W_t
    all_written = stays @ arrives  # sum over j from i to t
    momentum = (stays @ m.exp()[..., None])[..., 0]
    return Steps(
        f.exp(), momentum, all_written * rate[:, :, None, :], m[..., -1].exp(), arrives[:, :, -1] * rate
    )


def with_ones(x: Tensor, bias: bool) -> Tensor:
    """[..., I] -> [..., I+1] where the layers have a bias."""
    return F.pad(x, (0, 1), value=1.0) if bias else x


def forward(weights: Weights, x: Tensor, bias: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """x [B, H, T, I] through fixed weights: the inputs and the outputs (before the GELU) of each layer."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for weight in weights:
        inputs.append(with_ones(F.gelu(outputs[-1]) if outputs else x, bias))
        outputs.append(inputs[-1] @ weight)
    return tuple(inputs), tuple(outputs)


def deltas(weights: Weights, outputs: tuple[Tensor, ...], last: Tensor, bias: bool) -> tuple[Tensor, ...]:
    """Derivatives of the loss by each layer's output, given that of the last, [B, H, T, O]: backpropagation."""
    found = [last]
    for weight, output in zip(reversed(weights[1:]), reversed(outputs[:-1]), strict=True):
        down = found[0] @ (weight[:, :, :-1] if bias else weight).transpose(-1, -2)
        found.insert(0, down * gelu_slope(output))
    return tuple(found)


def gelu_slope(x: Tensor) -> Tensor:
    """Derivative of x Phi(x), Phi the normal distribution: Phi(x) + x phi(x)."""
    bell = (-0.5 * x.square()).exp() / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * bell


def read(state: FastState, learned: Learned, steps: Steps, x: Tensor, bias: bool) -> Tensor:
    """x [B, H, T, I], each token with its own weights W_t -> [B, H, T, O]."""
    for n, weight in enumerate(state.now):
        x = with_ones(F.gelu(x) if n else x, bias)
        out = steps.weight[..., None] * (x @ weight)
        if state.momentum:
            out = out + steps.momentum[..., None] * (x @ state.momentum[n])
        x = out - (x @ learned.inputs[n].transpose(-1, -2) * steps.written) @ learned.deltas[n]
    return x


def advance(state: FastState, learned: Learned, steps: Steps, full: bool) -> FastState:
    """The state after these tokens; where they fill their chunk, the next one's gradients start from there."""
    now, momentum = [], []
    for n, weight in enumerate(state.now):
        x, d = learned.inputs[n].transpose(-1, -2), learned.deltas[n]  # [B,H,I,T], [B,H,T,O]
        step = steps.weight[:, :, -1, None, None] * weight - (x * steps.written[:, :, -1, None, :]) @ d
        if state.momentum:
            step = step + steps.momentum[:, :, -1, None, None] * state.momentum[n]
            left = steps.momentum_left[..., None, None] * state.momentum[n]
            momentum.append(left - (x * steps.momentum_written[:, :, None, :]) @ d)
        now.append(step)
    start = tuple(now) if full else state.start
    return FastState(start, tuple(now), tuple(momentum), 0 if full else state.n + learned.deltas[0].shape[2])
