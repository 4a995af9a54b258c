"""The command line: one sub-command per public function; it prints and sets the exit code.

In: arguments. Out: printed results, and an exit code (EXIT_CODES in cli/parser.py).
Knows nothing of: how anything is computed.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tuneproof.cli.json_output import error_values, json_alone, print_json, show_error, wants_json
from tuneproof.cli.parser import make_parser
from tuneproof.errors import RecipeError, RunError, StoppedError, TuneproofError
from tuneproof.parent_process import end_with_launcher
from tuneproof.redact import printable, redact


def _run(args: argparse.Namespace) -> int:
    """Run the study of `run` or `demo`, and show it."""
    from tuneproof.cli.study_arguments import demo_recipe, recipe_from_args, split_list
    from tuneproof.cli.terminal import TerminalView
    from tuneproof.context.monitor import Monitor
    from tuneproof.process_group import current_group
    from tuneproof.study.progress_file import ProgressFile
    from tuneproof.study.resume import ResumePolicy
    from tuneproof.study.run import run_study
    from tuneproof.study.signals import resume_command, stop_on_signals

    recipe = demo_recipe(args) if args.command == "demo" else recipe_from_args(args)
    restart, extend = (tuple(split_list(names)) for names in (args.restart, args.extend))
    policy = ResumePolicy(restart, args.accept_change, extend)
    own_recipe = ["run", str(Path(recipe.out) / "recipe.yaml")]  # extending writes it
    command = resume_command(own_recipe if extend else args.argv)
    view = TerminalView(args.quiet, args.verbose, args.json)
    progress, failure = ProgressFile(Path(recipe.out)), None
    monitor = Monitor(_listener(view, args.quiet, progress))
    try:
        with view, progress, stop_on_signals(monitor.stop_request, command):
            run_study(recipe, monitor, policy, args.on, command)
    except StoppedError as error:
        if current_group().is_main:
            raise
        return error.exit_code  # the main process reports it
    except TuneproofError as error:
        if view.finished is None:
            raise
        failure = error
    if view.finished is not None:
        view.print_result({"error": error_values(failure)} if failure is not None else {})
    if failure is not None:
        return show_error(failure, as_json=False)  # the object says it already
    _print_next(args)
    return 0


def _print_next(args: argparse.Namespace) -> None:
    if args.command == "demo" and not args.json:
        print(
            "Next, your own file: tuneproof run FILE.csv --text COLUMN --label COLUMN --models distilbert "
            "--arms majority,lexical,zero-shot,head,lora"
        )


def _listener(view: Any, quiet: bool, progress: Any) -> Callable[[Any], None]:
    """The view and the progress file, and where no bars are drawn also lines about progress."""
    from tuneproof.cli.progress_lines import ProgressLines

    lines = None if quiet or not view.bars.disable else ProgressLines()

    def show(event: Any) -> None:
        view.show(event)
        progress.show(event)
        if lines is not None:
            lines.show(event)

    return show


def _check(args: argparse.Namespace) -> int:
    from tuneproof.cli.study_arguments import recipe_from_args

    recipe = recipe_from_args(args)  # before heavy imports: most mistakes show here
    if args.own_process:
        from tuneproof.models.hide_torch import hide_torch

        hide_torch()
    from tuneproof.cli.terminal import print_plan
    from tuneproof.study.forecast_process import forecast_apart, forecast_here
    from tuneproof.study.plan import check

    if args.no_cost or not args.own_process:
        plan = check(recipe)
        print_plan(plan, None if args.no_cost else partial(forecast_here, plan), as_json=args.json)
        return 0
    with forecast_apart(recipe) as forecast:
        plan = check(recipe)
        print_plan(plan, partial(forecast, plan), as_json=args.json)
    return 0


def _show(args: argparse.Namespace) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing is computed; threads cost 60 ms
    from tuneproof.cli.catalog import describe

    text = describe(args.name)
    if args.json:
        from tuneproof.cli.catalog_values import catalog_values

        print_json(catalog_values(args.name, text))
        return 0
    print(text)
    return 0


def _count(args: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import print_count
    from tuneproof.parameters.count import count

    print_count(count(args.model, args.method, args.overrides, args.task, args.head), as_json=args.json)
    return 0


def _whole_numbers(text: str, option: str) -> list[int]:
    """The numbers in "8,16". Raises: RecipeError if an entry is not a whole number."""
    entries = [entry.strip() for entry in text.split(",")]
    for entry in entries:
        if not entry.isdecimal():
            raise RecipeError(option, f"{entry!r} is not a whole number.", do=f"Write it like {option} 8,16.")
    return [int(entry) for entry in entries]


def _memory(args: argparse.Namespace) -> int:
    batches = _whole_numbers(args.batch, "--batch")
    lengths = _whole_numbers(args.length, "--length")
    from tuneproof.cli.study_arguments import split_list
    from tuneproof.cli.terminal import print_memory
    from tuneproof.memory.table import estimate_memory

    methods, where = split_list(args.methods), (args.device, args.precision)
    more = args.overrides, args.processes, args.parallel
    table = estimate_memory(args.model, args.memory, methods, batches, lengths, *where, *more)
    print_memory(table, as_json=args.json)
    return 0


def _predict(args: argparse.Namespace) -> int:
    from tuneproof.apply.finished_arm import prediction_kind, read_finished_arm, study_recipe
    from tuneproof.apply.new_file import NewFile
    from tuneproof.cli.predicted_rows import predictions_as_values
    from tuneproof.cli.progress_lines import ProgressLines
    from tuneproof.context.monitor import listening

    quotes = None if args.quotes is None else args.quotes == "true"
    delimiter = "\t" if args.delimiter == "\\t" else args.delimiter
    source = NewFile(args.input, delimiter, quotes, args.sheet) if args.input else None
    kind = prediction_kind(study_recipe(read_finished_arm(args.arm)).task)
    if kind != "labels" and args.abstain is not None:
        raise RecipeError("--abstain", "is for labels, but this arm gives answers.")
    if kind == "questions" and args.text:
        problem = "is for labels, but this arm answers questions."
        raise RecipeError("--text", problem, do="Name the columns of the file question and context.")
    predict_file = partial(_PREDICT_FILE[kind], args, source)
    with listening(ProgressLines().show):
        if args.json:
            print_json(predictions_as_values(predict_file, args.output))
        else:
            predict_file(args.output)
    return 0


def _label_file(args: argparse.Namespace, source: Any, target: str | None) -> None:
    from tuneproof.apply.labels import label_file

    label_file(Path(args.arm), source, args.text, target, args.abstain)


def _answer_questions(args: argparse.Namespace, source: Any, target: str | None) -> None:
    from tuneproof.apply.answers import answer_file

    answer_file(Path(args.arm), source, target)


def _answer_texts(args: argparse.Namespace, source: Any, target: str | None) -> None:
    from tuneproof.apply.answers import write_answer_file

    write_answer_file(Path(args.arm), source, args.text, target)


_PREDICT_FILE = {"labels": _label_file, "questions": _answer_questions, "answers": _answer_texts}


def _serve(args: argparse.Namespace) -> int:
    from tuneproof.apply.serve import serve

    serve(args.arm, args.host, args.port, lambda text: print(printable(text), flush=True))
    return 0


def _ui(args: argparse.Namespace) -> int:
    from tuneproof.ui.serve_ui import Address, open_browser, serve_ui

    def ready(address: str) -> None:
        print(f"The page: {address}\nCtrl-C closes it; studies that it started go on.", flush=True)
        if not args.no_browser:
            open_browser(address)

    serve_ui(args.folder, Address(port=args.port, framed_by=args.framed_by), ready)
    return 0


def _publish(args: argparse.Namespace) -> int:
    from tuneproof.cli.published_output import print_published
    from tuneproof.publish.publish_arm import publish_arm

    published = publish_arm(
        args.arm,
        args.repo,
        args.to,
        public=args.public,
        update=args.update,
        merged=args.merged,
        report=args.report,
        base=args.base,
        licence=args.licence,
    )
    print_published(published, as_json=args.json)
    return 0


def _export(args: argparse.Namespace) -> int:
    from tuneproof.cli.published_output import print_exported
    from tuneproof.publish.export_arm import export_arm
    from tuneproof.publish.export_files import ExportOptions

    options = ExportOptions(args.format, args.precision, args.margin, args.llama_cpp)
    print_exported(export_arm(args.arm, options, args.to), as_json=args.json)
    return 0


def _compare(args: argparse.Namespace) -> int:
    from tuneproof.cli.terminal import print_comparisons
    from tuneproof.record.compare_folders import compare_folders

    print_comparisons(compare_folders(Path(args.a), Path(args.b), args.metric), args.json)
    return 0


def _plan(args: argparse.Namespace) -> int:
    from tuneproof.cli.claim_plans import print_plans
    from tuneproof.record.plan import plan_study

    print_plans(plan_study(Path(args.study)), as_json=args.json)
    return 0


def _label_errors(args: argparse.Namespace) -> int:
    from tuneproof.apply.label_errors import write_label_errors
    from tuneproof.cli.label_errors import print_label_errors
    from tuneproof.report.page import render

    folder = Path(args.study)
    value = write_label_errors(folder)
    print_label_errors(value, folder, str(render(folder).html), args.json)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from tuneproof.cli.doctor import examine
    from tuneproof.cli.doctor_output import print_doctor

    checks = examine()
    print_doctor(checks, as_json=args.json)
    return int(any(check.state == "broken" for check in checks))


def _report(args: argparse.Namespace) -> int:
    folders = [Path(folder) for folder in args.studies]
    if len(folders) == 1:
        if args.out:
            problem = "names the index of several studies, but only one study is given."
            raise RecipeError("--out", problem, do="Add more studies, or remove --out.")
        from tuneproof.record.conclude import conclude_again
        from tuneproof.report.page import render

        if conclude_again(folders[0]):
            again = "concluded again from its predictions, since diagnoses or scores on dev were missing."
            print(printable(f"{folders[0]}: {again}"), file=sys.stderr)
        paths = {name: str(path) for name, path in vars(render(folders[0])).items()}
    else:
        from tuneproof.report.index import INDEX_HTML, render_index

        paths = {"html": str(render_index(folders, Path(args.out or INDEX_HTML)))}
    if args.json:
        print_json(paths)
    else:
        print(printable(paths["html"]))
    return 0


def _gate(args: argparse.Namespace) -> int:
    from tuneproof.record.gate import judge_study, read_claim

    claim = read_claim(args.claim, args.metric, args.margin) if args.claim else None
    if claim is None and args.metric:
        raise RecipeError("--metric", "belongs to a claim.", do='Add --claim "ARM over ARM".')
    answer = judge_study(Path(args.study), claim, args.margin, args.on)
    if args.json:
        print_json(answer.as_json())
    else:
        print(printable(answer.sentence))
    return int(not answer.is_shown)


COMMANDS = {
    "run": _run,
    "demo": _run,
    "check": _check,
    "show": _show,
    "count": _count,
    "memory": _memory,
    "predict": _predict,
    "serve": _serve,
    "ui": _ui,
    "export": _export,
    "publish": _publish,
    "doctor": _doctor,
    "compare": _compare,
    "plan": _plan,
    "gate": _gate,
    "label-errors": _label_errors,
    "report": _report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = wants_json(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    end_with_launcher()
    try:
        with json_alone(as_json):
            args = _parse(arguments, own_process=argv is None)
            return COMMANDS[args.command](args) if args is not None else 0
    except TuneproofError as error:
        return show_error(error, as_json)
    except KeyboardInterrupt:
        return show_error(StoppedError("", "stopped."), as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return show_error(RunError(str(error.filename or ""), f"{error.strerror or error}."), as_json)
    except Exception as error:  # a bug of tuneproof: show the traceback, as Python does, without secrets
        print(printable(redact(traceback.format_exc())), end="", file=sys.stderr)
        if as_json:
            problem = f"{type(error).__name__}: {error}"
            print_json({"error": error_values(RunError("tuneproof", problem, do="Please report this bug."))})
        return 1


def _parse(arguments: list[str], own_process: bool) -> argparse.Namespace | None:
    """The arguments of a command; None where the version or the help was printed instead."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.version:
        from importlib.metadata import version

        print(f"tuneproof {version('tuneproof')}")
        return None
    if args.command is None:
        parser.print_help()
        return None
    args.argv, args.own_process = arguments, own_process
    return args


if __name__ == "__main__":
    sys.exit(main())
