"""tokenizer.json files of every kind, trained by Hugging Face `tokenizers` on small texts: the oracle of the pipeline tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ownlm.tokenizer.pretokenize import PATTERNS

KINDS = (
    "gpt2", "llama3", "qwen2", "bert_cased", "bert_uncased", "bert_bare", "clip", "openai_gpt", "llama_legacy",
    "llama_metaspace", "xlmr", "t5", "albert", "word_level", "no_pre_tokenizer", "byte_level_prefix",
)  # fmt: skip


def trained(kind: str, texts: Iterable[str], vocab_size: int = 600) -> dict[str, Any]:
    """The content of a tokenizer.json of one published kind."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    n, p, d = normalizers, pre_tokenizers, decoders
    specials = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    quiet: dict[str, Any] = {
        "show_progress": False,
        "vocab_size": vocab_size if kind not in ("xlmr", "t5", "albert") else 4000,
    }

    def byte_level(family: str, **model: Any) -> Any:
        t = tokenizers.Tokenizer(models.BPE(**model))
        split = p.Split(tokenizers.Regex(PATTERNS[family]), "isolated")
        t.pre_tokenizer = p.Sequence([split, p.ByteLevel(add_prefix_space=False, use_regex=False)])
        t.decoder = d.ByteLevel()
        trainer = trainers.BpeTrainer(
            initial_alphabet=p.ByteLevel.alphabet(), special_tokens=["<|a|>", "<|b|>"], **quiet
        )
        t.train_from_iterator(texts, trainer)
        return t

    def llama(normalizer: Any, pre: Any, decoder: Any) -> Any:
        t = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        t.normalizer, t.decoder = normalizer, decoder
        if pre is not None:
            t.pre_tokenizer = pre
        byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
        t.train_from_iterator(
            texts, trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>", *byte_tokens], **quiet)
        )
        raw = json.loads(t.to_str())
        raw["added_tokens"] = raw["added_tokens"][:3]  # byte tokens are no added tokens in published files
        return raw

    if kind in ("gpt2", "byte_level_prefix"):
        t = tokenizers.Tokenizer(models.BPE())
        t.pre_tokenizer = p.ByteLevel(add_prefix_space=kind != "gpt2")
        t.decoder, t.post_processor = d.ByteLevel(), processors.ByteLevel(trim_offsets=False)
        trainer = trainers.BpeTrainer(
            initial_alphabet=p.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"], **quiet
        )
        t.train_from_iterator(texts, trainer)
    elif kind == "llama3":
        t = byte_level("llama3", ignore_merges=True)
        t.post_processor = processors.Sequence(
            [
                processors.ByteLevel(),
                processors.TemplateProcessing(
                    "<|a|> $A", "<|a|> $A <|a|>:1 $B:1", special_tokens=[("<|a|>", 0)]
                ),
            ]
        )
    elif kind == "qwen2":
        t = byte_level("qwen2")
        t.normalizer = n.NFC()
        t.add_tokens(
            [
                tokenizers.AddedToken("<tool>", normalized=False),
                tokenizers.AddedToken("<think>", normalized=False),
            ]
        )
        t.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    elif kind.startswith("bert"):
        t = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        if kind != "bert_bare":
            t.normalizer = n.BertNormalizer(lowercase=kind == "bert_uncased")
            t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        else:
            t.normalizer = n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()])
        t.pre_tokenizer, t.decoder = p.BertPreTokenizer(), d.WordPiece(cleanup=kind != "bert_bare")
        t.train_from_iterator(texts, trainers.WordPieceTrainer(special_tokens=bert, **quiet))
    elif kind in ("clip", "openai_gpt"):
        t = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
        if kind == "clip":
            t.normalizer = n.Sequence([n.NFC(), n.Replace(tokenizers.Regex(r"\s+"), " "), n.Lowercase()])
            pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
            split = p.Split(tokenizers.Regex(pattern), "removed", invert=True)
            t.pre_tokenizer = p.Sequence([split, p.ByteLevel(add_prefix_space=False)])
            t.decoder = d.ByteLevel()
            t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), False, False)
        else:
            t.normalizer, t.pre_tokenizer = n.BertNormalizer(), p.BertPreTokenizer()
            t.decoder = d.BPEDecoder(suffix="</w>")
        trainer = trainers.BpeTrainer(special_tokens=specials, end_of_word_suffix="</w>", **quiet)
        t.train_from_iterator(texts, trainer)
    elif kind == "llama_legacy":
        steps = [d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]
        return llama(n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), None, d.Sequence(steps))
    elif kind == "llama_metaspace":
        pre = p.Metaspace("▁", prepend_scheme="first", split=False)
        return llama(None, pre, d.Sequence([d.ByteFallback(), d.Metaspace("▁", "first")]))
    elif kind in ("xlmr", "t5", "albert"):
        t = tokenizers.Tokenizer(models.Unigram())
        replace = n.Replace(tokenizers.Regex(" {2,}"), " ")
        t.normalizer = {
            "xlmr": n.Sequence([n.Nmt(), n.NFKC(), replace]),
            "t5": n.Sequence(
                [n.NFKC(), n.Strip(left=False, right=True), n.Replace(tokenizers.Regex(" {2,}"), "▁")]
            ),
            "albert": n.Sequence([n.Replace("``", '"'), n.NFKD(), n.StripAccents(), n.Lowercase(), replace]),
        }[kind]
        metaspace = p.Metaspace("▁", prepend_scheme="first" if kind == "t5" else "always")
        t.pre_tokenizer = p.Sequence([p.WhitespaceSplit(), metaspace]) if kind == "xlmr" else metaspace
        t.decoder = d.Metaspace("▁", "always")
        trainer = trainers.UnigramTrainer(special_tokens=specials, unk_token="<unk>", **quiet)
        t.train_from_iterator(texts, trainer)
        ends = [("<s>", 0), ("</s>", 1)]
        t.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
        if kind == "t5":
            t.add_special_tokens([f"<extra_id_{i}>" for i in range(3)])
            t.add_special_tokens([tokenizers.AddedToken("<mask2>", lstrip=True, normalized=True)])
    elif kind == "word_level":
        t = tokenizers.Tokenizer(models.WordLevel(unk_token="<unk>"))
        t.pre_tokenizer = p.Sequence([p.Whitespace(), p.Digits(individual_digits=True), p.Punctuation()])
        t.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=specials, **quiet))
        t.add_tokens(
            [tokenizers.AddedToken("the", single_word=True), tokenizers.AddedToken("é!", rstrip=True)]
        )
    elif kind == "no_pre_tokenizer":
        t = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        t.train_from_iterator(
            [text[:300] for text in texts], trainers.BpeTrainer(special_tokens=specials, **quiet)
        )
        t.decoder = d.Fuse()
    else:
        raise ValueError(kind)
    raw: dict[str, Any] = json.loads(t.to_str())
    return raw
