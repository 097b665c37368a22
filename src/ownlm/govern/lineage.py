"""The tree of artifacts, from their manifests alone: what each is, what it was made from, whether that still holds.

`tree` reads no file but `ownlm.json`; `verify` also hashes every file. An input that is missing, or whose digest is
not the one that was used, is a problem: the folder then no longer says what made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.tree import Tree

from ownlm.errors import ArtifactError
from ownlm.runtime import artifact
from ownlm.runtime.artifact import Manifest

_UNFINISHED = (".partial", ".old")


@dataclass(frozen=True, slots=True)
class Node:
    """One artifact. `path` is relative to the folder that was asked about; "." is that folder itself."""

    path: str
    kind: str
    name: str
    digest: str
    created: str
    num_files: int
    licences: dict[str, int]
    seconds: float | None  # measured, None when the manifest does not say


@dataclass(frozen=True, slots=True)
class Edge:
    """`to` was made from the input `name` with digest `digest`; `source` is its path, None when it is not here."""

    to: str
    name: str
    digest: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Nodes in the order in which they were made (inputs first), edges, and what does not fit together."""

    root: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    problems: tuple[str, ...]
    unfinished: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"format": 1, **asdict(self)}

    def inputs(self, path: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.to == path]

    def render(self) -> Tree:
        """A tree from the result down to its sources. A part that was shown already is only named again."""
        top = [node.path for node in self.nodes if not any(edge.source == node.path for edge in self.edges)]
        nodes = {node.path: node for node in self.nodes}
        tree = Tree(f"{self.root}", guide_style="dim")
        seen: set[str] = set()
        for path in reversed(top):
            self._grow(tree, nodes, path, seen)
        for name in self.unfinished:
            tree.add(f"{name} (unfinished)", style="yellow")
        for problem in self.problems:
            tree.add(f"problem: {problem}", style="red")
        return tree

    def _grow(self, tree: Tree, nodes: dict[str, Node], path: str, seen: set[str]) -> None:
        node = nodes[path]
        again = path in seen
        seconds = f", {node.seconds:.1f} s" if node.seconds is not None else ""
        label = f"{node.kind} {path}  sha256:{node.digest[:12]}"
        branch = tree.add(
            label + (" (above)" if again else f"  {node.num_files} files{seconds}  {node.created}")
        )
        if again:
            return
        seen.add(path)
        for edge in self.inputs(path):
            if edge.source is None:
                branch.add(f"{edge.name}  sha256:{edge.digest[:12]}  not in this folder", style="red")
            else:
                self._grow(branch, nodes, edge.source, seen)


def manifests(folder: Path | str) -> dict[str, Manifest]:
    """Every manifest of a build by its path: the folder's own as ".", then those of its subfolders by name.

    Raises ArtifactError when there is none at all, or one is damaged.
    """
    folder = Path(folder)
    found = {}
    if (folder / artifact.NAME).is_file():
        found["."] = artifact.read(folder)
    for path in _subfolders(folder):
        if (path / artifact.NAME).is_file() and not path.name.endswith(_UNFINISHED):
            found[path.name] = artifact.read(path)
    if not found:
        artifact.read(folder)  # raises the error that says what such a folder looks like
    return found


def tree(folder: Path | str) -> Lineage:
    """The lineage of a build folder or of a single artifact (then every input is elsewhere, and said so)."""
    folder = Path(folder)
    found = manifests(folder)
    alone = set(found) == {"."}
    edges, problems = [], []
    for path, manifest in found.items():
        for name, digest in manifest.inputs.items():
            source = _source(found, name, digest)
            edges.append(Edge(path, name, digest, source))
            if source is None and not alone:
                problems.append(_problem(found, path, name, digest))
    nodes = tuple(_node(path, found[path]) for path in _ordered(found, edges))
    unfinished = tuple(path.name for path in _subfolders(folder) if path.name.endswith(".partial"))
    return Lineage(folder.name or str(folder), nodes, tuple(edges), tuple(problems), unfinished)


def verify(folder: Path | str) -> tuple[int, list[str]]:
    """Hash every file of every artifact: (number of files checked, one sentence per problem naming the file)."""
    folder = Path(folder)
    problems, checked = [], 0
    names = [
        p.name
        for p in _subfolders(folder)
        if (p / artifact.NAME).is_file() and not p.name.endswith(_UNFINISHED)
    ]
    for path in [folder, *(folder / name for name in names)]:
        if path == folder and not (path / artifact.NAME).is_file() and names:
            continue
        try:
            manifest = artifact.read(path)
        except ArtifactError as error:
            if path == folder and not names:
                raise  # not an artifact at all
            problems.append(f"{path / artifact.NAME}: {error.what}")
            continue
        checked += len(manifest.files) + len(manifest.rendered)
        if path == folder and names:
            problems += _listed_only(path, manifest)
        else:
            problems += artifact.verify(path)
    if not problems:
        problems = list(tree(folder).problems)
    return checked, problems


def _listed_only(folder: Path, manifest: Manifest) -> list[str]:
    """For the folder of a whole build: its subfolders and logs are not its own files."""
    return [text for text in artifact.verify(folder) if not text.endswith("not listed in the manifest")]


def _subfolders(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.iterdir() if path.is_dir())) if folder.is_dir() else iter(())


def _source(found: dict[str, Manifest], name: str, digest: str) -> str | None:
    """The artifact with that digest: the one of that name, else any."""
    if name in found and found[name].digest == digest:
        return name
    return next((path for path, manifest in found.items() if manifest.digest == digest), None)


def _problem(found: dict[str, Manifest], path: str, name: str, digest: str) -> str:
    if name in found:
        return f"{path} was made from {name} {digest[:12]}, but {name} is now {found[name].digest[:12]}"
    return f"{path} was made from {name} {digest[:12]}, which is not in this folder"


def _node(path: str, manifest: Manifest) -> Node:
    measured = manifest.cost.get("measured", {})
    seconds = measured.get("seconds") if isinstance(measured, dict) else None
    return Node(path, manifest.kind, manifest.name, manifest.digest, manifest.created, len(manifest.files),
                manifest.licences, seconds)  # fmt: skip


def _ordered(found: dict[str, Manifest], edges: list[Edge]) -> list[str]:
    """Inputs before what is made from them. Digests cover inputs, so there are no circles to get lost in."""
    done: dict[str, None] = {}

    def visit(path: str) -> None:
        if path not in done:
            for edge in edges:
                if edge.to == path and edge.source is not None:
                    visit(edge.source)
            done[path] = None

    for path in found:
        visit(path)
    return list(done)
