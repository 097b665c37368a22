"""Encoders and encoder-decoders against transformers: random models of odd shapes, both directions, padded batches."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import activations, hf
from ownlm.model.encoder_decoder import EncoderDecoder

SIZES = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
         "intermediate_size": 20, "max_position_embeddings": 20}  # fmt: skip
ONE = SIZES | {"num_attention_heads": 1, "num_hidden_layers": 1, "hidden_size": 10, "vocab_size": 33}
REL = {"relative_attention": True}
ENCODERS: list[tuple[str, str, dict[str, Any]]] = [
    ("bert", "BertForMaskedLM", SIZES | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
    ("bert", "BertForMaskedLM", ONE | {"type_vocab_size": 1}),
    ("bert", "BertForPreTraining", SIZES | {"type_vocab_size": 3}),
    ("bert", "BertModel", SIZES | {"hidden_act": "relu"}),
    ("bert", "BertForSequenceClassification", SIZES | {"num_labels": 5}),
    ("roberta", "RobertaForMaskedLM", SIZES | {"hidden_act": "relu", "pad_token_id": 3, "type_vocab_size": 1}),
    ("roberta", "RobertaForMaskedLM", ONE | {"pad_token_id": 0}),
    ("roberta", "RobertaModel", SIZES | {"pad_token_id": 1}),
    ("albert", "AlbertForMaskedLM", SIZES | {"embedding_size": 8}),
    ("albert", "AlbertForMaskedLM", SIZES | {"embedding_size": 24, "num_hidden_groups": 2, "hidden_act": "relu"}),
    ("albert", "AlbertModel", ONE | {"embedding_size": 13}),
    ("electra", "ElectraForPreTraining", SIZES | {"embedding_size": 8, "hidden_act": "relu"}),
    ("electra", "ElectraForMaskedLM", SIZES | {"embedding_size": 24, "hidden_act": "relu"}),
    ("electra", "ElectraForMaskedLM", ONE | {"embedding_size": 7}),
    ("electra", "ElectraModel", SIZES | {"embedding_size": 8}),
    ("deberta_v2", "DebertaV2ForMaskedLM", SIZES | REL | {"position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}),
    ("deberta_v2", "DebertaV2ForMaskedLM", SIZES | REL | {"pos_att_type": ["c2p"], "share_att_key": False, "type_vocab_size": 2}),
    ("deberta_v2", "DebertaV2ForMaskedLM", ONE | REL | {"pos_att_type": "p2c", "max_relative_positions": 5, "position_biased_input": False}),
    ("deberta_v2", "DebertaV2Model", SIZES | REL | {"pos_att_type": "c2p|p2c", "position_buckets": 6, "max_relative_positions": 12}),
]  # fmt: skip
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 5, "d_ff": 24, "num_layers": 2, "num_heads": 3, "decoder_start_token_id": 0}  # fmt: skip
BART = {"vocab_size": 50, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 3,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 17, "decoder_ffn_dim": 40, "max_position_embeddings": 30}  # fmt: skip
SEQ2SEQ: list[tuple[str, str, dict[str, Any]]] = [
    ("t5", "T5ForConditionalGeneration", T5),
    ("t5", "T5ForConditionalGeneration", T5 | {"num_layers": 3, "num_decoder_layers": 1, "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 6, "relative_attention_max_distance": 9, "tie_word_embeddings": False}),
    ("t5", "T5ForConditionalGeneration", T5 | {"feed_forward_proj": "gated-silu", "num_heads": 1, "layer_norm_epsilon": 1e-2}),
    ("bart", "BartForConditionalGeneration", BART),
    ("bart", "BartForConditionalGeneration", BART | {"scale_embedding": True, "activation_function": "relu"}),
    ("bart", "BartForConditionalGeneration", BART | {"d_model": 10, "encoder_attention_heads": 1, "decoder_attention_heads": 5, "activation_function": "gelu_new"}),
]  # fmt: skip
ALL = ENCODERS + SEQ2SEQ
IDS = [f"{name}-{n}" for n, (_, name, _) in enumerate(ALL)]


def foreign(name: str, options: dict[str, Any], seed: int = 0) -> Any:
    """A transformers model with noise in every parameter, norms and biases included."""
    import transformers

    config = getattr(transformers, name).config_class(**options)
    torch.manual_seed(seed)
    model, random = getattr(transformers, name)(config).eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=random) * 0.2)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.add_(torch.randn(model.final_logits_bias.shape, generator=random))
    return model


def batch(pad: int, vocab: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three texts of 13, 9 and 4 tokens, padded."""
    ids = torch.randint(5, vocab, (3, 13), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 13, dtype=torch.int64)
    mask[1, 9:], mask[2, 4:] = 0, 0
    return torch.where(mask.bool(), ids, pad), mask


def encoder_outputs(model: Any) -> Callable[[Any], list[torch.Tensor]]:
    """A function of a model, ours or theirs, to its outputs in one order, without what stands at padding."""
    ids, mask = batch(model.config.pad_token_id, model.config.vocab_size)
    kinds = model.config.type_vocab_size
    types = torch.randint(kinds, ids.shape, generator=torch.Generator().manual_seed(2)) if kinds else None

    def call(either: Any) -> list[torch.Tensor]:
        with torch.no_grad():
            if hasattr(either, "outputs"):
                found = either.outputs(ids, mask, types)
                heads = [found[k] for k in ("masked", "replaced", "classes") if k in found]
                values = heads or [found[k] for k in ("hidden", "pooled") if k in found]
            else:
                values = [v for v in either(ids, attention_mask=mask, token_type_ids=types).values() if torch.is_tensor(v)]  # fmt: skip
        return [v[mask.bool()] if v.shape[:2] == mask.shape else v for v in values]

    return call


def seq2seq_outputs(model: Any) -> Callable[[Any], list[torch.Tensor]]:
    ids, mask = batch(model.config.pad_token_id, model.config.vocab_size)
    target = torch.randint(5, 50, (3, 11), generator=torch.Generator().manual_seed(3))

    def call(either: Any) -> list[torch.Tensor]:
        with torch.no_grad():
            if isinstance(either, EncoderDecoder):
                return [either(ids, target, mask)]
            return [either(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits]

    return call


@pytest.mark.parametrize(("family", "name", "options"), SEQ2SEQ, ids=IDS[len(ENCODERS) :])
def test_cached_decoding_equals_theirs(
    family: str, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Token by token with both caches, and greedy texts."""
    theirs = foreign(name, options)
    theirs.save_pretrained(tmp_path)
    ours = hf.load(tmp_path).eval()
    ids, mask = batch(ours.config.pad_id, 50)
    target = torch.randint(5, 50, (3, 7), generator=torch.Generator().manual_seed(3))
    memory, cache, past = ours.encode(ids, mask), ours.new_cache(), None
    with torch.no_grad():
        source = theirs.get_encoder()(ids, attention_mask=mask)
        for token in target.T[:, :, None]:
            out = theirs(encoder_outputs=source, attention_mask=mask, decoder_input_ids=token, past_key_values=past, use_cache=True)  # fmt: skip
            past = out.past_key_values
            torch.testing.assert_close(ours.decode(token, memory, mask, cache), out.logits, atol=1e-4, rtol=0)
    text = theirs.generate(ids, attention_mask=mask, max_new_tokens=9, do_sample=False, num_beams=1, forced_eos_token_id=None)  # fmt: skip
    found = ours.generate(ids, 9, mask)
    assert torch.equal(text[:, 1 : 1 + found.shape[1]], found)


@pytest.mark.parametrize(
    ("family", "change", "named"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"architectures": ["BertForQuestionAnswering"]}, "BertForQuestionAnswering"),
        ("bert", {"hidden_act": "mish"}, "mish"),
        ("bert", {"embedding_dance": 1}, "embedding_dance"),
        ("bert", {"num_attention_heads": 5}, "multiple"),
        ("roberta", {"pad_token_id": None}, "pad_token_id"),
        ("albert", {"inner_group_num": 2}, "inner_group_num"),
        ("electra", {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ("deberta_v2", {"conv_kernel_size": 3}, "conv_kernel_size"),
        ("deberta_v2", {"pos_att_type": ["p2p"]}, "p2p"),
        ("deberta_v2", {"relative_attention": False}, "relative_attention"),
        ("t5", {"feed_forward_proj": "double-gelu"}, "double-gelu"),
        ("t5", {"is_decoder": True}, "is_decoder"),
        ("t5", {"relative_attention_num_buckets": 2}, "num_buckets"),
        ("t5", {"eos_token_id": [1, 2]}, "eos_token_id"),
        ("bart", {"normalize_before": True}, "normalize_before"),
        ("bart", {"encoder_attention_heads": 7}, "multiple"),
    ],
)
def test_what_we_lack_is_refused_by_name(family: str, change: dict[str, Any], named: str) -> None:
    types = {"deberta_v2": "deberta-v2"}
    raw = {
        "model_type": types.get(family, family),
        "architectures": [next(n for f, n, _ in ALL if f == family)],
    }
    raw |= next(dict(o) for f, _, o in ALL if f == family)
    module = importlib.import_module(f"ownlm.model.adapters.families.{family}")
    module.read(raw, "config.json")
    with pytest.raises(ArtifactError, match=named):
        module.read(raw | change, "config.json")


def test_old_spelling_of_t5() -> None:
    """config.json as 4.57 writes it: untied means an own lm_head and no scaling."""
    from ownlm.model.adapters.families import t5

    raw = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], **T5}
    config = t5.read(raw | {"tie_word_embeddings": False, "n_positions": 512, "torch_dtype": "float32"}, "x")
    assert config.hidden_scale == 1.0 and not config.tie_embeddings
    assert t5.read(raw, "x").hidden_scale == 16**-0.5 and t5.write(config)["tie_word_embeddings"] is False
    with pytest.raises(UsageError, match="scales"):
        t5.write(t5.read(raw | {"tie_word_embeddings": False, "scale_decoder_outputs": True}, "x"))


def test_untied_t5_keeps_its_own_output_layer(tmp_path: Path) -> None:
    import transformers

    from ownlm.model.adapters.families import t5 as family

    raw = {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        **T5,
        "tie_word_embeddings": False,
    }
    config = family.read(raw, "x")
    ours = EncoderDecoder(config).eval()
    hf.save(ours, tmp_path)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    call = seq2seq_outputs(theirs)
    torch.testing.assert_close(call(ours)[0], call(theirs)[0], atol=1e-4, rtol=0)


def test_activations_agree() -> None:
    assert {activations.ours(theirs, "x") for theirs in activations.THEIRS.values()} == set(
        activations.THEIRS
    )
    with pytest.raises(ArtifactError, match="quick_gelu"):
        activations.ours("quick_gelu", "x")


@pytest.mark.parametrize(("family", "name", "options"), ALL, ids=IDS)
def test_equals_transformers_both_ways(
    family: str, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Their folder, our model, our folder, their model and ours again: equal outputs at every station."""
    theirs = foreign(name, options)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = hf.load(tmp_path / "theirs").eval()
    assert ours.num_parameters() == sum(p.numel() for p in ours.parameters())
    call = seq2seq_outputs(theirs) if isinstance(ours, EncoderDecoder) else encoder_outputs(theirs)
    expected = call(theirs)
    assert all(value.std() > 0.05 for value in expected)
    hf.save(ours, tmp_path / "ours", pad_id=theirs.config.pad_token_id)
    again, info = type(theirs).from_pretrained(
        tmp_path / "ours", dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    for model in (ours, again.eval(), hf.load(tmp_path / "ours").eval()):
        for got, want in zip(call(model), expected, strict=True):
            torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def test_old_names_of_norms_and_unused_heads(tmp_path: Path) -> None:
    """Google's BERT folders call a norm's weights gamma and beta and bring a pooler that masked tokens do not use."""
    theirs = foreign("BertForPreTraining", SIZES)
    theirs.save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    stored = load_file(tmp_path / "model.safetensors")
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for n, t in stored.items()}  # fmt: skip
    save_file(old | {"bert.embeddings.position_ids": torch.arange(20)[None]}, tmp_path / "model.safetensors")
    call = encoder_outputs(theirs)
    torch.testing.assert_close(call(hf.load(tmp_path).eval())[0], call(theirs)[0], atol=1e-4, rtol=0)
