"""ownlm: own your language model. Rooms are imported where they are used; nothing happens here."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # before any newer syntax is met further in
    sys.exit(
        "error: ownlm needs Python 3.11 or 3.12.\n  this is Python %d.%d\nfix: make quickstart PYTHON=python3.11"
        % sys.version_info[:2]
    )
