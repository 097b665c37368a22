"""Which licence a document is under: its own header, else the nearest licence file up to the data folder.

Recognised by characteristic sentences of the licence texts, after white space and case are evened out. A licence
file that is there but not recognised gives "LicenseRef-<name>", so that it is not mistaken for none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

UNKNOWN = "unknown"
_MOST_BYTES = 1 << 18
_NAME = re.compile(
    r"^(un)?li[cs]en[cs]es?([-_.][\w.+-]*)?$|^copying([-_.][\w.+-]*)?$|^copyright(\.txt|\.md)?$", re.I
)
_NOT_NAME = re.compile(
    r"\.(py|pyi|js|ts|c|h|cc|cpp|rs|go|java|rb|html?|jsonl?|gz|zst)$", re.I
)  # license.py is code
_HEADER = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]{2,100})")

# In order: the first rule all of whose sentences occur wins, so the narrower one comes first.
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0", ("gnu lesser general public license", "version 3, 29 june 2007")),
    ("LGPL-2.1", ("gnu lesser general public license", "version 2.1")),
    ("LGPL-2.0", ("gnu library general public license", "version 2")),
    ("GPL-3.0", ("gnu general public license", "version 3, 29 june 2007")),
    ("GPL-2.0", ("gnu general public license", "version 2, june 1991")),
    ("GFDL-1.3", ("gnu free documentation license", "version 1.3")),
    ("MPL-2.0", ("mozilla public license", "2.0")),
    ("EPL-2.0", ("eclipse public license", "v 2.0")),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("CC0-1.0", ("cc0 1.0",)),
    ("CC0-1.0", ("creative commons", "cc0")),
    ("CC-BY-NC-SA-4.0", ("attribution-noncommercial-sharealike 4.0",)),
    ("CC-BY-NC-ND-4.0", ("attribution-noncommercial-noderivatives 4.0",)),
    ("CC-BY-NC-4.0", ("attribution-noncommercial 4.0",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0",)),
    ("CC-BY-SA-3.0", ("attribution-sharealike 3.0",)),
    ("CC-BY-ND-4.0", ("attribution-noderivatives 4.0",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("CC-BY-3.0", ("attribution 3.0",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("ISC", ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",
             "provided that the above copyright notice")),
    ("0BSD", ("permission to use, copy, modify, and/or distribute this software for any purpose with or without",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "may not be used to endorse")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms", "redistributions in binary form")),
    ("BSL-1.0", ("boost software license", "version 1.0")),
    ("MIT", ("permission is hereby granted, free of charge, to any person obtaining a copy",
             "without restriction")),
    ("Zlib", ("this software is provided 'as-is'", "altered source versions must be plainly marked")),
)  # fmt: skip


def is_licence_file(name: str) -> bool:
    return bool(_NAME.match(name)) and not _NOT_NAME.search(name)


def recognise(text: str) -> str:
    """The SPDX id of a licence text, or UNKNOWN."""
    stated = _HEADER.search(text)
    if stated:
        return stated.group(1).strip()
    even = re.sub(r"[\s*#>]+", " ", text).lower()
    title = even[
        :2000
    ]  # the GPL quotes the LGPL and the AGPL near its end: names of licences count at the top only
    for name, sentences in _RULES:
        first_in = (
            title if not name.startswith(("MIT", "BSD", "ISC", "0BSD", "Zlib", "Unlicense", "PSF")) else even
        )
        if sentences[0] in first_in and all(sentence in even for sentence in sentences[1:]):
            return name
    return UNKNOWN


def header_licence(text: str) -> str:
    """What an SPDX-License-Identifier line in the first 4,000 characters says, or ""."""
    found = _HEADER.search(text, 0, 4000) if "SPDX" in text[:4000] else None
    return found.group(1).split("*/")[0].split("-->")[0].strip(" -") if found else ""


class FolderLicences:
    """Licences by folder, looked up once each; several licence files in one folder are joined with OR."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, folder: Path, root: Path) -> str:
        if folder not in self._known:
            own = _of_folder(folder)
            up = folder.parent
            outside = folder == root or not folder.is_relative_to(root)
            self._known[folder] = own or (UNKNOWN if outside else self.of(up, root))
        return self._known[folder]


def _of_folder(folder: Path) -> str:
    found: list[str] = []
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False))
        for name in names:
            if is_licence_file(name):
                with open(folder / name, "rb") as file:
                    spdx = recognise(file.read(_MOST_BYTES).decode("utf-8", "replace"))
                found.append(f"LicenseRef-{name}" if spdx == UNKNOWN else spdx)
    except OSError:
        return ""  # the reader reports the folder itself
    return " OR ".join(dict.fromkeys(found))
