"""`ownlm tokenizer train|encode|decode|explain|compare|extend|cost`: text into tokens, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ownlm.cli.output import notice, out, print_json
from ownlm.errors import DataError, UsageError

app = typer.Typer(help="Learn, use, look into and compare tokenizers.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Where = Annotated[
    Path,
    typer.Argument(
        metavar="TOKENIZER",
        help="A model or tokenizer folder, a finished build, tokenizer.json, *.tiktoken, *.model, *.gguf, vocab.txt.",
    ),
]
Family = Annotated[
    str | None,
    typer.Option(help="Split pattern, for files that do not say it: gpt2, cl100k, o200k, llama3, qwen2."),
]
Data = Annotated[list[Path], typer.Argument(metavar="DATA...", help="Text files or folders.")]
TextFile = Annotated[
    Path | None, typer.Option("--file", help="Read the text from this file; - is standard input.")
]
Kind = Literal["bpe", "unigram", "wordpiece", "characters", "bytes"]


def load(path: Path, family: str | None = None) -> Any:
    """The tokenizer at a path; of a finished build, the one of its model. Shows what the loader has to say."""
    from ownlm.tokenizer import load as loader

    inner = path / "model"
    path = inner if path.is_dir() and not (path / "tokenizer.json").is_file() and inner.is_dir() else path
    found = loader.load(path, family)
    for line in getattr(found, "notices", ()):
        notice(line)
    return found


@app.command()
def train(
    data: Data,
    folder: Annotated[Path, typer.Option("--out", help="Folder to write the tokenizer into.")],
    kind: Annotated[Kind, typer.Option(help="Algorithm.")] = "bpe",
    vocab_size: Annotated[int, typer.Option(help="Tokens wanted, special ones included.", min=1)] = 32000,
    family: Annotated[
        str | None,
        typer.Option(
            help="Split pattern of bpe: gpt2, cl100k, o200k, llama3 (default), qwen2.", show_default=False
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        typer.Option(
            help="Rarer pairs, substrings or characters are not learned (default 2; characters: 1).",
            min=1,
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn a vocabulary from text and write it as a tokenizer folder that Hugging Face `tokenizers` loads too.

    Exit codes: 0 learned, 2 impossible settings, 3 no text.

    Example: ownlm tokenizer train docs/ --kind unigram --vocab-size 8000 --out out/tokenizer
    """
    from ownlm.tokenizer import trainers
    from ownlm.tokenizer.load import load as reload

    _refuse_model_folder(folder)
    found = trainers.train(kind, _texts(data), vocab_size, family=family, min_count=min_count)
    found.tokenizer.save(folder)
    again = reload(folder)
    if again.digest != found.tokenizer.digest:
        raise DataError(
            "The folder does not give the tokenizer back.", str(folder), "report this as a defect"
        )
    for line in found.notices:
        notice(line)
    facts = {"kind": kind, "folder": str(folder), "vocab_size": found.tokenizer.vocab_size, "requested": vocab_size,
             "num_bytes": found.num_bytes, "seconds": round(found.seconds, 3), "digest": found.tokenizer.digest}  # fmt: skip
    if as_json:
        print_json({**facts, "notices": list(found.notices)})
    else:
        out.print(f"{kind}: {found.tokenizer.vocab_size:,} tokens from {found.num_bytes:,} bytes in {found.seconds:.1f} s -> {folder}", markup=False)  # fmt: skip


@app.command()
def encode(
    tokenizer: Where,
    text: Annotated[str | None, typer.Argument(help="The text.")] = None,
    file: TextFile = None,
    special: Annotated[
        bool, typer.Option("--add-special", help="Add the special tokens that the file puts around a text.")
    ] = False,
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Print the ids of a text and the tokens that they stand for.

    Text that spells a special token stays text.

    Example: ownlm tokenizer encode out/quickstart "How do I sort a list?"
    """
    from ownlm.tokenizer.explained import shown

    found = load(tokenizer, family)
    given = _given(text, file)
    if special and not getattr(found, "raw", {}).get("post_processor"):
        raise UsageError(
            "This tokenizer puts no special tokens around a text.", str(tokenizer), "leave --add-special out"
        )
    ids = found.encode(given, add_special_tokens=True) if special else found.encode(given)
    tokens = [shown(found.token_bytes(id)) for id in ids]
    if as_json:
        print_json({"ids": ids, "tokens": tokens, "num_tokens": len(ids), "num_bytes": len(given.encode())})
        return
    out.print(" ".join(map(str, ids)))
    out.print("│".join(tokens), markup=False)
    out.print(
        f"{len(ids):,} tokens, {len(given.encode()):,} bytes, {len(given.encode()) / max(1, len(ids)):.2f} bytes per token"
    )


@app.command()
def decode(
    tokenizer: Where,
    ids: Annotated[
        list[int] | None, typer.Argument(help="Token ids; none: read them from standard input.")
    ] = None,
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Print the text of token ids.

    Example: ownlm tokenizer decode out/quickstart 104 101 108 108 111
    """
    found = load(tokenizer, family)
    if ids is None:
        words = sys.stdin.read().replace(",", " ").split()
        wrong = [word for word in words if not word.isdecimal()]
        if wrong:
            raise UsageError(
                "Standard input holds something that is no token id.", repr(wrong[0][:40]), "give numbers"
            )
        ids = [int(word) for word in words]
    text = found.decode(ids)
    if as_json:
        print_json({"ids": ids, "text": text})
    else:
        sys.stdout.write(text + "\n")


@app.command()
def explain(
    tokenizer: Where,
    text: Annotated[str, typer.Argument(help="A short text.")],
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Show how a text is cut and encoded: every step, and the tree of merges.

    Example: ownlm tokenizer explain out/quickstart "unbelievable"
    """
    from ownlm.tokenizer.explain import explain as explained

    found = explained(load(tokenizer, family), text)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.render(), markup=False)


@app.command()
def compare(
    tokenizers: Annotated[
        list[Path], typer.Argument(metavar="TOKENIZER...", help="Any tokenizers; NAME=PATH gives one a name.")
    ],
    text: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE of a text to compare on; default: ten built-in samples."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a chart there (.png, .svg, .pdf).")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Price table (see `ownlm tokenizer cost`): adds its models.")
    ] = None,
    train_sizes: Annotated[
        str | None, typer.Option(help="Also train BPE of these sizes on the texts: 1024,4096,32768.")
    ] = None,
    width: Annotated[int, typer.Option(help="Model width, for the size of the embedding.", min=1)] = 768,
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Compare tokenizers over languages and code: fertility, bytes per token, edge cases, price of vocabulary.

    Example: ownlm tokenizer compare out/quickstart cl100k_base.tiktoken --picture fertility.png
    """
    from ownlm.tokenizer import bpe, price
    from ownlm.tokenizer.compare import EDGE_CASES, SAMPLES, size_rows
    from ownlm.tokenizer.compare import compare as compared

    named = dict(_named(str(path)) for path in tokenizers)
    models = {name: load(Path(path), family) for name, path in named.items()}
    if len(named) < len(tokenizers):
        raise UsageError("Two tokenizers have the same name.", ", ".join(named), "name them: NAME=PATH")
    table = price.read_table(prices) if prices else []
    twice = sorted(named.keys() & {row.model for row in table})
    if twice:
        raise UsageError(
            "A tokenizer and a model of the price table have the same name.",
            ", ".join(twice),
            "name it: NAME=PATH",
        )
    models |= {row.model: load(row.tokenizer, family) for row in table}
    texts = {name: _read(Path(path)) for name, path in map(_named, text)} if text else SAMPLES
    found = compared(models, texts, EDGE_CASES)
    facts = found.as_dict()
    facts["embedding_parameters"] = {name: size * width for name, size in found.vocab_sizes.items()}
    for row in table:
        unable = [t for t in texts if found.of(row.model, t).refused]
        if unable:
            raise DataError("The tokenizer of a priced model cannot write a text.", f"{row.model}: {', '.join(unable)}",
                            "leave the text or the model out")  # fmt: skip
    facts["costs"] = [
        price.estimate(row, sum(found.of(row.model, t).num_tokens for t in texts), 0).as_dict()
        for row in table
    ]
    joined = "\n".join(texts.values())
    sizes = _sizes(train_sizes)
    learned = [bpe.train([joined], n) for n in sizes]
    for one in learned:
        if one.training and one.training.notice():
            notice(one.training.notice())
    facts["sizes"] = [asdict(row) for row in size_rows(learned, joined, width)]
    if picture is not None:
        from ownlm.runtime.adapters import matplotlib as plot

        heights = {name: {t: found.of(name, t).bytes_per_token for t in texts} for name in models}
        plot.bars(picture, heights, title="Bytes per token (higher is shorter)", y="UTF-8 bytes per token")
    if as_json:
        print_json(facts)
        return
    _print_comparison(found, facts, list(models), list(texts))
    if picture is not None:
        out.print(f"picture: {picture}")


def _print_comparison(found: Any, facts: dict[str, Any], models: list[str], texts: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Bytes per token / tokens per word", title_justify="left")
    table.add_column("text")
    for name in models:
        table.add_column(f"{escape(name)}\n{found.vocab_sizes[name]:,} tokens", justify="right")
    for text in texts:
        cells = []
        for name in models:
            row = found.of(name, text)
            if row.refused:
                cells.append("cannot write it")
                continue
            fertility = "   –" if row.fertility is None else f"{row.fertility:.2f}"
            cells.append(f"{row.bytes_per_token:.2f} / {fertility}{'' if row.lossless else ' (lossy)'}")
        table.add_row(escape(text), *cells)
    table.add_section()
    table.add_row("embedding", *(f"{facts['embedding_parameters'][name]:,}" for name in models))
    out.print(table)
    table = Table(title="Edge cases", title_justify="left", show_lines=True)
    for head in ("case", *models):
        table.add_column(escape(head), overflow="fold")
    for case, splits in found.edges.items():
        table.add_row(case, *(_split_cell(splits[name]) for name in models))
    out.print(table)
    for row in facts["sizes"]:
        out.print(f"BPE of {row['vocab_size']:,}: {row['num_tokens']:,} tokens, {row['bytes_per_token']:.2f} bytes per token, "
                  f"{row['edge_tokens']} tokens for the edge cases, {row['embedding_parameters']:,} numbers in the embedding")  # fmt: skip
    for row in facts["costs"]:
        out.print(f"{row['model']}: {row['input_tokens']:,} tokens, {row['cost']:.6f}", markup=False)


def _split_cell(tokens: list[str] | None) -> str:
    from rich.markup import escape

    return "cannot write it" if tokens is None else f"{len(tokens)}: {escape('│'.join(tokens))}"


@app.command()
def extend(
    tokenizer: Where,
    data: Data,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the new tokenizer (and the resized model).")
    ],
    tokens: Annotated[int, typer.Option(help="New tokens wanted.", min=1)] = 1000,
    min_count: Annotated[int, typer.Option(min=1, help="Rarer pairs are not learned.")] = 2,
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Add tokens for a new language or domain; old encodings stay valid. A model folder gets its embedding resized.

    New rows start as the mean of the rows of the old tokens that spell the new one.

    Example: ownlm tokenizer extend out/quickstart texts-in-hindi/ --tokens 500 --out out/extended
    """
    from ownlm.tokenizer.extend import extend as extended
    from ownlm.tokenizer.tokenizer import Tokenizer

    _refuse_model_folder(folder)
    old = load(tokenizer, family)
    if not isinstance(old, Tokenizer):
        raise UsageError(
            "Only byte-level BPE tokenizers of ownlm's own form can be extended.",
            f"{tokenizer}: {old.family}",
            "train a new one with `ownlm tokenizer train`",
        )
    source = tokenizer / "model" if (tokenizer / "model" / "config.json").is_file() else tokenizer
    found = extended(old, _texts(data), tokens, min_count)
    resized = (source / "config.json").is_file()
    if resized:
        from ownlm.cli.resize import resize_folder

        resize_folder(source, folder, found.old_size, found.pieces)
    found.tokenizer.save(folder)
    facts = {"folder": str(folder), "vocab_size": found.tokenizer.vocab_size, "new_tokens": len(found.pieces),
             "requested": found.requested, "tokens_before": found.tokens_before, "tokens_after": found.tokens_after,
             "num_bytes": found.num_bytes, "model_resized": resized}  # fmt: skip
    if as_json:
        print_json(facts)
    else:
        out.print(f"{found.notice()} -> {folder}{' with its model' if resized else ''}", markup=False)


@app.command()
def cost(
    text: Annotated[str | None, typer.Argument(help="The prompt.")] = None,
    file: TextFile = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="YAML: model -> tokenizer, input, output (per million tokens), context."),
    ] = None,
    output_tokens: Annotated[int, typer.Option(help="Tokens of answer to reckon with.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Count a prompt's tokens for every model of a price table, and what it will cost.

    The table is yours, because prices change:  small: {tokenizer: o200k_base.tiktoken, input: 0.25, output: 2.0}

    Example: ownlm tokenizer cost --file prompt.txt --prices prices.yaml --output-tokens 500
    """
    from ownlm.tokenizer import price

    if prices is None:
        raise UsageError(
            "A price table is needed.", "--prices is missing", "ownlm tokenizer cost --help shows one"
        )
    given = _given(text, file)
    rows = [
        price.estimate(row, len(load(row.tokenizer).encode(given)), output_tokens).as_dict()
        for row in price.read_table(prices)
    ]
    if as_json:
        print_json({"estimates": rows})
        return
    for row in rows:
        room = {None: "", True: "", False: "  DOES NOT FIT its context"}[row["fits"]]
        out.print(f"{row['model']:<24} {row['input_tokens']:>9,} in + {row['output_tokens']:,} out  {row['cost']:.6f}{room}", markup=False)  # fmt: skip


def _refuse_model_folder(folder: Path) -> None:
    """A model's tokenizer is never written over: its ids would no longer be those that the model knows."""
    if (folder / "config.json").is_file() or (folder / "model" / "config.json").is_file():
        raise UsageError(
            "There is a model in this folder, and it needs the tokenizer that it has.",
            f"--out {folder}",
            "choose another folder",
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError("This is a file, not a folder.", f"--out {folder}", "choose another name")


def _given(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise UsageError("Give a text, or a file with --file.", "both or neither were given", "see --help")
    if text is not None:
        return text
    return sys.stdin.read() if str(file) == "-" else _read(file or Path())


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError("The file cannot be read.", f"{path}: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError("The file is not UTF-8 text.", f"{path}: {error}", "convert it first") from error


def _texts(paths: list[Path]) -> Iterator[str]:
    """Text of files and folders through the readers of the data room; what they refuse is shown."""
    from ownlm.data.read import read
    from ownlm.records import Drop

    refused = 0
    for item in read(paths):
        if isinstance(item, Drop):
            refused += 1
            notice(f"left out {item.source}: {item.reason}") if refused <= 5 else None
        else:
            yield item.text
    if refused > 5:
        notice(f"left out {refused} files in all")


def _named(given: str) -> tuple[str, str]:
    """NAME=PATH, or a path named after itself."""
    name, sign, path = given.partition("=")
    return (
        (name, path)
        if sign
        else (Path(given).stem if Path(given).is_file() else Path(given).name or given, given)
    )


def _sizes(given: str | None) -> list[int]:
    try:
        return [int(part) for part in given.split(",")] if given else []
    except ValueError:
        raise UsageError("--train-sizes wants numbers.", repr(given), "--train-sizes 1024,4096") from None
