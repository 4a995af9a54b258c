"""The words of the command line: sub-commands, their options and what each means.

In: nothing. Out: the parser. Knows nothing of: what a command does.
"""

import argparse
from typing import NoReturn

from tuneproof.errors import RecipeError

EXAMPLES = """examples:
  tuneproof demo
  tuneproof run recipe.yaml
  tuneproof run sst2 --model distilbert --arms majority,lexical,zero-shot,head,lora
  tuneproof run reviews.csv --text review --label sentiment --model FOLDER --arms lexical,head
  tuneproof run faq.jsonl --questions --model FOLDER --arms majority,lexical,full
  tuneproof check recipe.yaml --set train.epochs=1
  tuneproof count llama-3.2-1b --method lora --set lora.rank=8 --task sst2
  tuneproof fit gemma-2-2b-it --memory 15GB --method lora --batch 8 --length 512
  tuneproof predict STUDY/arms/ARM --input new.csv --text review > labelled.csv
  tuneproof publish STUDY/arms/ARM OWNER/NAME --to FOLDER
"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors in the house's shape and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        where = self.prog.removeprefix("tuneproof").strip()
        raise RecipeError(where, f"{message}.", do=f"See {self.prog} --help.")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="RECIPE|TASK|FILE",
        help="a recipe (.yaml), a task (see `show tasks`), or your own file",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="M",
        help="shelf name, hub id or folder; may be given several times",
    )
    parser.add_argument("--arms", metavar="A,B,...", help="methods, see `show methods`")
    parser.add_argument("--seeds", metavar="0,1,...", help="seeds of the arms with chance in them")
    parser.add_argument("--text", metavar="COLUMN", help="own file: the column with the text")
    parser.add_argument("--label", metavar="COLUMN", help="own file: the column with the label")
    parser.add_argument("--id", metavar="COLUMN", help="own file: the column with a unique id")
    parser.add_argument("--group", metavar="COLUMN", help="own file: items of one group stay together")
    parser.add_argument(
        "--slices",
        action="append",
        default=[],
        metavar="COLUMN",
        help="own file: slice the scores by this column too; several times",
    )
    parser.add_argument(
        "--questions", action="store_true", help="own file: questions, contexts and answers instead of labels"
    )
    parser.add_argument("--test", metavar="FILE", help="own file: a separate test file")
    parser.add_argument("--dev", metavar="FILE", help="own file: a separate dev file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="changes",
        help="change one setting, e.g. train.epochs=1",
    )
    parser.add_argument("--out", metavar="DIR", help="the study's folder")


def _add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="shelf name, hub id, folder, or a configuration's .json file"
    )
    parser.add_argument("--method", metavar="M", help="a method that trains, see `show methods`")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="M.A=B",
        dest="changes",
        help="change one setting of the method, e.g. lora.rank=8",
    )
    parser.add_argument("--task", metavar="T", help="the task that says which head is added")
    parser.add_argument("--head", metavar="H", help="the head without a task: labels:N, span or words")
    parser.add_argument("--json", action="store_true", help="print the count as JSON")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="shelf name, hub id, folder, or a configuration's .json file"
    )
    parser.add_argument(
        "--memory",
        default="auto",
        metavar="15GB",
        help="an amount, of a GPU; auto (default): what is free on this machine",
    )
    parser.add_argument("--method", metavar="A,B,...", help="default: all that the model can do")
    parser.add_argument("--batch", default="16", metavar="8,16,...", help="items of a step (16)")
    parser.add_argument(
        "--length", default="256", metavar="256,512,...", help="tokens of an item (256); shots come on top"
    )
    parser.add_argument("--device", default="auto", metavar="D", help="cpu or cuda")
    parser.add_argument("--precision", default="auto", metavar="P", help="fp32, bf16 or fp16")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="M.A=B",
        dest="changes",
        help="change a method's setting, e.g. few-shot.shots=8",
    )
    parser.add_argument("--json", action="store_true", help="print the prediction as JSON")


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arm", metavar="ARM", help="the arm's folder: STUDY/arms/ARM")
    parser.add_argument("repo", metavar="OWNER/NAME", help="the repository on the model hub")
    parser.add_argument("--to", metavar="FOLDER", help="write the same into a folder; nothing is uploaded")
    parser.add_argument("--public", action="store_true", help="open to everyone (default: private)")
    parser.add_argument(
        "--update", action="store_true", help="replace what is in the repository, or in the folder"
    )
    parser.add_argument(
        "--merged", action="store_true", help="an adapter merged into its base, a head with its base"
    )
    parser.add_argument("--report", action="store_true", help="attach the study's report")
    parser.add_argument(
        "--base", metavar="OWNER/NAME", help="where the hub has the base, if the study took it from a folder"
    )
    parser.add_argument(
        "--licence", metavar="L", help="as the hub writes it, e.g. apache-2.0 (default: the base's)"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def make_parser() -> Parser:
    """The parser of all sub-commands."""
    parser = Parser(
        prog="tuneproof",
        description="Adapt a pretrained language model to a task, and prove what that bought.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", parser_class=Parser, metavar="COMMAND")
    run = commands.add_parser("run", help="run every arm of a study on the same frozen items")
    _add_recipe(run)
    run.add_argument("--json", action="store_true", help="print report.json at the end")
    run.add_argument("--quiet", action="store_true", help="no progress")
    run.add_argument(
        "--restart",
        action="append",
        default=[],
        metavar="ARM",
        help="begin this arm again (all: every one); what was there is moved aside",
    )
    run.add_argument(
        "--accept-change",
        action="store_true",
        help="go on though settings, model or versions differ; recorded",
    )
    run.add_argument(
        "--on",
        default="here",
        choices=("here", "ray"),
        help="ray: every arm is a task of a Ray cluster (see docs/clusters.md)",
    )
    check = commands.add_parser("check", help="say what would happen, without loading weights")
    _add_recipe(check)
    check.add_argument("--json", action="store_true", help="print the plan as JSON")
    demo = commands.add_parser("demo", help="run the embedded study, offline")
    demo.add_argument("--out", metavar="DIR", default="studies/demo", help="the study's folder")
    demo.add_argument("--quiet", action="store_true", help="no progress")
    show = commands.add_parser("show", help="what is on the shelves, or the recipe's schema")
    show.add_argument(
        "shelf",
        nargs="?",
        default="shelves",
        metavar="WHAT",
        help="a shelf, one of its items, or recipe-schema",
    )
    _add_count(
        commands.add_parser(
            "count", help="every parameter of a model and of its adaptation, without its weights"
        )
    )
    _add_fit(
        commands.add_parser(
            "fit", help="predict the peak memory of training and predicting, and say what fits"
        )
    )
    predict = commands.add_parser("predict", help="label new texts with a finished arm")
    predict.add_argument("arm", metavar="ARM", help="the arm's folder: STUDY/arms/ARM")
    predict.add_argument(
        "--input", metavar="FILE", help="CSV, TSV, JSONL or Parquet (default: lines of standard input)"
    )
    predict.add_argument("--text", metavar="COLUMN", help="the column with the text (default: the study's)")
    predict.add_argument("--output", metavar="FILE", help="CSV or JSONL (default: standard output)")
    _add_publish(
        commands.add_parser(
            "publish", help="send an arm to the model hub, with the study's evidence on its card"
        )
    )
    doctor = commands.add_parser(
        "doctor", help="what this machine has of what a study needs, and what to do about the rest"
    )
    doctor.add_argument("--json", action="store_true", help="print the lines as JSON")
    compare = commands.add_parser("compare", help="compare two arms, or two studies, on the same items")
    compare.add_argument("a", metavar="A", help="an arm's folder, or a study's")
    compare.add_argument("b", metavar="B", help="what it is compared with")
    compare.add_argument("--metric", help="by which metric (default: the task's first)")
    compare.add_argument("--json", action="store_true", help="print the comparison as JSON")
    report = commands.add_parser(
        "report", help="render reports again, from files alone; of several studies an index too"
    )
    report.add_argument("studies", metavar="DIR", nargs="+", help="a study's folder")
    report.add_argument("--out", metavar="FILE", help="the index of several studies (default: index.html)")
    return parser
