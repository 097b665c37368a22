"""Named points inside a model where one can look or intervene, at no cost while nobody does.

A name is the path of a module, then the point: `blocks.3.mixer.pattern`. Every submodule's output is a point under
the submodule's own name (`blocks.3.mixer.q`); values that are no submodule's output are declared in `POINTS` of a
`Tapped` module, with their shape, and pass through its `tap`.

    with hooked(model, {"blocks.3.mixer.pattern": print, "blocks.0.residual_out": lambda x: x * 0}):
        model(ids)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn

from ownlm.errors import UsageError

Hook = Callable[[Tensor], Tensor | None]
"""Gets the value; returns None to leave it, or the value to go on with."""


class Tapped(nn.Module):
    """A module with named inner values: `x = self.tap("name", x)` in its forward, `POINTS = {"name": "B T D"}`."""

    POINTS: ClassVar[Mapping[str, str]] = {}

    taps: Mapping[str, Hook] | None = None

    def tap(self, name: str, value: Tensor) -> Tensor:
        if self.taps is None or name not in self.taps:
            return value
        changed = self.taps[name](value)
        return value if changed is None else changed

    def watched(self, name: str) -> bool:
        """Whether somebody looks at this point: then it must be computed, even on a path that never forms it."""
        return self.taps is not None and name in self.taps


def points(model: nn.Module) -> dict[str, str]:
    """Every point of the model with its shape; a submodule's output has the shape "", see its class."""
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        if path:
            found[path] = ""
        if isinstance(module, Tapped):
            found |= {f"{path}.{name}" if path else name: shape for name, shape in module.POINTS.items()}
    return found


@contextmanager
def hooked(model: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Inside, every value of these points goes through its hook. Raises UsageError for an unknown name."""
    known = points(model)
    for name in hooks:
        if name not in known:
            near = [k for k in known if k.endswith(name.rsplit(".", 1)[-1])][:5]
            raise UsageError("The model has no such point.", repr(name), f"for example {', '.join(near or list(known)[:5])}")  # fmt: skip
    modules = dict(model.named_modules())
    with ExitStack() as stack:
        inner: dict[Tapped, dict[str, Hook]] = {}
        for name, hook in hooks.items():
            if name in modules:
                stack.callback(modules[name].register_forward_hook(_as_forward_hook(hook)).remove)
                continue
            path, _, point = name.rpartition(".")
            owner = modules[path]
            if isinstance(owner, Tapped):
                inner.setdefault(owner, {})[point] = hook
        for owner, taps in inner.items():
            stack.callback(setattr, owner, "taps", owner.taps)
            owner.taps = {**(owner.taps or {}), **taps}
        yield


def _as_forward_hook(hook: Hook) -> Callable[[nn.Module, Any, Any], Any]:
    def call(module: nn.Module, args: Any, output: Any) -> Any:
        return hook(output) if isinstance(output, Tensor) else None

    return call
