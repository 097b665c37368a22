"""The default text: public modules with their source, C modules as stubs that parse, one licence."""

from __future__ import annotations

import ast
import sys
import warnings

import pytest

from ownlm.data.stdlib import standard_library


@pytest.fixture(scope="module")
def documents():
    return {document.source: document for document in standard_library()}


def test_what_is_in_and_what_is_not(documents):
    assert {"textwrap.py", "json/decoder.py", "math.pyi", "builtins.pyi", "itertools.pyi", "time.pyi", "_pydecimal.py",
            "pydoc_data/topics/with.txt"} <= set(documents)  # fmt: skip
    assert not [
        source
        for source in documents
        if source.startswith("test/")
        or "/test/" in source
        or "site-packages" in source
        or "__pycache__" in source
    ]
    assert not {"antigravity", "this", "idlelib"} & {
        source.split("/")[0].split(".")[0] for source in documents
    }
    assert {document.licence for document in documents.values()} == {"PSF-2.0"}
    assert all(document.text.strip() and document.meta["licence_text"] for document in documents.values())


def test_source_is_verbatim_and_ids_are_stable(documents):
    import textwrap

    with open(textwrap.__file__, encoding="utf-8") as file:
        assert documents["textwrap.py"].text == file.read()
    again = {document.source: document.id for document in standard_library()}
    assert again == {source: document.id for source, document in documents.items()}
    assert len(set(again.values())) == len(again)


def test_stubs_are_python_with_signatures_and_docstrings(documents):
    stubs = [document for document in documents.values() if document.source.endswith(".pyi")]
    assert len(stubs) > 20
    for document in stubs:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ast.parse(document.text)
    tree = ast.parse(documents["math.pyi"].text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [argument.arg for argument in functions["atan2"].args.posonlyargs] == ["y", "x"]
    assert "arc tangent" in (ast.get_docstring(functions["atan2"]) or "")
    classes = {
        node.name for node in ast.parse(documents["builtins.pyi"].text).body if isinstance(node, ast.ClassDef)
    }
    assert {"str", "dict", "ValueError"} <= classes
    module = sys.modules["math"].__doc__.split("\n")[0].strip()
    assert documents["math.pyi"].text.startswith(f'"""{module}')
