"""The process that renders a model's chat template, with little memory, no environment and no files.

In: lines of JSON on standard input: first {path, template, memory, characters, parent}, then values to
render. Out: one line of JSON for each: {text} or {error}. Knows nothing of: tuneproof, whose template it is.

As in transformers' own `apply_chat_template`, the template runs in jinja's immutable sandbox with
transformers' tags, filters and globals.
"""

import json
import runpy
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

PARENT_PROCESS = Path(__file__).parents[1] / "parent_process.py"


def limit_resources(memory: int) -> None:
    """Limit address space, files and core dumps, if the system can."""
    try:
        import resource
    except ImportError:  # Windows: the time limit alone holds
        return
    limits = ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0))
    for kind, limit in limits:
        hard = resource.getrlimit(kind)[1]
        new = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (new, new))


def raise_exception(message: Any) -> None:
    """What a template calls to fail."""
    from jinja2.exceptions import TemplateError

    raise TemplateError(str(message))


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """The filter `tojson`, without jinja's escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class PlainDict:
    """`dict` without its attributes."""

    def __call__(self, *values: Any, **more: Any) -> dict[Any, Any]:
        return dict(*values, **more)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        return dict.fromkeys(*values)


def safe_namespace() -> type:
    """jinja's namespace, but without names that begin with an underscore."""
    from jinja2.exceptions import SecurityError
    from jinja2.utils import Namespace

    def check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace takes no name such as {name}")

    class SafeNamespace(Namespace):
        def __init__(*values: Any, **more: Any) -> None:
            self, *rest = values
            attributes = dict(*rest, **more)
            for name in attributes:
                check(name)
            Namespace.__init__(self, attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            check(name)
            Namespace.__setitem__(self, name, value)

    return SafeNamespace


def compile_template(text: str) -> Any:
    """The template in the sandbox."""
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} … {% endgeneration %} marks what a model says; here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

        def _render(self, caller: Any) -> str:
            return str(caller())

    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    sandbox.filters["tojson"] = to_json
    sandbox.globals.update(
        raise_exception=raise_exception,
        dict=PlainDict(),
        namespace=safe_namespace(),
        strftime_now=lambda form: datetime.now().strftime(form),
    )
    return sandbox.from_string(text)


def render(template: Any, values: dict[str, Any], characters: int) -> dict[str, str]:
    """The template's text, or an error if it is longer than `characters`."""
    parts, length = [], 0
    for part in template.generate(**values):
        parts.append(part)
        length += len(part)
        if length > characters:
            return {"error": f"it writes more than {characters:,} characters"}
    return {"text": "".join(parts)}


def main() -> None:
    """Answer every line of standard input."""
    first = json.loads(sys.stdin.readline())
    runpy.run_path(str(PARENT_PROCESS))["end_with_parent"](first["parent"])
    sys.path.extend(first["path"])
    import jinja2.sandbox  # noqa: F401  before memory is limited

    limit_resources(first["memory"])
    print("{}", flush=True)
    template = None
    for line in sys.stdin:
        try:
            template = template or compile_template(first["template"])
            answer = render(template, json.loads(line), first["characters"])
        except MemoryError:
            answer = {"error": f"it takes more than {first['memory'] >> 20} MiB of memory"}
        except Exception as error:  # whatever an untrusted template does is an answer
            message = " ".join(str(error).split())[:300].rstrip(".")
            answer = {"error": message or type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
