"""No dumping grounds, no dangerous calls: rules that a reader should not have to check by eye."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "utils",
    "util",
    "common",
    "helpers",
    "misc",
    "core",
    "base",
    "tools",
    "lib",
    "shared",
    "manager",
}
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_no_forbidden_names():
    places = [
        path
        for top in ("src", "tests", "native", "bench", "docs", "recipes")
        for path in (ROOT / top).rglob("*")
    ]
    bad = [path for path in places if path.stem in FORBIDDEN]
    assert not bad


def test_packages_hold_no_code():
    """__init__.py is one docstring; ownlm's own also holds the version and the check of the Python version."""
    for path in SOURCES:
        if path.name == "__init__.py" and path.parent.name != "ownlm":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1 and isinstance(body[0], ast.Expr), path


BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_ATTRIBUTES = {
    ("torch", "load"),
    ("torch", "save"),
    ("pickle", "load"),
    ("pickle", "loads"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("os", "system"),
}


def dangerous(tree: ast.AST):
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = node.func
        if isinstance(call, ast.Name) and call.id in BANNED_CALLS:
            yield node.lineno, call.id
        if (
            isinstance(call, ast.Attribute)
            and isinstance(call.value, ast.Name)
            and (call.value.id, call.attr) in BANNED_ATTRIBUTES
        ):
            yield node.lineno, f"{call.value.id}.{call.attr}"
        for keyword in node.keywords:
            if (
                keyword.arg in ("shell", "allow_pickle", "trust_remote_code")
                and getattr(keyword.value, "value", None) is True
            ):
                yield node.lineno, f"{keyword.arg}=True"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_no_dangerous_calls(path):
    assert list(dangerous(ast.parse(path.read_text()))) == []


def test_the_rule_can_fail():
    """The sabotaged twin: each banned call is seen."""
    for line in (
        "torch.load(p)",
        "eval('1')",
        "np.load(p, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
        "yaml.load(s)",
    ):
        assert list(dangerous(ast.parse(line))), line


def test_nothing_imports_pickle():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {"pickle", "dill", "marshal", "shelve", "cloudpickle"} & {
                n.split(".")[0] for n in names
            }, path
