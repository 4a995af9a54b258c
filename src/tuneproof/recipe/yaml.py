"""YAML 1.2 as data: scalars, lists and maps with their lines; no aliases, no tags.

In: a file or text. Out: plain values that know their lines, and back to text.
Knows nothing of: what a recipe is.
"""

from io import StringIO
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError, did_you_mean

LARGEST_BYTES = 1_000_000
DEEPEST = 20


class Document:
    """Plain values, with the line of each where they came from a file."""

    def __init__(self, name: str, values: dict[str, Any], lines: Any = None) -> None:
        self.name, self.values, self._lines = name, values, lines
        self._changes: list[str] = []

    def where(self, path: tuple[str | int, ...]) -> str:
        """'recipe.yaml, line 6', as deep along the path as lines are known; or '--set a.b=c'."""
        for change in reversed(self._changes):
            names = change.partition("=")[0].split(".")
            if path and (names[0], names[-1]) == (path[0], path[-1]):
                return f"--set {change}"
        line, node = None, self._lines
        for part in path:
            try:
                line = (node.lc.item(part) if isinstance(part, int) else node.lc.key(part))[0]
                node = node[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return self.name if line is None else f"{self.name}, line {line + 1}"

    def change(self, text: str) -> None:
        """Carry out `a.b=c`; the value is read as YAML.

        A part of the path may be a place in a list or the name of an entry (arms.lora.rank=8).
        Raises: RecipeError where the path leads nowhere.
        """
        path, equals, raw = text.partition("=")
        if not equals or not path.strip():
            raise RecipeError(f"--set {text}", "is not of the form a.b=c.", do="Write --set split.seed=1.")
        value = parse_value(raw, f"--set {text}") if raw.strip() else None
        holder: Any = self.values
        parts = path.strip().split(".")
        for place, part in enumerate(parts[:-1]):
            holder = _descend(holder, part, parts[place + 1], f"--set {text}")
        _put(holder, parts[-1], value, f"--set {text}")
        self._changes.append(text)


def _key(holder: list[Any], part: str, where: str) -> int:
    if part.isdecimal() and int(part) < len(holder):
        return int(part)
    for place, item in enumerate(holder):
        if item == part or (isinstance(item, dict) and part in item):
            return place
    names = [str(next(iter(item), "")) if isinstance(item, dict) else str(item) for item in holder]
    raise RecipeError(where, f"there is no entry {part}.", did_you_mean(part, names))


def _descend(holder: Any, part: str, following: str, where: str) -> Any:
    """The value that `part` names, made into a map where it was a bare name of a shelf."""
    if isinstance(holder, list):
        place = _key(holder, part, where)
        if isinstance(holder[place], str):
            holder[place] = {holder[place]: {}}
        entry = holder[place]
        if isinstance(entry, dict) and part in entry:
            entry[part] = {} if entry[part] is None else entry[part]
            return entry[part]
        return entry
    if not isinstance(holder, dict):
        raise RecipeError(where, f"{part} is not inside a map or a list.")
    inner = holder.setdefault(part, {})
    if isinstance(inner, str):  # task: sst2, and task.path or task.sst2.path is set
        inner = holder[part] = {inner: {}}
    if inner is None:
        inner = holder[part] = {}
    if part == "task" and isinstance(inner, dict) and len(inner) == 1 and following not in inner:
        name = next(iter(inner))
        inner[name] = {} if inner[name] is None else inner[name]
        return inner[name]
    return inner


def _put(holder: Any, part: str, value: Any, where: str) -> None:
    if isinstance(holder, list):
        place = _key(holder, part, where)
        entry = holder[place]
        if isinstance(entry, dict) and part in entry:
            entry[part] = value
        elif entry == part and isinstance(value, dict):  # arms: [lora], and arms.lora={rank: 8}
            holder[place] = {part: value}
        else:
            holder[place] = value
    elif isinstance(holder, dict):
        holder[part] = value
    else:
        raise RecipeError(where, f"{part} is not inside a map or a list.")


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)  # dates stay words


def _refuse_what_is_no_data(text: str, where: str) -> None:
    """Raises RecipeError for what a recipe never needs: aliases, tags, depth, keys that are no words."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import (
        AliasEvent,
        MappingEndEvent,
        MappingStartEvent,
        NodeEvent,
        ScalarEvent,
        SequenceEndEvent,
        SequenceStartEvent,
    )

    holders: list[list[int]] = []  # of every open map or list: whether it is a map, nodes so far
    for event in YAML(typ="safe", pure=True).parse(text):
        at = f"{where}, line {event.start_mark.line + 1}"
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise RecipeError(at, "holds an anchor or alias.", do="Write it out.")
        if getattr(event, "tag", None) and str(event.tag) not in ("!", "None"):
            raise RecipeError(at, f"holds the tag {event.tag}.", do="Leave it out.")
        if isinstance(event, NodeEvent) and holders:
            is_map, nodes = holders[-1]
            if is_map and nodes % 2 == 0 and not isinstance(event, ScalarEvent):
                raise RecipeError(at, "has a list or a map as a key.", do="A key is a word.")
            holders[-1][1] += 1
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            holders.append([isinstance(event, MappingStartEvent), 0])
            if len(holders) > DEEPEST:
                raise RecipeError(at, f"is nested deeper than {DEEPEST} levels.")
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            holders.pop()


def _parse(text: str, where: str) -> Any:
    """Scan for what a recipe never needs, then load with lines."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    try:
        _refuse_what_is_no_data(text, where)
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        said = str(error.problem or error.context)
        said = f"{error.context}, {said}" if said.startswith("but ") else said
        problem = " ".join(said.split())
        raise RecipeError(f"{where}{line}", f"is not YAML: {problem}.", do="Mend the line.") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(where, f"is not YAML: {' '.join(str(error).split())[:200]}.") from None


def parse_value(text: str, where: str) -> Any:
    """One value written as YAML, such as 3, true or [1, 2].

    Raises: RecipeError where it is not YAML.
    """
    return _plain(_parse(text, where))


def read_yaml(path: Path) -> Document:
    """The file's values with their lines.

    Raises: RecipeError where it cannot be read, is too large, or is no map.
    """
    try:
        if path.is_dir():
            raise RecipeError(str(path), "is a folder, not a recipe.", do="Name a .yaml file.")
        if path.exists() and not path.is_file():
            raise RecipeError(str(path), "is a device or a pipe, not a recipe.")
        if path.stat().st_size > LARGEST_BYTES:
            raise RecipeError(str(path), f"is larger than {LARGEST_BYTES:,} bytes: no recipe.")
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(
            str(path), "is not there.", do="Name a recipe (.yaml), a task, or your own file."
        ) from None
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), f"is not UTF-8 text (byte {error.start}).") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(str(path), f"cannot be read: {reason}.") from None
    if "\0" in text:
        raise RecipeError(str(path), "holds a zero byte: this is no text file.")
    tree = _parse(text, str(path))
    if not isinstance(tree, dict):
        raise RecipeError(str(path), "holds no settings.", do="Begin with task: and arms:.")
    return Document(str(path), _plain(tree), tree)


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
