"""The other process, in which a model's chat template runs: little memory, no environment, no files.

In: lines of JSON on standard input: first {path, template, memory, characters}, then values to fill in.
Out: a line of JSON each: {text} or {error}. Knows nothing of: tuneproof, whose template it is.

The environment is the one of transformers' own `apply_chat_template`: jinja's immutable sandbox with
its tags, filters and globals.
"""

import json
import sys
from datetime import datetime
from typing import Any


def limit(memory: int) -> None:
    """Bound address space, files and cores, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the time limit alone holds
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        bound = resource.getrlimit(what)[1]
        least = most if bound == resource.RLIM_INFINITY else min(most, bound)
        resource.setrlimit(what, (least, least))


def compiled(text: str) -> Any:
    """The template in the sandbox."""
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """{% generation %} … {% endgeneration %}: marks what a model says; here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller: Any) -> str:
            return str(caller())

    class Fresh:
        """`dict` without its attributes."""

        def __call__(self, *values: Any, **more: Any) -> dict[Any, Any]:
            return dict(*values, **more)

        def fromkeys(self, *values: Any) -> dict[Any, Any]:
            return dict.fromkeys(*values)

    class Room(Namespace):
        """A namespace that takes no name beginning with an underscore."""

        def __init__(*values: Any, **more: Any) -> None:
            self, *rest = values
            for name in (found := dict(*rest, **more)):
                Room._check(name)
            Namespace.__init__(self, found)

        def __setitem__(self, name: str, value: Any) -> None:
            Room._check(name)
            Namespace.__setitem__(self, name, value)

        @staticmethod
        def _check(name: Any) -> None:
            if isinstance(name, str) and name.startswith("_"):
                raise SecurityError(f"a namespace takes no name such as {name}")

    def fail(message: Any) -> None:
        raise TemplateError(str(message))

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    sandbox.filters["tojson"] = to_json
    sandbox.globals.update(
        raise_exception=fail,
        dict=Fresh(),
        namespace=Room,
        strftime_now=lambda form: datetime.now().strftime(form),
    )
    return sandbox.from_string(text)


def filled(template: Any, values: dict[str, Any], characters: int) -> dict[str, str]:
    """The template's text, or what went wrong in it."""
    parts, length = [], 0
    for part in template.generate(**values):
        parts.append(part)
        length += len(part)
        if length > characters:
            return {"error": f"it writes more than {characters:,} characters"}
    return {"text": "".join(parts)}


def main() -> None:
    """Answer one line after the other until there is none."""
    first = json.loads(sys.stdin.readline())
    sys.path.extend(first["path"])
    import jinja2.sandbox  # noqa: F401  before memory is bounded

    limit(first["memory"])
    print("{}", flush=True)
    template = None
    for line in sys.stdin:
        try:
            template = template or compiled(first["template"])
            answer = filled(template, json.loads(line), first["characters"])
        except MemoryError:
            answer = {"error": f"it takes more than {first['memory'] >> 20} MiB of memory"}
        except Exception as error:  # whatever a stranger's template does is an answer
            said = " ".join(str(error).split())[:300].rstrip(".")
            answer = {"error": said or type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
