"""The arguments of the command line: sub-commands, their options and what each means.

In: nothing. Out: the parser. Knows nothing of: what a command does.
"""

import argparse
from typing import Any, NoReturn

from tuneproof.errors import RecipeError, did_you_mean

EXAMPLES = """examples:
  tuneproof demo
  tuneproof run recipe.yaml
  tuneproof run sst2 --models distilbert --arms majority,lexical,zero-shot,head,lora
  tuneproof run reviews.csv --text review --label sentiment --models FOLDER --arms lexical,head
  tuneproof run faq.jsonl --questions --models FOLDER --arms majority,lexical,full
  tuneproof check recipe.yaml --set train.epochs=1
  tuneproof count llama-3.2-1b --method lora --set lora.rank=8 --task sst2
  tuneproof memory gemma-2-2b-it --memory 15GB --methods lora --batch 8 --length 512
  tuneproof predict STUDY/arms/ARM --input new.csv --text review > labelled.csv
  tuneproof publish STUDY/arms/ARM OWNER/NAME --to FOLDER
"""
MODEL_HELP = "short name (see `tuneproof show models`), hub id, folder, or a config.json"


class Parser(argparse.ArgumentParser):
    """argparse with complete option names only and errors as `RecipeError` (exit code 2)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise RecipeError(self._where, f"{message}.", do=f"See {self.prog} --help.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse an unknown option by name."""
        parsed, unknown = super().parse_known_args(args, namespace)
        for name in (text.partition("=")[0] for text in unknown if text.startswith("--")):
            do = did_you_mean(name, [option for option in self._option_string_actions if len(option) > 2])
            raise RecipeError(self._where, f"{name} is not an option.", do=do)
        return parsed, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not among the choices, and name the nearest."""
        if action.choices is not None and value not in action.choices:
            kind = f"a value of {action.option_strings[0]}" if action.option_strings else "a command"
            raise RecipeError(
                self._where, f"{value!r} is not {kind}.", do=did_you_mean(value, action.choices)
            )

    @property
    def _where(self) -> str:
        return self.prog.removeprefix("tuneproof").strip()


def _add_overrides(parser: argparse.ArgumentParser, metavar: str, help_text: str) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar=metavar, dest="overrides", help=help_text
    )


def _add_json(parser: argparse.ArgumentParser, content: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print {content} as JSON")


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="RECIPE|TASK|FILE",
        help="a recipe (.yaml), a task (see `tuneproof show tasks`), or your own file",
    )
    parser.add_argument("--models", metavar="M,...", help="short names, hub ids or folders")
    parser.add_argument("--arms", metavar="A,...", help="methods (see `tuneproof show methods`)")
    parser.add_argument("--seeds", metavar="S,...", help="seeds of the arms that involve chance, e.g. 0,1,2")
    parser.add_argument("--text", metavar="COLUMN", help="own file: the text column")
    parser.add_argument("--label", metavar="COLUMN", help="own file: the label column")
    parser.add_argument("--id", metavar="COLUMN", help="own file: a column of unique ids")
    parser.add_argument("--group", metavar="COLUMN", help="own file: items of one group stay in one split")
    parser.add_argument(
        "--slices", metavar="COLUMN,...", help="own file: also report scores by these columns"
    )
    parser.add_argument(
        "--questions", action="store_true", help="own file: questions with contexts and answers, not labels"
    )
    parser.add_argument("--test", metavar="FILE", help="own file: a separate test file")
    parser.add_argument("--dev", metavar="FILE", help="own file: a separate dev file")
    _add_overrides(parser, "NAME=VALUE", "override one setting, e.g. train.epochs=1; repeatable")
    parser.add_argument("--out", metavar="DIR", help="the folder of the study")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="show only the result")
    parser.add_argument(
        "--verbose", action="store_true", help="also show technical details, such as kernels and pad tokens"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_study(parser)
    parser.add_argument("--json", action="store_true", help="print report.json at the end")
    _add_output(parser)
    parser.add_argument(
        "--restart",
        metavar="ARM,...",
        help="start these arms again (all: every arm); old results are moved aside",
    )
    parser.add_argument(
        "--accept-change",
        action="store_true",
        help="continue although settings, model or versions have changed; the report says so",
    )
    parser.add_argument(
        "--on",
        default="here",
        choices=("here", "ray"),
        help="where to run the arms: on this machine (default) or on a Ray cluster",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_study(parser)
    _add_json(parser, "the plan")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", default="studies/demo", help="the folder of the study")
    _add_output(parser)
    parser.set_defaults(restart=None, accept_change=False, on="here", json=False)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        default="all",
        metavar="NAME",
        help="tasks, models, families, methods, metrics, the name of one entry, or recipe-schema",
    )


def _add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--method", metavar="M", help="a method that trains (see `tuneproof show methods`)")
    _add_overrides(parser, "M.NAME=VALUE", "override one setting of the method, e.g. lora.rank=8; repeatable")
    parser.add_argument("--task", metavar="T", help="the task, which determines the head")
    parser.add_argument("--head", metavar="H", help="the head, without a task: labels:N, span or words")
    _add_json(parser, "the count")


def _add_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--memory", default="auto", metavar="15GB", help="memory of a GPU (default: what is free here)"
    )
    parser.add_argument("--methods", metavar="M,...", help="methods (default: all that the model supports)")
    parser.add_argument("--batch", default="16", metavar="N,...", help="items per step (default: 16)")
    parser.add_argument(
        "--length",
        default="256",
        metavar="N,...",
        help="tokens per item (default: 256); few-shot examples come on top",
    )
    parser.add_argument("--device", default="auto", metavar="D", help="cpu or cuda")
    parser.add_argument("--precision", default="auto", metavar="P", help="fp32, bf16 or fp16")
    _add_overrides(
        parser, "M.NAME=VALUE", "override one setting of a method, e.g. few-shot.shots=8; repeatable"
    )
    _add_json(parser, "the prediction")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arm", metavar="ARM", help="the folder of the arm: STUDY/arms/ARM")
    parser.add_argument(
        "--input", metavar="FILE", help="CSV, TSV, JSONL or Parquet (default: lines of standard input)"
    )
    parser.add_argument("--text", metavar="COLUMN", help="the text column (default: as in the study)")
    parser.add_argument("--output", metavar="FILE", help="CSV or JSONL (default: standard output)")


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arm", metavar="ARM", help="the folder of the arm: STUDY/arms/ARM")
    parser.add_argument("repo", metavar="OWNER/NAME", help="the repository on the Hugging Face hub")
    parser.add_argument("--to", metavar="FOLDER", help="write into a folder instead of uploading")
    parser.add_argument("--public", action="store_true", help="make the repository public (default: private)")
    parser.add_argument(
        "--update", action="store_true", help="replace the contents of the repository or folder"
    )
    parser.add_argument("--merged", action="store_true", help="merge the adapter or head into the base model")
    parser.add_argument("--report", action="store_true", help="attach the report of the study")
    parser.add_argument(
        "--base", metavar="OWNER/NAME", help="the base model on the hub, if the study loaded it from a folder"
    )
    parser.add_argument(
        "--licence", metavar="L", help="licence as the hub spells it, e.g. apache-2.0 (default: as the base)"
    )
    _add_json(parser, "the result")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    _add_json(parser, "the checks")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the folder of an arm or of a study")
    parser.add_argument("b", metavar="B", help="the folder to compare it with")
    parser.add_argument("--metric", help="metric of the comparison (default: the first metric of the task)")
    _add_json(parser, "the comparison")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("studies", metavar="DIR", nargs="+", help="the folder of a study")
    parser.add_argument("--out", metavar="FILE", help="several studies: the index file (default: index.html)")


COMMANDS = {
    "run": (_add_run, "run all arms of a study on the same items and write the report"),
    "check": (_add_check, "check a study and show the plan, without loading weights"),
    "demo": (_add_demo, "run the built-in study, offline"),
    "show": (_add_show, "list tasks, models, families, methods and metrics, or explain one"),
    "count": (_add_count, "count the parameters of a model and of its adaptation, without its weights"),
    "memory": (_add_memory, "predict peak memory for training and prediction, and what fits"),
    "predict": (_add_predict, "predict labels or answers for new data with a finished arm"),
    "publish": (_add_publish, "publish an arm with its evidence to the Hugging Face hub"),
    "doctor": (_add_doctor, "check this machine: packages, devices, memory, disk, hub access"),
    "compare": (_add_compare, "compare two arms or two studies on the same items"),
    "report": (_add_report, "write the report of a study again, or an index of several studies"),
}


def make_parser() -> Parser:
    """The parser of all sub-commands."""
    parser = Parser(
        prog="tuneproof",
        description="Adapt a pretrained language model to a task, and measure what that gains.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", parser_class=Parser, metavar="COMMAND")
    for name, (add_arguments, help_text) in COMMANDS.items():
        description = f"{help_text[0].upper()}{help_text[1:]}."
        add_arguments(commands.add_parser(name, help=help_text, description=description))
    return parser
