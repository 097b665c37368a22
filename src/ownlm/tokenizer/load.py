"""Any tokenizer by path: the form is told by what is there, never guessed from a name alone.

folder            tokenizer.json (and the files beside it), otherwise one of the forms below inside it
tokenizer.json    byte-level BPE of a known family -> `Tokenizer`, everything else -> `PipelineTokenizer`
*.model           SentencePiece            *.tiktoken  rank file            *.gguf  vocabulary of a GGUF model
vocab.json + merges.txt  GPT-2's two files           vocab.txt  BERT's WordPiece list
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError, UsageError
from ownlm.tokenizer import folder as folder_files
from ownlm.tokenizer import hf_json
from ownlm.tokenizer.byte_fast import MODEL_FIELDS
from ownlm.tokenizer.fields import FIX, read_object, wrong
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.pretokenize import PATTERNS, require_family
from ownlm.tokenizer.sentencepiece import SentencePieceTokenizer
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import SPECIALS

AnyTokenizer = Tokenizer | PipelineTokenizer | SentencePieceTokenizer
FORMS = "a folder, tokenizer.json, *.model, *.tiktoken, *.gguf, vocab.json + merges.txt, vocab.txt"
MAX_TEXT_BYTES = 64 << 20  # of a vocabulary in plain text


def load(path: Path | str, family: str | None = None, cased: bool | None = None) -> AnyTokenizer:
    """The tokenizer at a path.

    family: the split pattern, for forms that do not say it (rank files under unknown names, vocab.json + merges.txt;
    gpt2 there when left out). cased: for vocab.txt, whether text keeps its case; left out, tokenizer_config.json
    or the file's own words decide. Raises ArtifactError naming file and field, UsageError for an option that the form
    has no use for.
    """
    path = Path(path)
    if not path.exists():
        raise ArtifactError("There is no tokenizer here.", str(path), f"give {FORMS}")
    if path.is_dir():
        path = _in_folder(path)
    name = path.name
    if family is not None and (name == "tokenizer.json" or name.endswith((".model", ".gguf", "vocab.txt"))):
        raise UsageError(
            "This form of tokenizer says its family itself.", f"{name}, family = {family!r}", "leave it out"
        )
    if cased is not None and not name.endswith("vocab.txt"):
        raise UsageError("`cased` is for vocab.txt only.", name, "leave it out")
    if name.endswith(".tiktoken"):
        from ownlm.tokenizer.adapters import tiktoken

        return tiktoken.load(path, family)
    if name.endswith(".model"):
        from ownlm.tokenizer.adapters import sentencepiece

        return sentencepiece.load(path)
    if name.endswith(".gguf"):
        from ownlm.tokenizer.adapters import gguf

        return gguf.load(path)
    if name.endswith("vocab.txt"):
        return _wordpiece(path, cased)
    if name.endswith(("vocab.json", "merges.txt")):
        return _two_files(path.parent, name, family or "gpt2")
    if name.endswith(".json"):
        return from_tokenizer_json(path)
    raise ArtifactError("This is no form of tokenizer known here.", str(path), f"give {FORMS}")


def _in_folder(folder: Path) -> Path:
    """The file that a folder's tokenizer is in. Two candidates of one kind are not chosen between."""
    for name in ("tokenizer.json", "vocab.json", "vocab.txt"):
        if (folder / name).is_file():
            return folder / name
    found = sorted(p for ending in ("model", "tiktoken", "gguf") for p in folder.glob(f"*.{ending}"))
    if len(found) == 1:
        return found[0]
    what = "This folder holds more than one tokenizer." if found else "This folder holds no tokenizer."
    raise ArtifactError(
        what, f"{folder}: {', '.join(p.name for p in found) or 'none of the known files'}", f"give {FORMS}"
    )


def from_tokenizer_json(path: Path) -> Tokenizer | PipelineTokenizer:
    """A tokenizer.json with what lies beside it: tokenizer_config.json, special_tokens_map.json, chat_template.jinja."""
    raw = read_object(path)
    settings, notices = folder_files.read_settings(path.parent)
    template = settings.pop("chat_template")
    if is_native(raw):
        vocabulary = hf_json.from_json(raw, path.name)
        if template is None and not set(SPECIALS) <= vocabulary.specials.keys():
            template = _no_template()
        named = settings["named"] or None
        unknown = [name for name in (named or {}).values() if name not in vocabulary.specials]
        if unknown:
            raise wrong("tokenizer_config.json", "tokens", f"{unknown[0][:60]!r} is no special token")
        try:
            return Tokenizer(
                vocabulary,
                chat_template=template,
                model_max_length=settings.get("model_max_length"),
                named=named,
            )
        except ArtifactError as error:
            raise ArtifactError(error.what, f"{path.name}: {error.values}", error.fix) from error
    return PipelineTokenizer(raw, where=path.name, chat_template=template, notices=notices, **settings)


def _no_template() -> str:
    from ownlm.tokenizer.pipeline import NO_TEMPLATE

    return NO_TEMPLATE


def is_native(raw: dict[str, Any]) -> bool:
    """Whether a tokenizer.json says nothing that `Tokenizer` does not do: the form that hf_json.py writes.

    A file of nearly this form goes to PipelineTokenizer, whose byte-level fast path gives the same ids.
    """
    pre, model, added = raw.get("pre_tokenizer"), raw.get("model"), raw.get("added_tokens", [])
    if not (isinstance(pre, dict) and isinstance(model, dict) and isinstance(added, list)):
        return False
    if any(raw.get(key) is not None for key in ("normalizer", "post_processor", "truncation", "padding")):
        return False
    unusual = any(
        model.get(key) for key in ("dropout", "unk_token", "byte_fallback", "ignore_merges", "fuse_unk",
                                   "continuing_subword_prefix", "end_of_word_suffix")
    )  # fmt: skip
    steps = pre.get("pretokenizers")
    if unusual or model.get("type") != "BPE" or pre.get("type") != "Sequence" or not isinstance(steps, list):
        return False
    if [step.get("type") if isinstance(step, dict) else None for step in steps] != ["Split", "ByteLevel"]:
        return False
    pattern = steps[0].get("pattern")
    known = isinstance(pattern, dict) and pattern.get("Regex") in PATTERNS.values()
    whole = steps[0].get("behavior") == "Isolated" and not steps[0].get("invert")
    bare = steps[1].get("add_prefix_space") is False and steps[1].get("use_regex") is False
    decoder = raw.get("decoder")
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    ours = all(isinstance(row, dict) and row.get("special") and not any(map(row.get, flags)) for row in added)
    byte_level = isinstance(decoder, dict) and decoder.get("type") == "ByteLevel"
    tables = isinstance(model.get("vocab"), dict) and isinstance(model.get("merges"), list)
    return known and whole and bare and ours and byte_level and tables and _only_known_fields(raw)


def _only_known_fields(raw: dict[str, Any]) -> bool:
    """Otherwise PipelineTokenizer, which reads every field, names the one that is unknown."""
    steps = raw["pre_tokenizer"]["pretokenizers"]
    fields = {"add_prefix_space", "trim_offsets", "use_regex", "type"}
    top = {
        "version",
        "truncation",
        "padding",
        "added_tokens",
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
    }
    row = {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}
    return (
        set(raw) <= top and raw.get("version", "1.0") == "1.0" and set(raw["model"]) <= MODEL_FIELDS
        and set(raw["pre_tokenizer"]) == {"type", "pretokenizers"}
        and set(steps[0]) <= {"type", "pattern", "behavior", "invert"} and set(steps[0]["pattern"]) == {"Regex"}
        and set(steps[1]) <= fields and set(raw["decoder"]) <= fields
        and all(set(token) <= row for token in raw.get("added_tokens", []))
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise wrong(path.name, "whole file", f"{path.stat().st_size} bytes, more than {MAX_TEXT_BYTES}")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ArtifactError(
            "A file of this tokenizer is missing.", str(path), "vocab.json and merges.txt belong together"
        ) from None
    except UnicodeDecodeError as error:
        raise wrong(path.name, "whole file", f"not UTF-8 ({error})") from error
    except OSError as error:
        raise ArtifactError("A tokenizer file cannot be read.", f"{path}: {error.strerror}", FIX) from error


def _two_files(folder: Path, name: str, family: str) -> PipelineTokenizer:
    """GPT-2's vocab.json and merges.txt (one pair a line, a first line that begins with #version)."""
    require_family(family)
    stem = name.removesuffix("vocab.json").removesuffix("merges.txt")
    vocab = read_object(folder / f"{stem}vocab.json")
    merges = []
    for number, line in enumerate(_text(folder / f"{stem}merges.txt").split("\n"), 1):
        if not line.strip("\r") or (number == 1 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != 2 or not all(parts):
            raise wrong(f"{stem}merges.txt", f"line {number}", f"{line[:60]!r} is not a pair of tokens")
        merges.append(parts)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERNS[family]}, "behavior": "Isolated", "invert": False}
    raw = _document(
        {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocab, "merges": merges,
        },
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, byte_level]},
        decoder=byte_level,
        specials=[token for token in ("<|endoftext|>",) if token in vocab],
    )  # fmt: skip
    settings, notices = folder_files.read_settings(folder)
    return PipelineTokenizer(raw, where=f"{stem}vocab.json", notices=notices, **settings)


def _wordpiece(path: Path, cased: bool | None) -> PipelineTokenizer:
    """BERT's vocab.txt: one token a line, the line number is the id. Steps as the published BERT tokenizers."""
    lines = _text(path).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    tokens = [line.removesuffix("\r") for line in lines]
    vocab: dict[str, int] = {}
    for id, token in enumerate(tokens):
        if token in vocab:
            raise wrong(path.name, f"line {id + 1}", f"{token[:40]!r} stands on line {vocab[token] + 1} too")
        vocab[token] = id
    missing = [token for token in ("[UNK]", "[CLS]", "[SEP]") if token not in vocab]
    if missing:
        raise wrong(path.name, "tokens", f"no {', '.join(missing)}: no WordPiece vocabulary")
    settings, notices = folder_files.read_settings(path.parent)
    config_path = path.parent / "tokenizer_config.json"
    config = read_object(config_path) if config_path.is_file() else {}
    lower = not cased if cased is not None else config.get("do_lower_case")
    if lower is None:
        lower = not any(token.isascii() and token.isalpha() and token != token.lower() for token in vocab)
        notices.append(
            f"vocab.txt does not say its case: {'lower case' if lower else 'cased'}, as its words are"
        )
    normalizer = {
        "type": "BertNormalizer", "clean_text": True, "strip_accents": config.get("strip_accents"),
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True), "lowercase": lower,
    }  # fmt: skip
    pieces: list[Any] = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]  # fmt: skip
    second = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    raw = _document(
        {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
        normalizer=normalizer,
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        post_processor={
            "type": "TemplateProcessing", "single": pieces, "pair": pieces + second,
            "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        specials=[t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocab],
    )  # fmt: skip
    if not settings["named"]:
        settings["named"] = {
            t[1:-1].lower(): t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocab
        }
    return PipelineTokenizer(raw, where=path.name, notices=notices, **settings)


def _document(model: dict[str, Any], specials: list[str], **parts: Any) -> dict[str, Any]:
    """A whole tokenizer.json around a model whose special tokens are in its vocabulary."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": model["vocab"][token], "content": token, **flags} for token in specials],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        **parts, "model": model,
    }  # fmt: skip
