"""What the families of Llama's kin share: the keys of config.json, the names of the tensors, and how both are written.

Their blocks are `model.layers.N` with self_attn.{q,k,v,o}_proj and mlp.{gate,up,down}_proj; what differs (norms,
biases, windows, rotations) each family says in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import rope_keys
from ownlm.model.adapters.activations import THEIRS, ours
from ownlm.model.adapters.config_keys import MAX_SIZE, Reader
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS, MAX_POSITIONS, ModelConfig
from ownlm.model.layers import FeedForward, Norm

__all__ = [
    "IGNORED",
    "THEIRS",
    "Numbers",
    "architecture",
    "copies",
    "parts",
    "refused_as_artifact",
    "require",
    "rules",
    "write",
]

IGNORED: tuple[str, ...] = (
    r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
    r"model\.rotary_emb\.inv_freq",
)
T = TypeVar("T")

NORMS = {"mixer_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
"""Of pre-norm blocks: our name -> theirs."""


class Numbers:
    """The sizes that all of them spell alike; raises ArtifactError with the key's name."""

    def __init__(self, keys: Reader, *, eps: float = 1e-6, max_positions: int = 32768, tied: bool = False,
                 head_dim: int | None = None) -> None:  # fmt: skip
        self.keys = keys
        self.vocab_size = self.whole("vocab_size")
        self.hidden_size = self.whole("hidden_size")
        self.inner = self.whole("intermediate_size")
        self.num_layers = self.whole("num_hidden_layers", limit=MAX_LAYERS)
        self.num_heads = self.whole("num_attention_heads")
        self.num_kv_heads = self.whole("num_key_value_heads", self.num_heads)
        self.head_dim = self.whole("head_dim", head_dim or max(1, self.hidden_size // self.num_heads))
        self.max_positions = self.whole("max_position_embeddings", max_positions, MAX_POSITIONS)
        self.eps = keys.number("rms_norm_eps", eps)
        self.tied = keys.switch("tie_word_embeddings", tied)
        self.initializer_range = keys.number("initializer_range", 0.02)

    def whole(self, key: str, default: int | None = None, limit: int = MAX_SIZE) -> int:
        """As Reader.whole, but null is an absence: `head_dim: null` says that it follows from the others."""
        if not self.keys.present(key) and default is not None:
            self.keys.take(key)
            return default
        return self.keys.whole(key, None, limit)

    def activation(self, key: str, default: str) -> str:
        return ours(self.keys.take(key, default), self.keys.where)

    def windows(self, window: int | None, slides: Callable[[int], bool]) -> list[int | None]:
        """Each layer's window: by `layer_types` where it is given, else by `slides(layer)`."""
        kinds = self.keys.take("layer_types")
        if kinds is None:
            return [window if slides(n) else None for n in range(self.num_layers)]
        known = ("sliding_attention", "full_attention")
        if not isinstance(kinds, list) or len(kinds) != self.num_layers or any(k not in known for k in kinds):
            raise ArtifactError("layer_types must name every layer.", f"{self.keys.where}: {str(kinds)[:120]} for {self.num_layers} layers",
                                f"use {' and '.join(known)}")  # fmt: skip
        if "sliding_attention" in kinds and window is None:
            raise ArtifactError(
                "Layers slide, but there is no window.",
                f"{self.keys.where}: sliding_window = null",
                "give sliding_window",
            )
        return [window if kind == "sliding_attention" else None for kind in kinds]

    def upper_windows(self) -> list[int | None]:
        """Qwen's way: a switch, and the first layers without a window unless `layer_types` says which."""
        slides, window = (
            self.keys.switch("use_sliding_window", False),
            self.keys.optional("sliding_window", 4096),
        )
        first = self.keys.whole("max_window_layers", 28, least=0)
        window = window if slides else None
        return self.windows(window, lambda n: n >= first)


def layer_types(plan: Architecture) -> list[str]:
    return ["full_attention" if window is None else "sliding_attention" for window in plan.windows()]


def only_window(plan: Architecture, family: str) -> int | None:
    """The window of the layers that have one; raises UsageError if there are several."""
    sizes = {window for window in plan.windows() if window is not None}
    if len(sizes) > 1:
        raise UsageError(f"The sliding layers of a {family} have one window.", f"{sorted(sizes)}", "use one")
    return sizes.pop() if sizes else None


def write_upper_windows(plan: Architecture) -> dict[str, Any]:
    """What `Numbers.upper_windows` reads."""
    window, kinds = only_window(plan, plan.family), layer_types(plan)
    return {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "max_window_layers": plan.num_layers if window is None else kinds.index("sliding_attention"),
        "layer_types": kinds,
    }


def refused_as_artifact(where: str, make: Callable[[], T]) -> T:
    """Run `make`; what it refuses is the folder's fault."""
    try:
        return make()
    except UsageError as error:
        raise ArtifactError("config.json describes no possible model.", f"{where}: {error.values}",
                            "restore the file (`ownlm verify` says whether it was changed)") from error  # fmt: skip


def architecture(
    found: Numbers, where: str, layers: Callable[[], Sequence[Layer]], norm: Norm, family: str,
    **options: Any,
) -> Architecture:  # fmt: skip
    """The decoder around the family's layers."""
    return refused_as_artifact(where, lambda: Architecture(
        found.vocab_size, found.hidden_size, tuple(layers()), found.max_positions, norm, found.tied,
        initializer_range=found.initializer_range, family=family, **options))  # fmt: skip


def parts(plan: Architecture, family: str) -> tuple[GroupedQuery, FeedForward]:
    """The first layer's two parts, where they are of the dense kind."""
    if plan.norm is None:
        raise _unlike(plan, family)
    return dense_parts(plan.layers[0], family)


def dense_parts(layer: Layer, family: str) -> tuple[GroupedQuery, FeedForward]:
    """Attention and feed-forward; raises UsageError for other kinds."""
    mixer, inner = layer.mixer, layer.feed_forward
    if (
        not isinstance(mixer, GroupedQuery)
        or not isinstance(inner, FeedForward)
        or inner.activation not in THEIRS
    ):
        raise UsageError(
            f"This architecture is no {family}.", f"it has the layer {layer}", "save it as what it is"
        )
    return mixer, inner


def pre_scalar(mixer: GroupedQuery) -> int | float:
    """The query_pre_attn_scalar whose inverse root is the scale."""
    value = float(mixer.head_dim) if mixer.scale is None else mixer.scale**-2
    return round(value) if abs(value - round(value)) < 1e-6 * value else value


def require(plan: Architecture, layers: Sequence[Layer], family: str, **options: Any) -> None:
    """Raise UsageError unless the architecture is exactly these layers with the family's options around them."""
    expected = Architecture(plan.vocab_size, plan.hidden_size, tuple(layers), plan.max_positions, layers[0].norm,
                            plan.tie_embeddings, initializer_range=plan.initializer_range, family=plan.family, **options)  # fmt: skip
    if plan != expected:
        raise _unlike(plan, family)


def _unlike(plan: Architecture, family: str) -> UsageError:
    return UsageError(
        f"This architecture is no {family}.",
        f"its first layer is {plan.layers[0]}",
        "save it as the family that it is",
    )


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that all of them spell alike, the rotation of the first layer included."""
    mixer, inner = parts(plan, plan.family)
    rope = mixer.rope
    return {
        "vocab_size": plan.vocab_size,
        "hidden_size": plan.hidden_size,
        "intermediate_size": inner.width,
        "num_hidden_layers": plan.num_layers,
        "num_attention_heads": mixer.num_heads,
        "num_key_value_heads": mixer.num_kv_heads,
        "head_dim": mixer.head_dim,
        "max_position_embeddings": plan.max_positions,
        "rms_norm_eps": plan.layers[0].norm.eps,
        "initializer_range": plan.initializer_range,
        "tie_word_embeddings": plan.tie_embeddings,
        **({} if rope is None else rope_keys.write(rope, mixer.head_dim)),
    }


def rules(plan: Architecture, norms: dict[str, str] | None = None) -> list[Rule]:
    """Every tensor; norms: our name of a block's norms -> theirs, Llama's when left out."""
    norms = NORMS if norms is None else norms
    found = [same("model.embed_tokens.weight", "embedding.weight"), same("model.norm.weight", "norm.weight")]
    for n, layer in enumerate(plan.layers):
        theirs, mine = f"model.layers.{n}.", f"blocks.{n}."
        found += [same(f"{theirs}{there}.weight", f"{mine}{here}.weight") for here, there in norms.items()]
        found += attention_rules(f"{theirs}self_attn.", f"{mine}mixer.", layer.mixer)
        found += feed_forward_rules(f"{theirs}mlp.", f"{mine}feed_forward.", layer.feed_forward)
    return found if plan.tie_embeddings else [*found, same("lm_head.weight", "output.weight")]


def attention_rules(theirs: str, mine: str, mixer: Any) -> list[Rule]:
    """Projections, their biases, and the norms of q and k."""
    found = []
    for name, bias in (("q", mixer.bias), ("k", mixer.bias), ("v", mixer.bias), ("o", mixer.output_bias)):
        for kind in ("weight", "bias") if bias else ("weight",):
            found.append(same(f"{theirs}{name}_proj.{kind}", f"{mine}{name}.{kind}"))
    if mixer.qk_norm is not None:
        found += [same(f"{theirs}{name}_norm.weight", f"{mine}{name}_norm.weight") for name in ("q", "k")]
    return found


def feed_forward_rules(theirs: str, mine: str, inner: Any) -> list[Rule]:
    kinds = ("weight", "bias") if inner.bias else ("weight",)
    return [
        same(f"{theirs}{name}_proj.{kind}", f"{mine}{name}.{kind}")
        for name in ("gate", "up", "down")
        for kind in kinds
    ]


def copies(config: ModelConfig | Architecture) -> dict[str, str]:
    return {"lm_head.weight": "model.embed_tokens.weight"} if config.tie_embeddings else {}
