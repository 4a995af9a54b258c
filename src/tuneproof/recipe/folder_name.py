"""The name of a study's folder, which says what the study is of: reviews-distilbert-lora-1a2b3c4d.

In: a task, its file, models, an arm, a checksum of the recipe. Out: a path below studies/.
Knows nothing of: recipes, what a study holds.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

STUDIES = "studies"
MAX_WORD = 24  # characters of each part


def folder_name(task: str, file: str | None, models: Sequence[str], arm: str | None, digest: str) -> str:
    """The folder of a study that names none.

    file: the user's own, instead of the task's name. A study of before is in a folder of the task's name
    and the checksum alone, and stays there.
    """
    before = Path(STUDIES) / f"{task}-{digest}"
    if before.is_dir():
        return str(before)
    words = [
        _word(PureWindowsPath(file).stem) if file else "",
        *(_word(PureWindowsPath(model).name) for model in models[:1]),
        _word(arm or ""),
    ]
    if len(models) > 1:
        words[1] = f"{len(models)}-models"
    words[0] = words[0] or task
    return str(Path(STUDIES) / "-".join([*dict.fromkeys(word for word in words if word), digest]))


def _word(name: str) -> str:
    """A name as part of a file name; empty if none of its characters can be."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-._")[:MAX_WORD].strip("-._")
