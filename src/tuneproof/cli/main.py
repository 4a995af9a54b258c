"""The command line: one sub-command per public function; prints; sets the exit code.

In: words. Out: what was asked for, and 0 done, 1 failed, 2 badly asked, 3 stopped and resumable.
Knows nothing of: how anything is computed.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tuneproof.cli.parser import make_parser
from tuneproof.errors import RecipeError, TuneproofError, did_you_mean
from tuneproof.redact import printable, redacted

OWN_FILES = ("labels", "questions")  # tasks that a file's path stands for


def recipe_of(words: argparse.Namespace):
    """The recipe that the words ask for: a file's, or the quick form's.

    Raises: RecipeError where it is neither a recipe, a task nor a file.
    """
    from tuneproof.recipe.recipe import read_recipe, recipe_from
    from tuneproof.recipe.yaml import Document, parse_value
    from tuneproof.tasks import TASKS

    own = {
        "text": words.text,
        "label": words.label,
        "id": words.id,
        "group": words.group,
        "test": words.test,
        "dev": words.dev,
        "slices": words.slices or None,
    }
    own = {key: value for key, value in own.items() if value is not None}
    quick = {"--model": words.model, "--arms": words.arms, "--seeds": words.seeds, **own}
    if words.what.endswith((".yaml", ".yml")):
        given = [key if key.startswith("--") else f"--{key}" for key, value in quick.items() if value]
        if given:
            raise RecipeError(
                words.what,
                f"is a recipe, and {given[0]} is given beside it.",
                do="Change the recipe, or one of its settings with --set.",
            )
        changes = [*words.changes, *([f"out={json.dumps(words.out)}"] if words.out else [])]
        return read_recipe(words.what, changes)
    if words.what in TASKS and words.what not in OWN_FILES:
        if own or words.questions:
            own = own or {"questions": ""}
            raise RecipeError(f"--{next(iter(own))}", "belongs to your own file, not to a task.")
        task: object = words.what
    elif Path(words.what).exists():
        wrong = [key for key in ("text", "label", "group") if key in own and words.questions]
        if wrong:
            raise RecipeError(
                f"--{wrong[0]}",
                "is for labels, and --questions is given.",
                do="Name columns with --set task.questions.question=COLUMN.",
            )
        for key in () if words.questions else ("text", "label"):
            if key not in own:
                raise RecipeError(
                    words.what, f"which column holds the {key} is not said.", do=f"Add --{key} COLUMN."
                )
        task = {"questions" if words.questions else "labels": {"path": words.what, **own}}
    else:
        raise RecipeError(
            words.what,
            "is not a recipe (.yaml), a task, or a file that is there.",
            do=did_you_mean(words.what, [name for name in TASKS if name not in OWN_FILES]),
        )
    if not words.arms:
        raise RecipeError(
            "--arms", "is missing.", do="Write --arms majority,lexical,head (see `tuneproof show methods`)."
        )
    values: dict[str, object] = {
        "task": task,
        "models": words.model,
        "arms": [a.strip() for a in words.arms.split(",") if a.strip()],
    }
    if words.seeds:
        values["seeds"] = [parse_value(seed.strip(), "--seeds") for seed in words.seeds.split(",")]
    if words.out:
        values["out"] = words.out
    document = Document("command line", values)
    for change in words.changes:
        document.change(change)
    return recipe_from(document.values, document)


def _run(words: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import follow
    from tuneproof.study.resume import Change
    from tuneproof.study.signals import goes_on

    change = Change(tuple(words.restart), words.accept_change)
    command = goes_on(words.argv)
    return follow(
        recipe_of(words), command, quiet=words.quiet, as_json=words.json, change=change, on=words.on
    )


def _demo(words: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import follow
    from tuneproof.recipe.recipe import read_recipe
    from tuneproof.study.signals import goes_on
    from tuneproof.tasks.demo_task import DEMO_RECIPE

    code = follow(
        read_recipe(DEMO_RECIPE, [f"out={json.dumps(words.out)}"]),
        goes_on(words.argv),
        quiet=words.quiet,
        as_json=False,
    )
    print(
        "Your own file next: tuneproof run FILE.csv --text COLUMN --label COLUMN --model distilbert "
        "--arms majority,lexical,zero-shot,head,lora"
    )
    return code


def _check(words: argparse.Namespace) -> int:
    recipe = recipe_of(words)  # before the heavy packages: most mistakes are here
    if words.own_process:
        from tuneproof.models.hide_torch import hide_torch

        hide_torch()
    from tuneproof.cli.terminal import print_plan
    from tuneproof.study.run import check

    print_plan(check(recipe), as_json=words.json)
    return 0


def _show(words: argparse.Namespace) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing is computed; threads cost 60 ms
    from tuneproof.cli.catalog import shown

    print(shown(words.shelf))
    return 0


def _count(words: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import print_count
    from tuneproof.parameters.count import count

    found = count(words.model, words.method, words.changes, words.task, words.head)
    print_count(found, as_json=words.json)
    return 0


def _numbers(text: str, where: str) -> list[int]:
    """ "8,16" as numbers.

    Raises: RecipeError where one is none.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal():
            raise RecipeError(where, f"{part!r} is not a whole number.", do="Write numbers with commas.")
    return [int(part) for part in parts]


def _fit(words: argparse.Namespace) -> int:
    batches = _numbers(words.batch, "--batch")
    lengths = _numbers(words.length, "--length")
    methods = [name.strip() for name in (words.method or "").split(",") if name.strip()]
    from tuneproof.cli.terminal import print_fit
    from tuneproof.memory.table import fit

    found = fit(
        words.model, words.memory, methods, batches, lengths, words.device, words.precision, words.changes
    )
    print_fit(found, as_json=words.json)
    return 0


def _predict(words: argparse.Namespace) -> int:
    from tuneproof.apply.labels import is_of_questions, label_file

    if is_of_questions(Path(words.arm)):
        from tuneproof.apply.answers import answer_file

        if words.text:
            raise RecipeError(
                "--text",
                "is for texts, and this arm answers questions.",
                do="Name the columns question and context in the file.",
            )
        answer_file(Path(words.arm), words.input, words.output)
        return 0
    label_file(Path(words.arm), words.input, words.text, words.output)
    return 0


def _publish(words: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import print_published
    from tuneproof.publish.publish import publish

    found = publish(
        words.arm,
        words.repo,
        words.to,
        public=words.public,
        update=words.update,
        merged=words.merged,
        report=words.report,
        base=words.base,
        licence=words.licence,
    )
    print_published(found, as_json=words.json)
    return 0


def _compare(words: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import print_comparisons
    from tuneproof.study.run import compare_folders

    print_comparisons(compare_folders(Path(words.a), Path(words.b), words.metric), words.json)
    return 0


def _doctor(words: argparse.Namespace) -> int:
    from tuneproof.cli.doctor import examine
    from tuneproof.cli.terminal import print_doctor

    found = examine()
    print_doctor(found, as_json=words.json)
    return int(any(line.state == "broken" for line in found))


def _report(words: argparse.Namespace) -> int:
    folders = [Path(folder) for folder in words.studies]
    if len(folders) == 1 and words.out:
        raise RecipeError(
            "--out",
            "names the index of several studies, and one is given.",
            do="Name more studies, or leave it out.",
        )
    if len(folders) == 1:
        from tuneproof.report.page import render

        print(printable(str(render(folders[0]).html)))
        return 0
    from tuneproof.report.index import INDEX_HTML, render_index

    print(printable(str(render_index(folders, Path(words.out or INDEX_HTML)))))
    return 0


COMMANDS = {
    "run": _run,
    "demo": _demo,
    "check": _check,
    "show": _show,
    "count": _count,
    "fit": _fit,
    "predict": _predict,
    "publish": _publish,
    "doctor": _doctor,
    "compare": _compare,
    "report": _report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit code."""
    words_given = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        parser = make_parser()
        words = parser.parse_args(words_given)
        if words.version:
            from importlib.metadata import version

            print(f"tuneproof {version('tuneproof')}")
            return 0
        if words.command is None:
            parser.print_help()
            return 0
        words.argv = words_given
        words.own_process = argv is None
        return COMMANDS[words.command](words)
    except TuneproofError as error:
        print(f"tuneproof: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("tuneproof: stopped; finished arms are kept, the same command goes on.", file=sys.stderr)
        return 3
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = printable(redacted(f"{where}{error.strerror or error}"))
        print(f"tuneproof: {said}.", file=sys.stderr)
        return 1
    except Exception:  # a mistake of ours: shown whole, as Python would, but for secrets
        print(printable(redacted(traceback.format_exc())), end="", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
