import copy
import json
import random

import pytest
from token_texts import code, declarations, naughty, random_texts, synthetic, techdocs

from ownlm.errors import ArtifactError
from ownlm.tokenizer import bpe, hf_json
from ownlm.tokenizer.pretokenize import PATTERNS
from ownlm.tokenizer.tokenizer import Tokenizer

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="session")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.model_max_length = 512
    tokenizer.save(path)
    return path


def equal_ids(ours: Tokenizer, theirs, texts: list[str]) -> None:
    # text that spells a special token is ordinary for us, by design; HF makes a control token of it
    texts = [text for text in texts if "<|" not in text]
    for text, ids in zip(texts, ours.encode_batch(texts), strict=True):
        assert theirs.encode(text).ids == ids.tolist(), text[:80]


def test_hf_tokenizers_gives_equal_ids_on_real_text(tokenizer: Tokenizer, folder, data) -> None:
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [*techdocs(data, 60), *code(data, 25), *naughty(data), *declarations(data, 40)]
    equal_ids(tokenizer, theirs, texts)


@pytest.mark.slow
def test_hf_tokenizers_gives_equal_ids_on_all_test_text(data, tmp_path) -> None:
    texts = [*techdocs(data, 1), *code(data, 1), *naughty(data), *declarations(data, 1)]
    ours = bpe.train(texts, 16384)
    ours.save(tmp_path)
    equal_ids(ours, tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")), texts)


@pytest.mark.parametrize("family", PATTERNS)
def test_every_family_gives_equal_ids_on_random_unicode(family: str, tmp_path) -> None:
    ours = bpe.train([*synthetic(3), "Ab Cd's 12345 //\n" * 50], 700, family=family)
    ours.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = random_texts(11, 400, 50)
    equal_ids(ours, theirs, texts)
    for text in texts[:50]:
        assert theirs.decode(ours.encode(text), skip_special_tokens=False) == text


def test_transformers_loads_the_folder(tokenizer: Tokenizer, folder) -> None:
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)
    text = "def f(x):\n    return 'naïve' * 12345  # 你好"
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert len(theirs) == tokenizer.vocab_size and theirs.model_max_length == 512
    for key, name in (("bos", "<|bos|>"), ("eos", "<|end|>"), ("pad", "<|pad|>")):
        assert getattr(theirs, f"{key}_token_id") == tokenizer.special_id(name)
    assert theirs.decode(tokenizer.encode(text)) == text


def test_round_trip_through_the_folder(tokenizer: Tokenizer, folder, tmp_path) -> None:
    again = Tokenizer.load(folder)
    assert again.digest == tokenizer.digest and again.specials == tokenizer.specials
    assert again.model_max_length == 512 and again.chat_template == tokenizer.chat_template
    again.save(tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_folders_template_is_the_one_used(tokenizer: Tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}mine")
    assert Tokenizer.load(tmp_path).chat_template == "{{ bos_token }}mine"


def damage(data: dict, path: str, value: object) -> dict:
    data = copy.deepcopy(data)
    *parents, last = path.split("/")
    at = data
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if value is ...:
        del at[int(last) if isinstance(at, list) else last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("model/vocab/!", ..., "model.vocab"),  # the byte 0x21 is gone, and its id
        ("model/vocab/!", 34, "model.vocab"),
        ("model/vocab/!", -1, "model.vocab"),
        ("model/vocab/!", 1.5, "model.vocab"),
        ("model/vocab/!", True, "model.vocab"),
        ("model/vocab/!", 999999, "model.vocab"),
        ("model/vocab/ \t", 2048, "model.vocab"),
        ("model/vocab", [], "vocab"),
        ("model/merges", ..., "model.merges"),
        ("model/merges/3", ["zzzzqq", "a"], "model.merges[3]"),
        ("model/merges/3", "a", "model.merges[3]"),
        ("model/merges/3", ["!", "<|bos|>"], "model.merges[3]"),
        ("model/merges/3", ["ÿ", "ÿ"], "model.merges[3]"),
        ("model/type", "Unigram", "model.type"),
        ("model/byte_fallback", True, "model.byte_fallback"),
        ("model", ..., "model"),
        ("normalizer", {"type": "NFC"}, "normalizer"),
        ("pre_tokenizer", None, "pre_tokenizer"),
        ("pre_tokenizer/pretokenizers/0/pattern/Regex", "(a+)+$", "pretokenizers[0].pattern.Regex"),
        ("pre_tokenizer/pretokenizers/0/pattern/Regex", "(((", "pretokenizers[0].pattern.Regex"),
        ("pre_tokenizer/pretokenizers/1/add_prefix_space", True, "pretokenizers[1].add_prefix_space"),
        ("added_tokens/0/id", 5, "added_tokens[0].id"),
        ("added_tokens/0/id", "5", "added_tokens[0].id"),
        ("added_tokens/1/content", "<|bos|>", "added_tokens[1].id"),
        ("added_tokens/0/content", "", "added_tokens[0].content"),
        ("added_tokens/0/content", "self", "added_tokens[0].id"),
        ("added_tokens/0/lstrip", True, "added_tokens[0].lstrip"),
        ("added_tokens/0/special", False, "added_tokens[0].special"),
    ],
)
def test_damage_is_refused_by_field_name(folder, tmp_path, path: str, value: object, field: str) -> None:
    data = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(damage(data, path, value)), "utf-8")
    with pytest.raises(ArtifactError) as caught:
        Tokenizer.load(tmp_path)
    assert field in caught.value.values and "tokenizer.json" in caught.value.values


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 1, "model": 2}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path, raw: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_missing_files_are_refused(tmp_path) -> None:
    with pytest.raises(ArtifactError, match="missing"):
        Tokenizer.load(tmp_path / "nothing")


def test_mutated_files_are_refused_or_work(tmp_path) -> None:
    """200 random mutations: an ArtifactError, or a tokenizer whose round trip holds. Nothing else."""
    raw = json.dumps(hf_json.to_json(bpe.train(["ab ab abc abc"], 320).vocabulary)).encode()
    rng = random.Random(5)
    refused = 0
    for _ in range(200):
        mutated = bytearray(raw)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(mutated))
            mutated[at : at + rng.randint(0, 9)] = bytes(
                rng.choices(b'0123456789{}[],":abcdef', k=rng.randint(0, 4))
            )
        (tmp_path / "tokenizer.json").write_bytes(mutated)
        try:
            again = Tokenizer.load(tmp_path)
        except ArtifactError:
            refused += 1
            continue
        assert again.decode(again.encode("abc é <|bos|> 😀")) == "abc é <|bos|> 😀"
    assert refused > 50


def test_a_merge_given_twice_is_refused(folder, tmp_path) -> None:
    data = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    data["model"]["merges"][3] = data["model"]["merges"][0]
    (tmp_path / "tokenizer.json").write_text(json.dumps(data), "utf-8")
    with pytest.raises(ArtifactError, match=r"model\.merges\[3\].*occurs twice"):
        Tokenizer.load(tmp_path)
