"""A small real folder of text, and one small build of it that the tests of this folder share."""

import shutil
import sysconfig
from pathlib import Path

import pytest
from running import SETTINGS, ownlm

MODULES = [
    "textwrap",
    "csv",
    "shutil",
    "argparse",
    "bisect",
    "calendar",
    "cmd",
    "code",
    "codeop",
    "colorsys",
    "configparser",
    "contextlib",
    "copy",
    "datetime",
    "difflib",
    "dis",
    "fileinput",
    "fnmatch",
    "fractions",
    "getopt",
    "getpass",
    "gettext",
    "glob",
    "gzip",
    "heapq",
    "hmac",
    "imaplib",
    "inspect",
    "linecache",
    "locale",
    "mailbox",
    "netrc",
    "numbers",
    "operator",
    "optparse",
    "pathlib",
    "pprint",
    "queue",
    "random",
    "sched",
    "secrets",
    "shelve",
    "shlex",
    "smtplib",
    "statistics",
    "string",
    "tempfile",
]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """Fifty modules of the standard library as somebody's own folder, with a licence file and some junk."""
    folder = tmp_path_factory.mktemp("library")
    source = Path(sysconfig.get_paths()["stdlib"])
    for name in MODULES:
        shutil.copy(source / f"{name}.py", folder / f"{name}.py")
    (folder / "LICENSE").write_text("SPDX-License-Identifier: PSF-2.0\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (folder / "notes.md").write_text(
        "# Notes\n\nThe zorblax is a device that counts gremlins in the attic of the house.\n" * 3
    )
    return folder


@pytest.fixture(scope="session")
def built(library, tmp_path_factory):
    """A finished build. Read only: copy it before changing anything."""
    out = tmp_path_factory.mktemp("built") / "library"
    result = ownlm("build", "--data", library, "--out", out, *SETTINGS, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return out


@pytest.fixture
def copied(built, tmp_path):
    """The build, to be damaged."""
    return Path(shutil.copytree(built, tmp_path / "copy"))
