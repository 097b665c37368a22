"""The model card in Hugging Face form, rendered from manifests alone: nothing is measured, guessed or recomputed.

What a manifest does not say is printed as "not measured". Read from the build folder:

    ownlm.json             cost {"predicted": {name: number}, "measured": {name: number}}, config, environment
    corpus/ownlm.json      licences, metrics train_documents, train_bytes, heldout_documents, heldout_bytes, funnel
    shards, tokenizer, pretrained, model, index ...   every number in metrics, config, measured seconds
    eval/ownlm.json        metrics as evals.results.manifest_metrics gives them

Model cards: Mitchell et al. 2019, arXiv:1810.03993; front matter: the Hugging Face hub's model card metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ownlm.govern.licence import Statement, combine
from ownlm.govern.lineage import manifests
from ownlm.runtime.artifact import Manifest

NOT_MEASURED = "not measured"
_EMPTY = Manifest(kind="", name="", key="", digest="", files={}, inputs={}, config={})
_TITLES = {
    "bits_per_byte": "bits per byte (held-out documents)", "hit@1": "right passage first", "hit@3": "right passage in the first 3",
    "mrr": "mean reciprocal rank of the passage", "names_subject": "answer names the right object",
    "citation_correct": "answer cites a right passage", "right": "right object and right citation",
    "false_refusal": "answerable question refused", "refusal_correct": "unanswerable question refused",
    "error": "failed requests",
}  # fmt: skip
_BASELINES = {
    "xz": "xz -9e on the held-out text alone", "xz_conditional": "xz -9e after the training text",
    "kneser_ney_5gram": "5-gram Kneser-Ney on the same tokens",
}  # fmt: skip


def model_card(folder: Path | str) -> str:
    """README.md of the model: YAML front matter and body. Raises ArtifactError when `folder` holds no manifest."""
    found = manifests(folder)
    root = found.get(".", _EMPTY)
    name = root.name or Path(folder).resolve().name
    licences = _part(found, "corpus").licences or root.licences or _part(found, "model").licences
    statement = combine(licences)
    sections = [
        _front_matter(name, found, statement),
        f"# {name}\n\nA small assistant, trained from nothing on one collection of text with ownlm "
        f"{root.environment.get('ownlm', NOT_MEASURED)}. It answers questions about that text from retrieved passages "
        "and cites them.\n\nThis card is rendered from the manifests of the build; it holds no number that they do not.",
        _INTENDED,
        _data(found, statement),
        _training(found),
        _evaluation(found),
        _cost(found),
        _lineage(found),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


_INTENDED = """## Intended use

Answering questions about the documents it was built from, with the passages at hand and a mark [n] behind every claim.

## Limits

- It knows only its own documents, and its language model is small: without retrieved passages its text is not reliable.
- A citation shows which passage a claim was taken from; it does not prove the passage right.
- It refuses when retrieval finds nothing relevant; the evaluation below says how often that goes wrong, both ways.
- Not for decisions about people, health, law or safety without someone who checks the passages.
- It was not tested for bias or misuse."""


def _part(found: Mapping[str, Manifest], name: str) -> Manifest:
    return found.get(name, _EMPTY)


def _front_matter(name: str, found: Mapping[str, Manifest], statement: Statement) -> str:
    """YAML of the hub. `language` is und (undetermined) unless the corpus manifest records it."""
    corpus = _part(found, "corpus")
    front: dict[str, Any] = {
        "language": corpus.metrics.get("languages", ["und"]),
        "license": statement.hub_id,
    }
    if statement.hub_id == "other":
        front |= {"license_name": statement.expression.lower().replace(" ", "-"), "license_link": "#licences"}
    front |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["ownlm", "llama", "retrieval-augmented-generation", "trained-from-scratch"],
        "datasets": [_dataset(corpus)],
    }
    results = _model_index(found)
    if results:
        front["metrics"] = sorted({row["metrics"][0]["type"] for row in results})
        front["model-index"] = [{"name": name, "results": results}]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)}---"


def _dataset(corpus: Manifest) -> str:
    paths = corpus.config.get("paths", "unknown")
    if isinstance(paths, str):
        return paths
    return ", ".join(Path(path).name for path in paths)


def _model_index(found: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    results = []
    for task, metric, interval in _measured(found):
        results.append({
            "task": {"type": "text-generation", "name": task},
            "dataset": {"type": "ownlm", "name": f"{_dataset(_part(found, 'corpus'))} ({task})"},
            "metrics": [{"type": metric, "value": interval["value"], "name": _TITLES.get(metric, metric)}],
        })  # fmt: skip
    return results


def _measured(found: Mapping[str, Manifest]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(task, metric, interval) of everything the evaluation's manifest holds."""
    metrics = _part(found, "eval").metrics
    return [
        (task, metric, interval)
        for task in ("heldout", "grounded", "unanswerable")
        for metric, interval in metrics.get(task, {}).items()
    ]


def _data(found: Mapping[str, Manifest], statement: Statement) -> str:
    corpus = _part(found, "corpus")
    sizes = _rows(
        ("documents, training", corpus.metrics.get("train_documents")),
        ("documents, held out", corpus.metrics.get("heldout_documents")),
        ("bytes, training", corpus.metrics.get("train_bytes")),
        ("bytes, held out", corpus.metrics.get("heldout_bytes")),
    )
    licences = table(("licence", "documents", "share"),
                     [(s.licence, number(s.documents), f"{s.share:.1%}") for s in statement.shares])  # fmt: skip
    remarks = "\n".join(f"- {remark}" for remark in statement.remarks)
    return "\n\n".join(part for part in (
        f"## Data\n\nSource: {_dataset(corpus)}.", sizes, "What was kept and what was dropped, step by step:",
        _funnel(corpus.metrics.get("funnel")), f"### Licences\n\nTogether: {statement.expression}.",
        licences if statement.shares else NOT_MEASURED, remarks,
    ) if part)  # fmt: skip


def _funnel(funnel: Mapping[str, Any] | None) -> str:
    if not funnel or not funnel.get("steps"):
        return NOT_MEASURED
    rows = []
    for step in funnel["steps"]:
        reasons = ", ".join(f"{reason}: {number(count)}" for reason, count in step.get("dropped", {}).items())
        notes = ", ".join(f"{note}: {number(count)}" for note, count in step.get("notes", {}).items())
        rows.append((step["step"], number(step["num_in"]), number(step["num_out"]), number(step["num_dropped"]),
                     reasons, notes))  # fmt: skip
    return table(("step", "in", "out", "dropped", "reasons", "changed"), rows)


def _training(found: Mapping[str, Manifest]) -> str:
    parts = ["## Training"]
    for name, title in (("tokenizer", "Tokenizer"), ("shards", "Tokens"), ("pretrained", "Pretraining"),
                        ("questions", "Questions written from the text"), ("model", "Fine-tuning")):  # fmt: skip
        manifest = _part(found, name)
        facts = {**_scalars(manifest.config), **_scalars(manifest.metrics)}
        parts += [f"### {title}", _rows(*facts.items()) if facts else NOT_MEASURED]
    return "\n\n".join(parts)


def _evaluation(found: Mapping[str, Manifest]) -> str:
    rows = [
        (
            task,
            _TITLES.get(metric, metric),
            number(i["value"]),
            f"{number(i['low'])} to {number(i['high'])}",
            number(i["count"]),
        )
        for task, metric, i in _measured(found)
    ]
    baselines = _part(found, "eval").metrics.get("baselines", [])
    beside = [
        (_BASELINES.get(b["name"], b["name"]), number(b["bits_per_byte"]), b.get("note", ""))
        for b in baselines
    ]
    result = table(("task", "metric", "value", "95 % interval", "samples"), rows) if rows else NOT_MEASURED
    compared = table(("baseline", "bits per byte", "note"), beside) if beside else NOT_MEASURED
    return (
        "## Evaluation\n\nOn documents that were held out from training; questions written from them by rule.\n\n"
        f"{result}\n\nBaselines for bits per byte, on the same held-out text:\n\n{compared}"
    )


def _cost(found: Mapping[str, Manifest]) -> str:
    root = found.get(".", _EMPTY)
    predicted, measured = (root.cost.get(name) or {} for name in ("predicted", "measured"))
    rows = []
    for name in dict.fromkeys([*predicted, *measured]):
        p, m = predicted.get(name), measured.get(name)
        if any(isinstance(value, dict | list) for value in (p, m)):
            continue
        rows.append((name, number(p), number(m)))
    stages = [
        (name, number(manifest.cost.get("measured", {}).get("seconds")))
        for name, manifest in found.items() if name != "."
    ]  # fmt: skip
    environment = root.environment or _part(found, "model").environment
    facts = _scalars({k: ", ".join(v) if isinstance(v, list | tuple) else v for k, v in environment.items()})
    return "\n\n".join((
        "## Environmental impact and cost", "Predicted before the run, measured after it:",
        table(("number", "predicted", "measured"), rows) if rows else NOT_MEASURED,
        table(("stage", "seconds measured"), stages) if stages else NOT_MEASURED,
        f"Energy and emissions: {NOT_MEASURED}.", "### Machine", _rows(*facts.items()) if facts else NOT_MEASURED,
    ))  # fmt: skip


def _lineage(found: Mapping[str, Manifest]) -> str:
    rows = []
    for path, manifest in found.items():
        inputs = ", ".join(f"{name} `{digest[:12]}`" for name, digest in manifest.inputs.items())
        rows.append((f"{manifest.kind} ({path})" if path != "." else f"{manifest.kind} (all)",
                     f"`{manifest.digest}`", inputs, manifest.created))  # fmt: skip
    return "## Lineage\n\nSHA-256 digests; `ownlm verify` checks every file behind them.\n\n" + table(
        ("artifact", "digest", "made from", "created"), rows
    )


def _scalars(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted names; lists are left out (they are not numbers to read)."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _scalars(value, f"{prefix}{name}.")
        elif value is not None and not isinstance(value, list | tuple):
            flat[f"{prefix}{name}"] = value
    return flat


def _rows(*facts: tuple[str, Any]) -> str:
    return table(("what", "value"), [(name, number(value)) for name, value in facts])


def number(value: Any) -> str:
    """As the manifest has it: whole numbers with separators, others to 6 digits; None is "not measured"."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; a bar or a line break inside a cell cannot break it."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
