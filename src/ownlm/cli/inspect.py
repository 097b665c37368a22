"""`ownlm trace|lineage|verify|card`: where an answer and a model come from, read from manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.output import err, out, print_json
from ownlm.errors import DigestMismatch, UsageError

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A finished build.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def trace(
    folder: Folder,
    answer: Annotated[str, typer.Argument(help="The answer to trace back.")],
    question: Annotated[
        str | None, typer.Option(help="The question it answered: shows what retrieval finds for it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the longest verbatim spans that an answer shares with training documents, and the passages behind it.

    Example: ownlm trace out/quickstart "Collapse and truncate the given text to fit in the given width."
    """
    from ownlm.data.overlap import Overlap
    from ownlm.govern import trace as tracing
    from ownlm.rag.lexical import LexicalIndex
    from ownlm.runtime import artifact

    if not answer.strip():
        raise UsageError("The answer is empty.", "", 'ownlm trace DIR "some answer"')
    artifact.read(folder)
    index = LexicalIndex(folder / "index" / "passages.sqlite")
    passages = index.search(question or answer, 3)
    found = tracing.trace(answer, Overlap(folder / "overlap"), index, question=question, passages=passages)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.render(), markup=False)


def lineage(folder: Folder, as_json: Json = False) -> None:
    """Print the tree of artifacts: each with its digest and what it was made from.

    Exit codes: 0 consistent, 4 an input is missing or is not the one that was used.

    Example: ownlm lineage out/quickstart
    """
    from ownlm.govern import lineage as tree

    found = tree.tree(folder)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.render())
    if found.problems:
        raise typer.Exit(4)


def verify(folder: Folder, as_json: Json = False) -> None:
    """Check every hash; name each file that is wrong.

    Exit codes: 0 all as it was made, 4 something differs.

    Example: ownlm verify out/quickstart
    """
    from ownlm.govern import lineage as tree

    checked, problems = tree.verify(folder)
    if as_json:
        print_json({"ok": not problems, "files": checked, "problems": problems})
    elif not problems:
        out.print(f"ok: {checked} files are as they were made")
    if problems:
        if as_json:
            raise typer.Exit(DigestMismatch.exit_code)
        raise DigestMismatch(f"{len(problems)} file(s) differ from the manifests.", "\n".join(problems),
                             f"run the same `ownlm build --out {folder}` again: it makes damaged parts anew")  # fmt: skip


def card(
    folder: Folder,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write it to this file instead of printing it.")
    ] = None,
) -> None:
    """Render the model card (Hugging Face form) from the manifests alone.

    Example: ownlm card out/quickstart --to README.md
    """
    from ownlm.govern.card import model_card
    from ownlm.runtime.files import write_atomic

    text = model_card(folder)
    if to is None:
        print(text)  # noqa: T201 - the card itself is the output
    else:
        write_atomic(to, text)
        err.print(f"written: {to}", markup=False)
