"""Rotary settings of config.json: `rope_theta` and `rope_scaling` (transformers 4), `rope_parameters` (transformers 5).

Both are read and must agree where both are there; both are written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ownlm.errors import ArtifactError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.position import DynamicNTK, Linear, Llama3, LongRope, Rope, Scaling, Yarn


def read(
    keys: Reader, head_dim: int, max_positions: int, theta: float = 10000.0, fraction: float = 1.0, *,
    theta_keys: tuple[str, ...] = ("rope_theta",), fraction_keys: tuple[str, ...] = (),
) -> Rope:  # fmt: skip
    """The rotation that config.json describes. theta, fraction: the family's defaults; fraction_keys: what transformers 4
    calls the rotated part, none where the family knows none. Raises ArtifactError."""
    settings = merged(keys)
    for name, tops in (("rope_theta", theta_keys), ("partial_rotary_factor", fraction_keys)):
        for key in tops:
            top = keys.take(key)
            if top is not None and settings.setdefault(name, top) != top:
                raise _wrong(keys, name, f"given twice: {settings[name]!r} and {key} = {top!r}")
    trained = keys.take("original_max_position_embeddings")
    if trained is not None and settings.setdefault("original_max_position_embeddings", trained) != trained:
        raise _wrong(keys, "original_max_position_embeddings", f"given twice, here {trained!r}")
    if not fraction_keys and settings.get("partial_rotary_factor", 1.0) != 1.0:
        raise _wrong(keys, "partial_rotary_factor", "this family rotates whole heads")
    settings.setdefault("partial_rotary_factor", fraction)
    return rope(keys, settings, head_dim, max_positions, theta)


def merged(keys: Reader) -> dict[str, Any]:
    """rope_scaling and rope_parameters as one; where config.json has both they must mean the same."""
    found: list[dict[str, Any]] = []
    for name in ("rope_parameters", "rope_scaling"):
        value = keys.take(name)
        if value is not None and not isinstance(value, Mapping):
            raise _wrong(keys, name, f"{value!r} is no object")
        part = {k: v for k, v in (value or {}).items() if v is not None}
        kind = part.pop("type", None)
        part.setdefault("rope_type", kind or "default")
        if kind is not None and part["rope_type"] != kind:
            raise _wrong(keys, name, f"rope_type = {part['rope_type']!r}, but type = {kind!r}")
        found.append(part)
    new, old = found
    if "rope_parameters" in keys.raw and "rope_scaling" in keys.raw:
        differing = [k for k in old if k in new and new[k] != old[k]]
        if differing:
            raise _wrong(
                keys, "rope_scaling", f"says something else than rope_parameters: {', '.join(differing)}"
            )
    elif "rope_scaling" in keys.raw:
        new.pop("rope_type")
    return old | new


def rope(
    keys: Reader, settings: Mapping[str, Any], head_dim: int, max_positions: int, theta: float = 10000.0
) -> Rope:
    """The rotation of one set of settings, all of which must be understood."""
    left = dict(settings)
    base = _number(keys, left.pop("rope_theta", theta), "rope_theta")
    fraction = _number(keys, left.pop("partial_rotary_factor", 1.0), "partial_rotary_factor")
    scaling = _scaling(keys, str(left.pop("rope_type", "default")), left, max_positions)
    dims = int(head_dim * fraction)
    if dims < 1 or dims + dims % 2 > head_dim:
        raise _wrong(keys, "head_dim", f"rotary embeddings turn pairs, not {dims} of {head_dim} features")
    if (
        isinstance(scaling, LongRope)
        and not len(scaling.short_factor) == len(scaling.long_factor) == dims // 2
    ):
        raise _wrong(keys, "short_factor, long_factor", f"{dims // 2} numbers each are wanted")
    return Rope(base, None if dims == head_dim else dims, scaling)


def _scaling(keys: Reader, kind: str, settings: dict[str, Any], max_positions: int) -> Scaling | None:
    """Builds the kind's scaling from its settings and refuses what is left over."""

    def take(name: str, default: float | None = None) -> float:
        return _number(keys, settings.pop(name, default), name)

    def optional(name: str) -> float | None:
        value = settings.pop(name, None)
        return None if value is None else _number(keys, value, name)

    found: Scaling | None
    trained = settings.pop("original_max_position_embeddings", None)
    trained = (
        max_positions if trained is None else int(_number(keys, trained, "original_max_position_embeddings"))
    )
    if kind == "default":
        found = None
    elif kind == "linear":
        found = Linear(take("factor"))
    elif kind == "dynamic":
        found = DynamicNTK(take("factor"), max_positions)
    elif kind == "yarn":
        factor = optional("factor") or max_positions / trained
        truncate = settings.pop("truncate", True)
        if not isinstance(truncate, bool):
            raise _wrong(keys, "truncate", f"{truncate!r} is neither true nor false")
        found = Yarn(factor, trained, optional("attention_factor"), optional("beta_fast") or 32.0, optional("beta_slow") or 1.0,
                     optional("mscale"), optional("mscale_all_dim"), truncate)  # fmt: skip
    elif kind in ("longrope", "su"):
        found = _longrope(keys, settings, trained, max_positions)
    elif kind == "llama3":
        found = Llama3(take("factor"), take("low_freq_factor"), take("high_freq_factor"), trained)
    else:
        raise _wrong(
            keys, "rope_type", f"{kind!r} is none of default, linear, dynamic, yarn, longrope, llama3"
        )
    if settings:
        raise _wrong(keys, ", ".join(sorted(settings)), f"not understood with rope_type {kind!r}")
    return found


def _longrope(keys: Reader, settings: dict[str, Any], trained: int, max_positions: int) -> LongRope:
    sets = []
    for name in ("short_factor", "long_factor"):
        values = settings.pop(name, None)
        if not isinstance(values, list) or not values:
            raise _wrong(keys, name, "a list of numbers is wanted")
        sets.append(tuple(_number(keys, value, name) for value in values))
    factor = settings.pop("factor", None)
    factor = max_positions / trained if factor is None else _number(keys, factor, "factor")
    magnitude = settings.pop("attention_factor", None)
    if magnitude is None:
        magnitude = longrope_magnitude(factor, trained)
    return LongRope(sets[0], sets[1], trained, float(magnitude))


def longrope_magnitude(factor: float, trained: int) -> float:
    """sqrt(1 + ln(factor) / ln(trained)) (arXiv:2402.13753), what transformers takes where the file gives none."""
    return math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0


def write(rope: Rope, head_dim: int) -> dict[str, Any]:
    """All spellings: rope_theta, rope_scaling, rope_parameters, and partial_rotary_factor where a part is rotated."""
    scaling = _settings(rope.scaling)
    part = {} if rope.dims in (None, head_dim) else {"partial_rotary_factor": rope.dims / head_dim}
    found = {
        "rope_theta": rope.theta,
        "rope_scaling": scaling or None,
        "rope_parameters": {"rope_type": "default", **scaling, "rope_theta": rope.theta, **part},
        **part,
    }
    if isinstance(rope.scaling, LongRope):
        found["original_max_position_embeddings"] = rope.scaling.trained_positions
    return found


def _settings(scaling: Scaling | None) -> dict[str, Any]:
    match scaling:
        case None:
            return {}
        case Linear():
            return {"rope_type": "linear", "factor": scaling.factor}
        case DynamicNTK():
            return {"rope_type": "dynamic", "factor": scaling.factor}
        case Yarn():
            options = {
                name: getattr(scaling, name) for name in ("attention_factor", "mscale", "mscale_all_dim")
            }
            return {"rope_type": "yarn", "factor": scaling.factor, "beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow,
                    "original_max_position_embeddings": scaling.trained_positions,
                    **{name: value for name, value in options.items() if value is not None},
                    **({} if scaling.truncate else {"truncate": False})}  # fmt: skip
        case LongRope():
            return {"rope_type": "longrope", "short_factor": list(scaling.short_factor), "long_factor": list(scaling.long_factor),
                    "original_max_position_embeddings": scaling.trained_positions,
                    "attention_factor": scaling.attention_factor}  # fmt: skip
        case Llama3():
            return {"rope_type": "llama3", "factor": scaling.factor, "low_freq_factor": scaling.low_freq_factor,
                    "high_freq_factor": scaling.high_freq_factor,
                    "original_max_position_embeddings": scaling.trained_positions}  # fmt: skip
    raise ArtifactError(
        "This rotation has no Hugging Face form.", str(scaling), "use one of position.py's that has"
    )


def _number(keys: Reader, value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise _wrong(keys, name, f"{value!r} is no positive number")
    return float(value)


def _wrong(keys: Reader, key: str, what: str) -> ArtifactError:
    return ArtifactError(
        "The rotary settings of config.json are not usable.",
        f"{keys.where}: {key}: {what}",
        "restore the file",
    )
