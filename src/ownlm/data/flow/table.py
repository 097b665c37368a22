"""The steps by the names they have in a pipeline file, in the order in which a pipeline usually has them.

A new step is one file with one class (docs/data.md shows one of 20 lines) and one line here. A step of your own needs no
line: `my_filter.py:MyFilter` in the pipeline file names the file and the class.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ownlm.config import Settings
from ownlm.data.flow.step import CorpusStep, Step
from ownlm.errors import UsageError

STEPS: dict[str, str] = {
    "remove": "ownlm.data.flow.remove:Remove",
    "url_filter": "ownlm.data.filters.url:UrlFilter",
    "opt_out": "ownlm.data.filters.opt_out:OptOut",
    "extract": "ownlm.data.extract.extract:Extract",
    "licences": "ownlm.data.filters.licence_filter:Licences",
    "clean": "ownlm.data.clean:Clean",
    "basic_quality": "ownlm.data.quality:BasicQuality",
    "language": "ownlm.data.filters.language:Language",
    "line_filter": "ownlm.data.filters.lines:LineFilter",
    "c4": "ownlm.data.filters.c4:C4",
    "short_documents": "ownlm.data.filters.short:ShortDocuments",
    "paragraphs": "ownlm.data.filters.short:Paragraphs",
    "symbols": "ownlm.data.filters.short:Symbols",
    "gopher_quality": "ownlm.data.filters.gopher:GopherQuality",
    "gopher_repetition": "ownlm.data.filters.repetition:GopherRepetition",
    "fineweb": "ownlm.data.filters.fineweb:FineWebQuality",
    "perplexity": "ownlm.data.filters.perplexity:Perplexity",
    "quality_model": "ownlm.data.filters.quality_model:QualityModel",
    "toxicity": "ownlm.data.filters.toxicity:Toxicity",
    "by_score": "ownlm.data.filters.by_score:ByScore",
    "pii": "ownlm.data.filters.pii:Pii",
    "dedup_exact": "ownlm.data.dedup.exact:ExactDuplicates",
    "dedup_lines": "ownlm.data.dedup.lines:LineDuplicates",
    "dedup_paragraphs": "ownlm.data.dedup.lines:ParagraphDuplicates",
    "dedup_minhash": "ownlm.data.dedup.minhash:MinHash",
    "dedup_simhash": "ownlm.data.dedup.simhash:SimHash",
    "dedup_substrings": "ownlm.data.dedup.substrings:SubstringDuplicates",
    "dedup_semantic": "ownlm.data.dedup.semantic:SemanticDuplicates",
    "decontaminate": "ownlm.data.decontaminate:Decontaminate",
    "dsir": "ownlm.data.mix.dsir:Dsir",
    "mix": "ownlm.data.mix.mix:Mix",
}


def find(name: str, folder: Path) -> type[Settings]:
    """The class of a step. `folder`: where relative names of Python files start."""
    place, colon, kind = name.rpartition(":")
    if colon and place.endswith(".py"):
        return _of_file((folder / place).resolve(), kind, name)
    if name not in STEPS:
        close = difflib.get_close_matches(name, STEPS, n=1, cutoff=0.5)
        fix = (
            f"did you mean {close[0]}?" if close else "`ownlm data steps` lists them; your own: file.py:Class"
        )
        raise UsageError("There is no such step.", name, fix)
    module, _, kind = STEPS[name].partition(":")
    found: type[Settings] = getattr(importlib.import_module(module), kind)
    return found


@cache
def _of_file(path: Path, kind: str, name: str) -> type[Settings]:
    """A class out of the user's own Python file, which runs: it is named in the user's own pipeline file."""
    if not path.is_file():
        raise UsageError(
            "The file of a step does not exist.", f"{name}: {path}", "names are relative to the pipeline file"
        )
    spec = importlib.util.spec_from_file_location(
        f"ownlm_step_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}", path
    )
    if spec is None or spec.loader is None:
        raise UsageError("The file of a step is not Python.", f"{name}: {path}", "give a .py file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = getattr(module, kind)
    except Exception as error:
        raise UsageError(
            "The file of a step cannot be loaded.", f"{path}: {type(error).__name__}: {error}", ""
        ) from error
    if not (inspect.isclass(found) and issubclass(found, Settings)):
        raise UsageError(
            "A step must be a class on ownlm.config.Settings.", f"{name} in {path}", "see docs/data.md"
        )
    return found


def build(name: str, options: Mapping[str, Any], folder: Path) -> Step | CorpusStep:
    """The step with its options checked. Raises UsageError naming the option."""
    kind = find(name, folder)
    try:
        step = kind.model_validate(dict(options))
    except ValidationError as error:
        lines = [
            f"{name}.{'.'.join(map(str, problem['loc']))} = {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        ]
        known = ", ".join(kind.model_fields) or "none"
        raise UsageError(
            "An option of a step is not valid.", "\n".join(lines), f"options of {name}: {known}"
        ) from error
    if isinstance(step, (Step, CorpusStep)):
        return step
    raise UsageError(
        "A class is not a step.",
        f"{name}: it has neither __call__ nor sketch, decide, apply",
        "see docs/data.md",
    )


def explain(name: str) -> dict[str, Any]:
    """JSON: what a step does and its options with their defaults, types and explanations."""
    kind = find(name, Path.cwd())
    options = []
    for key, field in kind.model_fields.items():
        default = "(required)" if field.is_required() else field.get_default(call_default_factory=True)
        options.append(
            {"name": key, "default": str(default), "about": " ".join((field.description or "").split())}
        )
    return {"about": " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()), "options": options}


def paths_of(step: Settings) -> list[Path]:
    """The files that a step reads: its options of type Path."""
    found = []
    for value in (getattr(step, name) for name in type(step).model_fields):
        items = value if isinstance(value, (list, tuple)) else [value]
        found += [item for item in items if isinstance(item, Path)]
    return found
