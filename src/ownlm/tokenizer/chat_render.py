"""Rendering a chat template: Jinja in an immutable sandbox, and the child process that renders foreign ones.

The sandbox has no loader, no imports, no attribute walks; its only globals are raise_exception, strftime_now, range,
namespace and dict, its only filter beyond Jinja's own is tojson, as in transformers. `{% generation %}` marks what is trained.

A template that came with a model folder is a stranger's program, so it runs in a child process (`python -m
ownlm.tokenizer.chat_render`) that speaks JSON lines, opens no file, starts no process and has limits on memory
and output; chat_child.py kills it when it is late. The sandbox is the second wall, the child the first.
Not done here: system-call filtering and a network namespace (the child can open no descriptor at all instead).
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.visitor

MAX_OUTPUT = 1 << 20  # characters a foreign template may write beyond what it was given
CHILD_MEMORY = 64 << 20  # bytes of address space beyond what the idle child has
_TEXT_METHODS = {
    "split", "rsplit", "startswith", "endswith", "replace", "find", "rfind", "index", "count", "strip", "lstrip", "rstrip",
    "partition", "rpartition", "removeprefix", "removesuffix",
}  # fmt: skip


class TemplateRefusal(Exception):
    """The template called raise_exception: these messages are not for it."""


class TemplateFault(Exception):
    """The template does not parse, reaches for what is not allowed, or failed."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`: puts the two marks of this rendering around the block."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        opening, closing = (
            jinja2.nodes.Output([jinja2.nodes.Name(name, "load")], lineno=line)
            for name in ("_trained_from", "_trained_to")
        )
        return [opening, jinja2.nodes.Scope(body, lineno=line), closing]


class _HideConstants(jinja2.visitor.NodeTransformer):
    """Strings that a template compares contents with are spelled like contents, in which edges of names are hidden.

    `'</think>' in content` becomes `_hide('</think>') in content`, and so the arguments of split, startswith
    and their kin. What a template writes stays as it is.
    """

    def visit_Compare(self, node: jinja2.nodes.Compare) -> jinja2.nodes.Node:
        self.generic_visit(node)
        node.expr = _hidden(node.expr)
        for operand in node.ops:
            operand.expr = _hidden(operand.expr)
        return node

    def visit_Call(self, node: jinja2.nodes.Call) -> jinja2.nodes.Node:
        self.generic_visit(node)
        if isinstance(node.node, jinja2.nodes.Getattr) and node.node.attr in _TEXT_METHODS:
            node.args = [_hidden(argument) for argument in node.args]
        return node

    def visit_Filter(self, node: jinja2.nodes.Filter) -> jinja2.nodes.Node:
        self.generic_visit(node)
        if node.name in ("replace", "trim", "split"):
            node.args = [_hidden(argument) for argument in node.args]
        return node


def _hidden(node: Any) -> Any:
    if isinstance(node, jinja2.nodes.Const) and isinstance(node.value, str):
        name = jinja2.nodes.Name("_hide", "load", lineno=node.lineno)
        return jinja2.nodes.Call(name, [node], [], None, None, lineno=node.lineno)
    if isinstance(node, jinja2.nodes.List | jinja2.nodes.Tuple):
        node.items = [_hidden(item) for item in node.items]
    return node


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, but what is unsafe fails at once instead of printing as nothing."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        raise jinja2.exceptions.SecurityError(f"access to {attribute!r} of {type(obj).__name__} is unsafe")

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree: jinja2.nodes.Template = _HideConstants().visit(super()._parse(source, name, filename))
        return tree


def _raise_exception(message: str) -> None:
    raise TemplateRefusal(str(message))


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Plain JSON, as transformers renders it (Jinja's own filter escapes for HTML)."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


@lru_cache(maxsize=8)
def _compile(source: str) -> jinja2.Template:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.globals.clear()
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=lambda form: datetime.now().strftime(form),
        range=jinja2.sandbox.safe_range, namespace=jinja2.utils.Namespace, dict=dict,
    )  # fmt: skip
    environment.filters["tojson"] = _tojson
    environment.filters.pop("attr", None)  # the classic way round a sandbox
    return environment.from_string(source)


def render(source: str, variables: dict[str, Any], table: dict[int, str]) -> str:
    """The rendered text. table: what `str.translate` hides in contents and in the strings compared with them.

    Raises TemplateRefusal or TemplateFault, whose text may hold hidden characters.
    """
    try:
        hide: Callable[[str], str] = lambda text: text.translate(table)  # noqa: E731
        return _compile(source).render({**variables, "_hide": hide})
    except TemplateRefusal:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFault(f"does not parse: {error}") from None
    except jinja2.TemplateError as error:
        raise TemplateFault(str(error)) from None
    except Exception as error:  # whatever a foreign template provokes: type errors, recursion, memory
        raise TemplateFault(f"{type(error).__name__}: {error}") from None


_WARM = r"""{%- macro m(a) -%}{{ a | upper }}{%- endmacro -%}{%- set ns = namespace(n=0) -%}{% set y %}é\n{% endset %}
{% for a in x %}{% if loop.last and 'w' in a %}{% set ns.n = 1.5 %}{{ m(a) ~ '\n\u00e9' ~ "\t" }}{% continue %}{% endif %}{% endfor %}
{{ x | tojson(indent=1) }}{{ x | map('trim') | join(',') | replace('a', 'b') | indent | length }}{{ x | selectattr('y', 'defined') | list }}
{{ x | sort | first | title | wordwrap(9) | escape | string | int(0) }}{{ strftime_now('%d %b %Y %H:%M') }}{{ dict(a=1).items() | list }}
{{ 'a%s' | format(1) }}{{ (1, 2.5, none, true)[::-1] | batch(2) | list }}{% generation %}{% endgeneration %}{{ 'a'.split('b')[-1] }}"""


def _lock_down() -> None:
    """No more memory than a rendering needs, no files, no processes, no core dump; nothing can be opened from here on."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        have = int(file.read().split()[0]) * resource.getpagesize()
    limits = (
        (resource.RLIMIT_AS, have + CHILD_MEMORY), (resource.RLIMIT_NOFILE, 3), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 0),
    )  # fmt: skip
    for kind, value in limits:
        resource.setrlimit(kind, (value, value))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _serve() -> None:
    """One JSON line in, one out: {"source", "variables", "table"} -> {"text"} | {"refusal"} | {"fault"}."""
    datetime.now().strftime("%d %b %Y")
    for source in (_WARM, "{{ 1 / 0 }}", "{{", "{{ x.y.z }}", "{{ raise_exception('x') }}"):
        # What Python and Jinja import late, errors included, can no longer be imported after the lock.
        with contextlib.suppress(TemplateFault, TemplateRefusal):  # all but the first are meant to fail
            render(source, {"x": ["warm"]}, {})
    _lock_down()
    _say("ready")
    for line in sys.stdin:
        try:
            task = json.loads(line)
            table = {int(code): letter for code, letter in task["table"].items()}
            text = render(task["source"], task["variables"], table)
            answer = {"text": text} if len(text) <= MAX_OUTPUT + len(line) else {"fault": "output over 1 MiB"}
        except TemplateRefusal as error:
            answer = {"refusal": str(error)[:2000]}
        except TemplateFault as error:
            answer = {"fault": str(error)[:2000]}
        except (MemoryError, RecursionError) as error:
            answer = {"fault": type(error).__name__}
        _say(json.dumps(answer))


if __name__ == "__main__":
    _serve()
