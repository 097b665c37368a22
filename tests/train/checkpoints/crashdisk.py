"""A recording layer under a save, and every disk that a crash could leave behind (the idea of ALICE, Pillai 2014).

What POSIX promises and no more: a write is durable after fsync of its file, a name after fsync of its folder; until
then each may be there or not, in any order, and a write may be torn. `Disk.record` runs a save and notes its operations
on inodes; `states` yields the trees that a crash after each prefix could leave; `lay` puts such a tree on the disk.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0
Torn = dict[int, tuple[int, set[int]]]  # number of a write -> size of a block, the blocks that survive


@dataclass
class Operation:
    kind: str  # link, unlink, rename, write, syncfile, syncdir
    inode: int  # the folder for link, unlink, rename, syncdir; else the file
    name: str = ""
    target: int = 0  # link, rename: what the name leads to
    new_name: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Tree:
    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    files: dict[int, bytes] = field(default_factory=dict)


class Disk:
    """Patches what a save does to the disk; counts, notes, and can fail or leave out operations."""

    def __init__(self, patch, root: Path, omit: tuple[str, ...] = (),
                 fail: Callable[[int], OSError | None] = lambda number: None) -> None:  # fmt: skip
        self.root, self.omit, self.fail, self.count = root.resolve(), omit, fail, 0
        self.start, self.operations = Tree(), []
        self.inodes: dict[Path, int] = {}
        self._read(self.root, ROOT)
        self._patch(patch)

    def _read(self, path: Path, inode: int) -> None:
        self.inodes[path] = inode
        if path.is_dir():
            self.start.folders[inode] = names = {}
            for entry in sorted(path.iterdir()):
                names[entry.name] = len(self.inodes)
                self._read(entry, len(self.inodes))
        else:
            self.start.files[inode] = path.read_bytes()

    def _note(self, kind: str, inode: int, **facts) -> None:
        if kind not in self.omit:
            self.operations.append(Operation(kind, inode, **facts))

    def _begin(self) -> None:
        self.count += 1
        if (error := self.fail(self.count)) is not None:
            raise error

    def _inside(self, path) -> Path | None:
        path = Path(os.path.abspath(path))
        return path if path.is_relative_to(self.root) and path != self.root else None

    def _create(self, path: Path) -> None:
        inode = self.inodes[path] = 1_000_000 + len(self.operations) + len(self.inodes)
        self._note("link", self.inodes[path.parent], name=path.name, target=inode)

    def _move(self, real, old, new) -> None:
        old, new = self._inside(old), self._inside(new)
        assert old.parent == new.parent, "only renames within one folder are modelled"
        self._begin()
        real(old, new)
        moved = {
            path: inode for path, inode in self.inodes.items() if path == old or path.is_relative_to(old)
        }
        self._note("rename", self.inodes[old.parent], name=old.name, target=moved[old], new_name=new.name)
        for path in moved:
            del self.inodes[path]
        self.inodes |= {new / path.relative_to(old): inode for path, inode in moved.items()}

    def _remove(self, real, path, *rest, **options) -> None:
        if (inside := self._inside(path)) is None:
            return real(path, *rest, **options)
        self._begin()
        real(path, *rest, **options)
        self._note("unlink", self.inodes[inside.parent], name=inside.name)
        del self.inodes[inside]

    def _patch(self, patch) -> None:
        mkdir, fsync, unlink, rmdir, mkstemp, fdopen, rename, replace = (
            os.mkdir, os.fsync, os.unlink, os.rmdir, tempfile.mkstemp, os.fdopen, os.rename, os.replace,
        )  # fmt: skip

        def made(path, *rest, **options):
            if (inside := self._inside(path)) is None:
                return mkdir(path, *rest, **options)
            self._begin()
            mkdir(path, *rest, **options)
            self._create(inside)

        def synced(descriptor):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self._begin()
            fsync(descriptor)
            if path in self.inodes:
                self._note("syncdir" if path.is_dir() else "syncfile", self.inodes[path])

        def temporary(*rest, **options):
            self._begin()
            descriptor, name = mkstemp(*rest, **options)
            self._create(Path(name))
            return descriptor, name

        def emptied(path, ignore_errors=False, **options):
            """rmtree by paths: the same operations as shutil's, whose descriptors hide the folder."""
            try:
                for entry in sorted(Path(path).iterdir()):
                    emptied(entry, ignore_errors) if entry.is_dir() else os.unlink(entry)
                os.rmdir(path)
            except OSError:
                if not ignore_errors:
                    raise

        patch.setattr(os, "mkdir", made)
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "unlink", lambda path, *r, **o: self._remove(unlink, path, *r, **o))
        patch.setattr(os, "rmdir", lambda path, *r, **o: self._remove(rmdir, path, *r, **o))
        patch.setattr(os, "rename", lambda old, new: self._move(rename, old, new))
        patch.setattr(os, "replace", lambda old, new: self._move(replace, old, new))
        patch.setattr(tempfile, "mkstemp", temporary)
        patch.setattr(os, "fdopen", lambda descriptor, mode: _File(self, fdopen(descriptor, mode, 0)))
        patch.setattr(shutil, "rmtree", emptied)


class _File:
    """An unbuffered file whose every write is an operation."""

    def __init__(self, disk: Disk, file) -> None:
        self.disk, self.file = disk, file
        self.inode = disk.inodes[Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))]

    def write(self, data) -> int:
        self.disk._begin()
        self.disk._note("write", self.inode, offset=self.file.tell(), data=bytes(data))
        assert self.file.write(data) == len(data)
        return len(data)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self.file.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.file.close()


def states(disk: Disk, dice: random.Random, at_random: int) -> Iterator[tuple[str, int, Tree]]:
    """(what was lost, operations begun, the tree), each tree once, those of the finished save first: for every prefix
    nothing lost, everything unsynced lost, each one lost alone, each one the only survivor, each write torn at
    multiples of 512 and 4,096 bytes, and `at_random` where any operation and any block of a write may be lost."""
    seen = set()
    for what, end, tree in _all_states(disk, dice, at_random):
        key = (end == len(disk.operations), _named(tree, ROOT))
        if key not in seen:
            seen.add(key)
            yield what, end, tree


def _named(tree: Tree, inode: int) -> object:
    """The tree as a value: what hangs at no name is no part of it."""
    names = tree.folders.get(inode)
    if names is None:
        return tree.files.get(inode, b"")
    return tuple((name, _named(tree, target)) for name, target in sorted(names.items()))


def _all_states(disk: Disk, dice: random.Random, at_random: int) -> Iterator[tuple[str, int, Tree]]:
    operations = disk.operations
    for end in range(len(operations), -1, -1):
        pending = _pending(operations[:end])
        losses: list[tuple[str, set[int], Torn]] = [("nothing lost", set(), {})]
        if pending:
            losses.append(("all unsynced lost", set(pending), {}))
        for number in pending:
            others = set(pending) - {number}
            losses += [(f"{number} lost", {number}, {}), (f"only {number} kept", others, {})]
            for size in (512, 4096) if operations[number].kind == "write" else ():
                for blocks in range(1, -(-len(operations[number].data) // size)):
                    torn = {number: (size, set(range(blocks)))}
                    losses.append((f"{number} torn at {blocks * size}", set(), torn))
        for _ in range(at_random if pending else 0):
            lost = {number for number in pending if dice.random() < 0.4}
            torn = {}
            for number in pending:
                size = dice.choice((512, 4096))
                blocks = range(-(-len(operations[number].data) // size))
                torn[number] = size, {block for block in blocks if dice.random() < 0.6}
            losses.append((f"{sorted(lost)} lost, blocks {torn} kept", lost, torn))
        for what, lost, torn in losses:
            yield what, end, _after(disk.start, operations[:end], lost, torn)


def _pending(prefix: list[Operation]) -> list[int]:
    """Operations that no later fsync made durable."""
    found = []
    for number, operation in enumerate(prefix):
        if operation.kind in ("syncfile", "syncdir"):
            continue
        wanted = "syncfile" if operation.kind == "write" else "syncdir"
        later = prefix[number + 1 :]
        if not any(sync.kind == wanted and sync.inode == operation.inode for sync in later):
            found.append(number)
    return found


def _after(start: Tree, prefix: list[Operation], lost: set[int], torn: Torn) -> Tree:
    tree = Tree({inode: dict(names) for inode, names in start.folders.items()}, dict(start.files))
    for number, operation in enumerate(prefix):
        if number in lost:
            continue
        if operation.kind == "write":
            data = _survives(operation.data, *torn[number]) if number in torn else operation.data
            old = tree.files.get(operation.inode, b"").ljust(operation.offset, b"\0")
            tree.files[operation.inode] = old[: operation.offset] + data + old[operation.offset + len(data) :]
        elif operation.kind in ("link", "unlink", "rename"):
            names = tree.folders.setdefault(operation.inode, {})
            if operation.kind != "link":
                names.pop(operation.name, None)
            if operation.kind != "unlink":
                names[operation.new_name or operation.name] = operation.target
    return tree


def _survives(data: bytes, size: int, kept: set[int]) -> bytes:
    """The kept blocks of `size` bytes; lost ones are zero, lost ones at the end are not there."""
    rest = data[: (max(kept, default=-1) + 1) * size]
    blocks = [rest[at : at + size] for at in range(0, len(rest), size)]
    return b"".join(block if number in kept else bytes(len(block)) for number, block in enumerate(blocks))


def lay(tree: Tree, folder: Path, made: frozenset[int] | set[int], inode: int = ROOT) -> None:
    """Put a tree on the disk at `folder`; `made`: inodes that are folders even while empty."""
    folder.mkdir(exist_ok=True)
    for name, target in tree.folders.get(inode, {}).items():
        if target in tree.folders or target in made:
            lay(tree, folder / name, made, target)
        else:
            (folder / name).write_bytes(tree.files.get(target, b""))


def folders_of(disk: Disk) -> set[int]:
    """Inodes made by mkdir: those that something was put into, or that were synced as folders."""
    return {operation.inode for operation in disk.operations if operation.kind in ("link", "rename", "unlink", "syncdir")}  # fmt: skip
