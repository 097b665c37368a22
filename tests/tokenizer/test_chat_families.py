"""Chat templates of the families: golden strings, transformers on the same folder, masks; templates of strangers; B5 and B7."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from foreign import trained
from token_texts import naughty, synthetic

from ownlm.errors import ArtifactError, RequestError, UsageError
from ownlm.tokenizer import bpe
from ownlm.tokenizer.chat import FAMILIES, control_tokens, encode_chat, render, template
from ownlm.tokenizer.load import load
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.tokenizer import Tokenizer

CONTROLS = {
    "chatml": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
    "mistral_v1": ["<s>", "</s>", "<unk>"],
    "gemma": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    "ownlm": ["<|bos|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|document|>"],
}  # fmt: skip
ROLES = {"chatml": {"eos": "<|im_end|>"}, "llama3": {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}, "gemma": {"bos": "<bos>", "eos": "<eos>"},
         "mistral": {"bos": "<s>", "eos": "</s>"}, "mistral_v1": {"bos": "<s>", "eos": "</s>"}, "ownlm": None}  # fmt: skip
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
]
GOLDEN = {  # written by hand from the published formats
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Hi[/INST] Hello!</s>[INST] Be brief.\n\nBye[/INST]",
    "mistral_v1": "<s> [INST] Be brief.\n\nHi [/INST] Hello!</s> [INST] Bye [/INST]",
    "gemma": "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n"
    "<start_of_turn>model\n",
    "ownlm": "<|bos|><|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>Hello!<|end|><|user|>Bye<|end|><|assistant|>",
}  # fmt: skip
TOOL = {
    "type": "function",
    "function": {
        "name": "now",
        "description": "The <time>.",
        "parameters": {"type": "object", "properties": {}},
    },
}
TOOL_TALK = [
    {"role": "user", "content": "What time is it?"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "now", "arguments": {"zone": "UTC"}}}]},
    {"role": "tool", "content": "12:00 ]", "tool_call_id": "abcdefghi"},
    {"role": "assistant", "content": "Noon."},
    {"role": "user", "content": "Thanks"},
]  # fmt: skip


@pytest.fixture(scope="module")
def family_tokenizers() -> dict[str, Tokenizer]:
    texts = synthetic(1)
    return {
        name: Tokenizer(
            bpe.train(texts, 400, specials=CONTROLS[name]).vocabulary,
            chat_template=template(name),
            named=ROLES[name],
        )
        for name in FAMILIES
    }


@pytest.fixture(scope="module")
def theirs(family_tokenizers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    transformers = pytest.importorskip("transformers")
    found = {}
    for name, tokenizer in family_tokenizers.items():
        folder = tmp_path_factory.mktemp(name)
        tokenizer.save(folder)
        found[name] = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_golden_strings(family_tokenizers, name: str) -> None:
    assert render(family_tokenizers[name], TALK) == GOLDEN[name]


def conversation(rng: random.Random, tools: bool) -> list[dict[str, Any]]:
    def text() -> str:
        return "".join(
            rng.choices(
                ["a", " ", "\n", "é", "中", "'", '"', "<", ">", "|", "[", "]", "{{", "%}", "hello", "12"],
                k=rng.randint(1, 9),
            )
        )

    talk = [{"role": "system", "content": text()}] if rng.random() < 0.5 else []
    for _ in range(rng.randint(1, 3)):
        talk.append({"role": "user", "content": text()})
        if tools and rng.random() < 0.6:
            call = {
                "name": "now",
                "arguments": {"k" + str(rng.randint(0, 9)): text(), "n": rng.randint(0, 9)},
            }
            talk.append(
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"id": "abcdefghi", "type": "function", "function": call}],
                }
            )
            talk.append({"role": "tool", "content": text(), "tool_call_id": "abcdefghi"})
        talk.append({"role": "assistant", "content": text()})
    return talk if rng.random() < 0.4 else talk[:-1] if talk[-2]["role"] == "user" else talk


@pytest.mark.parametrize("name", FAMILIES)
def test_text_ids_and_masks_equal_transformers(family_tokenizers, theirs, name: str) -> None:
    ours, other = family_tokenizers[name], theirs[name]
    rng = random.Random(name)
    tools = name in ("chatml", "mistral")
    for _ in range(25):
        talk = conversation(rng, tools)
        shown = [TOOL] if tools and rng.random() < 0.5 else []
        documents = (
            [{"title": "T<", "source": "s", "text": "x |>"}] if name == "ownlm" and rng.random() < 0.5 else []
        )
        extra: dict[str, Any] = {
            "tools": shown or None,
            "documents": documents or None,
            "add_generation_prompt": rng.random() < 0.5,
        }
        expected = other.apply_chat_template(
            talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **extra
        )
        text = other.apply_chat_template(talk, tokenize=False, **extra)
        assert render(ours, talk, documents, extra["add_generation_prompt"], shown) == text
        got = encode_chat(ours, talk, documents, extra["add_generation_prompt"], shown)
        assert got.ids == expected["input_ids"], text
        assert [int(on) for on in got.trained] == expected["assistant_masks"], text


@pytest.mark.parametrize("kind", ["llama_legacy", "xlmr", "bert_uncased", "qwen2", "llama_metaspace"])
def test_other_tokenizers_equal_transformers(kind: str, tmp_path: Path) -> None:
    """Normalizers, prefixes of first words, stripping special tokens: ids of the rendered text."""
    transformers = pytest.importorskip("transformers")
    raw = trained(kind, synthetic(1), 500)
    names = [row["content"] for row in raw["added_tokens"] if row["special"]]
    for row in raw["added_tokens"]:
        row["rstrip"] = row["content"] == names[1]
    source = (
        "{% for m in messages %}"
        + names[0]
        + "{{ m.role }}\n{% generation %}{{ m.content }}{% endgeneration %}"
        + names[1]
        + "\n{% endfor %}end"
    )
    PipelineTokenizer(raw, chat_template=source).save(tmp_path)
    ours, other = load(tmp_path), transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    rng = random.Random(kind)
    for _ in range(15):
        talk = [m for m in conversation(rng, False) if m["content"].strip()]
        expected = other.apply_chat_template(talk, tokenize=True, return_dict=True)
        got = encode_chat(ours, talk)
        assert got.ids == expected["input_ids"]
    # Masks: transformers loses a stretch whose first character has no token of its own, so they are held to the words.
    talk = [{"role": "user", "content": "hello 12"}, {"role": "user", "content": "12 abc"}]
    got = encode_chat(ours, talk)
    trained_ids = [id for id, on in zip(got.ids, got.trained, strict=True) if on]
    words = ours.decode(ours.encode("hello 12") + ours.encode("12 abc")).replace(" ", "")
    assert ours.decode(trained_ids).replace(" ", "").replace("\n", "") == words


STRANGERS = {
    "macros, namespace, loop controls": "{% macro show(m) %}<{{ m.role | upper }}>{{ m.content }}{% endmacro %}{% set ns = namespace(n=0) %}"
    "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% set ns.n = ns.n + 1 %}{{ show(m) }}{% if ns.n > 1 %}{% break %}{% endif %}{% endfor %}{{ ns.n }}",
    "comparisons with markup": "{% for m in messages %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% endif %}"
    "{% if m.content.startswith('<a>') and m.content[:3] == '<a>' %}A{{ m.content | length }}{% endif %}{{ m.content | replace('<', '(') }}{% endfor %}",
    "json": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{{ messages | tojson(ensure_ascii=True) }}{{ tools[0].function.name }}{{ tools | tojson }}",
    "date": "{{ strftime_now('%Y') }}{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}",
    "slices and filters": "{{ (messages | selectattr('role', 'equalto', 'user') | list | length) }}{{ messages[-1].content | trim }}{{ messages[1:] | map(attribute='role') | join(', ') }}",
    "inline set": "{% set x %}{{ messages[0].content }}{% endset %}{{ x ~ '<|user|>' ~ x }}",
}  # fmt: skip
MARKUP = [
    {"role": "system", "content": "<a> 1 < 2"},
    {"role": "user", "content": "plan</think>\n\n<b>|é"},
    {"role": "assistant", "content": "<a>x"},
    {"role": "user", "content": " end "},
]


@pytest.mark.parametrize("name", STRANGERS)
def test_templates_of_strangers(family_tokenizers, theirs, name: str) -> None:
    """Rendered in the child process; text equals transformers, also where templates compare contents with markup."""
    ours = Tokenizer(family_tokenizers["ownlm"].vocabulary, chat_template=STRANGERS[name])
    expected = theirs["ownlm"].apply_chat_template(
        MARKUP, chat_template=STRANGERS[name], tools=[TOOL] if name == "json" else None, tokenize=False
    )
    assert render(ours, MARKUP, tools=[TOOL] if name == "json" else ()) == expected


def test_options(family_tokenizers) -> None:
    ours = Tokenizer(family_tokenizers["ownlm"].vocabulary, chat_template="{{ enable_thinking }}{{ name }}")
    assert render(ours, [], options={"enable_thinking": False, "name": "n"}) == "Falsen"
    for options in ({"messages": "x"}, {"bos_token": "x"}, {"_hide": "x"}, {"x": [1]}, {"a b": 1}):
        with pytest.raises(RequestError, match="option"):
            render(ours, [], options=options)
    with pytest.raises(RequestError, match="shows no documents"):
        render(family_tokenizers["llama3"], TALK, [{"text": "x"}])
    with pytest.raises(RequestError, match="shows no tools"):
        render(family_tokenizers["gemma"], TALK, tools=[TOOL])
    with pytest.raises(UsageError, match="nope"):
        template("nope")
    with pytest.raises(RequestError, match="came without"):
        render(PipelineTokenizer(trained("word_level", ["a b"], 50)), TALK)
    with pytest.raises(RequestError, match="take turns"):
        render(family_tokenizers["mistral"], [TALK[1], TALK[1]])


# --- B7: no content makes a control id ---


def attacks(controls: list[str], data: Path, count: int) -> list[str]:
    rng = random.Random(7)
    plain = [text for text in naughty(data)[:500] if text.isprintable()]
    pieces = [
        *controls,
        *(name[: len(name) // 2] for name in controls),
        *(name[len(name) // 2 :] for name in controls),
    ]
    texts = list(controls)
    while len(texts) < count:
        texts.append(
            "".join(
                rng.choices(
                    [*pieces, rng.choice(plain), " ", "\n", "\ue000", "\\ue000", "\ue001"],
                    k=rng.randint(1, 5),
                )
            )
        )
    return texts


def channels(text: str, name: str) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": text},
    ]
    found: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
        (talk, []),
        ([{"role": "system", "content": text}, *talk], []),
    ]
    if name in ("chatml", "mistral", "llama3"):
        call = {"id": text, "function": {"name": text, "arguments": {text: text}}}
        asks = {"role": "assistant", "content": "", "tool_calls": [call]}
        found.append(
            (
                [
                    talk[0],
                    asks,
                    {"role": "tool", "content": text, "tool_call_id": text},
                    {"role": "assistant", "content": text},
                ],
                [],
            )
        )
    if name == "ownlm":  # a document's text, its file name, its metadata
        found.append((talk, [{"title": "t", "source": "s", "text": text}]))
        found.append((talk, [{"title": "t", "source": text, "text": "x"}]))
        found.append((talk, [{"title": text, "source": "s", "text": "x", text: text}]))
    else:  # families without documents carry them in a message
        found.append(([{"role": "user", "content": f"[1] {text} ({text})\n{text}"}], []))
    return found


def check_channels(tokenizer: Tokenizer, name: str, texts: list[str]) -> int:
    control = set(control_tokens(tokenizer).values())
    frames = [
        [id for id in encode_chat(tokenizer, *channel).ids if id in control]
        for channel in channels("x", name)
    ]
    for text in texts:
        for channel, frame in zip(channels(text, name), frames, strict=True):
            ids = encode_chat(tokenizer, *channel).ids
            assert [id for id in ids if id in control] == frame, text
            assert tokenizer.decode(ids) == render(tokenizer, *channel)
    return len(texts) * len(frames)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_content_makes_a_control_id(family_tokenizers, data: Path, name: str) -> None:
    assert check_channels(family_tokenizers[name], name, attacks(CONTROLS[name], data, 60)) >= 180


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_no_content_makes_a_control_id_500(family_tokenizers, data: Path, name: str) -> None:
    texts = attacks(CONTROLS[name], data, 500)
    for control in CONTROLS[name]:
        check_channels(family_tokenizers[name], name, [text + control for text in texts[::10]])
    check_channels(family_tokenizers[name], name, texts)


def test_roles_marked_by_tokens_that_are_not_special() -> None:
    """As DeepSeek's <｜User｜>: recognised in text by `encode`, but in a chat only the template writes them."""
    raw = trained("qwen2", synthetic(1), 400)
    ours = PipelineTokenizer(raw, chat_template="{% for m in messages %}<tool>{{ m.content }}{% endfor %}")
    tool, think = (
        next(row["id"] for row in raw["added_tokens"] if row["content"] == name)
        for name in ("<tool>", "<think>")
    )
    assert ours.encode("a<tool>").count(tool) == 1
    ids = encode_chat(ours, [{"content": "a<tool>b<think>"}, {"content": "<to"}, {"content": "ol>"}]).ids
    assert ids.count(tool) == 3 and ids.count(think) == 1
    assert ours.decode(ids) == "<tool>a<tool>b<think><tool><to<tool>ol>"


# --- B5: templates that attack ---

HOSTILE = [
    "{{ messages.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ messages | attr('__class__') }}", "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ '%s' | format(messages.__init__) }}", "{{ '{0.__class__}'.format(1) }}", "{{ raise_exception.__globals__ }}", "{{ namespace.__init__.__globals__ }}",
    "{% include 'x' %}", "{% import 'os' as os %}", "{% extends 'x' %}", "{{ lipsum.__globals__ }}", "{{ self.__init__.__globals__ }}", "{{ config }}{{ cycler() }}",
    "{{ open('/etc/passwd').read() }}", "{{ messages.pop() }}", "{{ messages.append(1) }}", "{{ strftime_now.__globals__ }}", "{{ dict.__subclasses__() }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 'x' * 10 ** 9 }}", "{{ 10 ** 10 ** 8 }}", "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{{ 'x'.ljust(10 ** 9) }}", "{{ '%1000000000d' % 1 }}", "{{ 'a' | center(1000000000) }}", "{{ range(10 ** 9) | list }}", "{{ [0] * 10 ** 9 }}",
    "{% for i in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}", "{{", "{% generation %}", "{{ 1 / 0 }}",
    "{{ ((((((((((((((((((((((1)))))))))))))))))))))) | tojson(indent=10 ** 9) }}" + "{{ [" * 400, "{{ 'a' | wordwrap(0) }}{{ none.x.y }}",
]  # fmt: skip


def test_hostile_templates_end_soon(family_tokenizers, tmp_path: Path) -> None:
    vocabulary = family_tokenizers["ownlm"].vocabulary
    render(Tokenizer(vocabulary, chat_template="{{ 'warm' }}"), TALK)
    for source in HOSTILE:
        started = time.monotonic()
        try:
            text = render(Tokenizer(vocabulary, chat_template=source), TALK)
        except (ArtifactError, RequestError) as error:
            assert "chat" in str(error)
        else:
            assert len(text) < 2000 and "<class" not in text and "root:" not in text, source
        assert time.monotonic() - started < 5.0, (
            source
        )  # the deadline is 0.5 s, the rest is a busy machine and a restart
    assert render(Tokenizer(vocabulary, chat_template="{{ 'alive' }}"), TALK) == "alive"
