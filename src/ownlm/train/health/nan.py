"""Where the first number that is not finite comes from: weight, module, operation, forward or backward.

One batch is computed once more under a detector that looks at the result of every operation:

    the first operation whose inputs hold no NaN and whose output does (or no infinity, and then one)

Deliberate infinities (a mask's -inf) come in as constants, and so are nobody's fault. A module is the innermost one at
work; in the backward, the one whose forward made the node of the graph. What belongs to no module is "the loss".
Ten to a hundred times slower than a step, and never run before something was found wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

OUTSIDE = "the loss"
_MAKERS = ("empty", "full", "scalar_tensor", "fill", "masked_fill", "new_", "lift", "_to_copy_meta")
"""Operations whose output is a constant, or not yet written."""


@dataclass(frozen=True, slots=True)
class Origin:
    phase: Literal["weights", "forward", "backward"]
    module: str
    operation: str
    what: Literal["NaN", "infinity"]
    shape: tuple[int, ...]
    count: int
    """Numbers that are not finite."""

    def __str__(self) -> str:
        if self.phase == "weights":
            return (
                f"{self.count:,} of the numbers of weight {self.module} are not finite, before the step began"
            )
        many = f"{self.count:,} numbers of {list(self.shape)}"
        return f"the first {self.what} is in {self.module}, operation {self.operation}, {self.phase} ({many})"


def locate(model: nn.Module, compute: Callable[[], Tensor]) -> Origin | None:
    """`compute` gives the scalar whose backward is run; None: everything was finite this time.

    Leaves gradients and torch's generator as they were. The model must be eager.
    """
    for name, weight in model.named_parameters():
        if not bool(weight.detach().isfinite().all()):
            return _origin("weights", name, "", weight.detach())
    before = [weight.grad for weight in model.parameters()]
    state = torch.get_rng_state()
    for weight in model.parameters():
        weight.grad = None
    detector = _Detector()
    try:
        with _followed(model, detector), detector:
            loss = compute()
            detector.label(loss, OUTSIDE)
            detector.backward = True
            if detector.found is None and loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for weight, gradient in zip(model.parameters(), before, strict=True):
            weight.grad = gradient
        torch.set_rng_state(state)
    return detector.found


class _Detector(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Origin | None = None
        self.inside: list[str] = []  # modules at work, innermost last
        self.makers: dict[Any, str] = {}  # node of the graph -> module
        self.backward = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.found is not None:
            return func(*args, **kwargs)
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        had_nan, had_infinity = _has(inputs)  # before the operation: it may work in place
        result = func(*args, **kwargs)
        name = func.name()
        if not name.removeprefix("aten::").startswith(_MAKERS):
            outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            has_nan, has_infinity = _has(outputs)
            if (has_nan and not had_nan) or (has_infinity and not had_infinity and not had_nan):
                bad = next(t for t in outputs if t.is_floating_point() and not bool(t.isfinite().all()))
                self.found = _origin("backward" if self.backward else "forward", self._where(), name, bad)
        return result

    def _where(self) -> str:
        if not self.backward:
            return self.inside[-1] if self.inside else OUTSIDE
        node = torch._C._current_autograd_node()
        return self.inside[-1] if self.inside else self.makers.get(node, OUTSIDE)

    def label(self, output: Any, module: str) -> None:
        """Nodes behind `output` that no inner module has claimed are this module's."""
        waiting = [t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn is not None]
        while waiting:
            node: Any = waiting.pop()
            if node is not None and node not in self.makers:
                self.makers[node] = module
                waiting.extend(following for following, _ in node.next_functions)


@contextmanager
def _followed(model: nn.Module, detector: _Detector) -> Iterator[None]:
    """Inside, the detector knows which module is at work."""
    handles = []
    for path, module in model.named_modules():
        path = path or type(model).__name__

        def enter(module: nn.Module, args: Any, path: str = path) -> None:
            detector.inside.append(path)

        def leave(module: nn.Module, args: Any, output: Any, path: str = path) -> None:
            detector.label(output, path)
            detector.inside.pop()

        handles.append(module.register_forward_pre_hook(enter, prepend=True))
        handles.append(module.register_forward_hook(leave))  # after hooks that were there: theirs is inside
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _has(tensors: list[Tensor]) -> tuple[bool, bool]:
    """(a NaN, an infinity) anywhere."""
    nan = infinity = False
    for t in tensors:
        if t.is_floating_point() and t.numel() and t.device.type != "meta":
            nan, infinity = nan or bool(t.isnan().any()), infinity or bool(t.isinf().any())
    return nan, infinity


def _origin(phase: Literal["weights", "forward", "backward"], module: str, operation: str, bad: Tensor) -> Origin:  # fmt: skip
    what: Literal["NaN", "infinity"] = "NaN" if bool(bad.isnan().any()) else "infinity"
    return Origin(phase, module, operation, what, tuple(bad.shape), int((~bad.isfinite()).sum()))
