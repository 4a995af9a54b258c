"""YAML 1.2 as data: scalars, lists and mappings with their lines; no aliases, no tags.

In: a file or text. Out: plain values that know their lines, and back to text.
Knows nothing of: what a recipe is.
"""

from collections.abc import Callable
from functools import lru_cache
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError, did_you_mean

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
NO_CONTAINER = "is not inside a mapping or a list."
Keys = tuple[str | int, ...]  # the path to a value: keys, and positions in lists


class Document:
    """Plain values and, if they come from a file, the line of each."""

    def __init__(self, name: str, values: dict[str, Any], lines: Any = None) -> None:
        self.name, self.values, self._lines = name, values, lines
        self._overrides: list[str] = []

    def where(self, path: Keys) -> str:
        """'recipe.yaml, line 6', or '--set a.b=c' for a value that was overridden."""
        for override in reversed(self._overrides):
            names = override.partition("=")[0].split(".")
            if path and (names[0], names[-1]) == (path[0], path[-1]):
                return f"--set {override}"
        line, node = None, self._lines
        for part in path:
            try:
                line = (node.lc.item(part) if isinstance(part, int) else node.lc.key(part))[0]
                node = node[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return self.name if line is None else f"{self.name}, line {line + 1}"

    def error(self, path: Keys, problem: str, fix: str = "") -> RecipeError:
        """The error for the value at this path, with its line."""
        return RecipeError(self.where(path), problem, do=fix)

    def override(self, text: str) -> None:
        """Set one value by `a.b=c`; the value is parsed as YAML.

        A part of the path is a key, a position in a list, or the name of a list entry (arms.lora.rank=8).
        Raises: RecipeError if the path leads nowhere.
        """
        option = f"--set {text}"
        path, equals, raw = text.partition("=")
        if not equals or not path.strip():
            problem = "is not of the form NAME=VALUE."
            raise RecipeError(option, problem, do="Write it like --set split.seed=1.")
        value = parse_value(raw, option) if raw.strip() else None
        container: Any = self.values
        parts = path.strip().split(".")
        for part, next_part in pairwise(parts):
            container = _enter(container, part, next_part, option)
        _set_value(container, parts[-1], value, option)
        self._overrides.append(text)


def _index_of(entries: list[Any], part: str, where: str) -> int:
    if part.isdecimal() and int(part) < len(entries):
        return int(part)
    for index, entry in enumerate(entries):
        if entry == part or (isinstance(entry, dict) and part in entry):
            return index
    names = [str(next(iter(entry), "")) if isinstance(entry, dict) else str(entry) for entry in entries]
    raise RecipeError(where, f"no entry is called {part}.", did_you_mean(part, names))


def _enter(container: Any, part: str, next_part: str, where: str) -> Any:
    """The value called `part`; a bare name (`lora`) becomes a mapping (`{lora: {}}`)."""
    if isinstance(container, list):
        return _enter_entry(container, _index_of(container, part, where), part)
    if not isinstance(container, dict):
        raise RecipeError(where, f"{part} {NO_CONTAINER}")
    container.setdefault(part, {})
    if isinstance(container[part], str):  # task: sst2, and task.path or task.sst2.path is set
        container[part] = {container[part]: {}}
    inner = _enter_key(container, part)
    if part == "task" and isinstance(inner, dict) and len(inner) == 1 and next_part not in inner:
        return _enter_key(inner, next(iter(inner)))
    return inner


def _enter_entry(entries: list[Any], index: int, part: str) -> Any:
    """The entry, or the value that it has for `part`."""
    if isinstance(entries[index], str):
        entries[index] = {entries[index]: {}}
    entry = entries[index]
    return _enter_key(entry, part) if isinstance(entry, dict) and part in entry else entry


def _enter_key(mapping: dict[str, Any], key: str) -> Any:
    """The value of the key; null becomes an empty mapping."""
    if mapping[key] is None:
        mapping[key] = {}
    return mapping[key]


def _set_value(container: Any, part: str, value: Any, where: str) -> None:
    if isinstance(container, list):
        index = _index_of(container, part, where)
        entry = container[index]
        if isinstance(entry, dict) and part in entry:
            entry[part] = value
        elif entry == part and isinstance(value, dict):  # arms: [lora], and arms.lora={rank: 8}
            container[index] = {part: value}
        else:
            container[index] = value
    elif isinstance(container, dict):
        container[part] = value
    else:
        raise RecipeError(where, f"{part} {NO_CONTAINER}")


def _to_plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _to_plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_to_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)  # dates stay text


def _refusing_non_data(next_event: Callable[[], Any], where: str) -> Callable[[], Any]:
    """The events, without what a recipe never needs: aliases, tags, deep nesting, keys that are not words."""
    from ruamel.yaml import events

    open_nodes: list[list[int]] = []  # per open mapping or list: whether it is a mapping, nodes so far

    def checked() -> Any:
        event = next_event()
        line = f"{where}, line {event.start_mark.line + 1}"
        _refuse_anchor_or_tag(event, line)
        if isinstance(event, events.NodeEvent) and open_nodes:
            is_mapping, nodes = open_nodes[-1]
            if is_mapping and nodes % 2 == 0 and not isinstance(event, events.ScalarEvent):
                raise RecipeError(line, "uses a list or a mapping as a key.", do="Use a word as the key.")
            open_nodes[-1][1] += 1
        if isinstance(event, (events.MappingStartEvent, events.SequenceStartEvent)):
            open_nodes.append([isinstance(event, events.MappingStartEvent), 0])
            if len(open_nodes) > MAX_DEPTH:
                raise RecipeError(line, f"is nested deeper than {MAX_DEPTH} levels.")
        elif isinstance(event, (events.MappingEndEvent, events.SequenceEndEvent)):
            open_nodes.pop()
        return event

    return checked


def _refuse_anchor_or_tag(event: Any, line: str) -> None:
    if getattr(event, "anchor", None):  # of an alias too
        raise RecipeError(line, "contains an anchor or alias.", do="Write the value out.")
    if getattr(event, "tag", None) and str(event.tag) not in ("!", "None"):
        raise RecipeError(line, f"contains the tag {event.tag}.", do="Remove it.")


@lru_cache(maxsize=4)
def _parse_file(text: str, where: str) -> Any:
    """As `_parse`; nobody changes the values. A study reads its recipe several times."""
    return _parse(text, where)


def _parse(text: str, where: str) -> Any:
    """The values with their lines. Refuses what a recipe never needs."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    yaml.parser.get_event = _refusing_non_data(yaml.parser.get_event, where)
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = str(error.problem or error.context)
        problem = f"{error.context}, {problem}" if problem.startswith("but ") else problem
        problem = f"is not valid YAML: {' '.join(problem.split())}."
        raise RecipeError(f"{where}{line}", problem, do="Fix the line.") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(where, f"is not valid YAML: {' '.join(str(error).split())[:200]}.") from None


def parse_value(text: str, where: str) -> Any:
    """One value written as YAML, such as 3, true or [1, 2]. Raises: RecipeError if it is not YAML."""
    return _to_plain(_parse(text, where))


def read_yaml(path: Path) -> Document:
    """The values of a file with their lines. Raises: RecipeError if it is unreadable or not a mapping."""
    text = read_text(path)
    if "\0" in text:
        raise RecipeError(str(path), "contains a zero byte, so it is not a text file.")
    tree = _parse_file(text, str(path))
    if not isinstance(tree, dict):
        raise RecipeError(str(path), "contains no settings.", do="Start with task: and arms:.")
    return Document(str(path), _to_plain(tree), tree)


def read_text(path: Path) -> str:
    """The text of a recipe. Raises: RecipeError if it is missing, too large or not text."""
    try:
        if path.is_dir():
            raise RecipeError(str(path), "is a folder, not a recipe.", do="Name a .yaml file.")
        if path.exists() and not path.is_file():
            raise RecipeError(str(path), "is a device or a pipe, not a recipe.")
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(str(path), f"is larger than {MAX_BYTES:,} bytes, too large for a recipe.")
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        do = "Name a recipe (.yaml), a task, or your own file."
        raise RecipeError(str(path), "does not exist.", do=do) from None
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), f"is not UTF-8 text (byte {error.start}).") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(str(path), f"cannot be read: {reason}.") from None


def dump_yaml(values: dict[str, Any]) -> str:
    """Block-style YAML 1.2 that `read_yaml` reads back to the same values."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.allow_unicode = True
    stream = StringIO()
    yaml.dump(values, stream)
    return stream.getvalue()
