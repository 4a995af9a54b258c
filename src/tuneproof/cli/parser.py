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
  tuneproof gate STUDY --claim "lora over lexical" --margin 1
"""
SETTINGS = """settings:
  tuneproof show settings    every setting with its default and meaning; --set NAME=VALUE changes one
  tuneproof show lora        one method, task, model or metric
"""
EXIT_CODES = """exit codes:
  0  done; gate: the claim is shown
  1  failed; gate: the claim is not shown, or it cannot be told; doctor: something is broken
  2  the request is invalid: arguments, recipe, data or model
  3  stopped; the same command resumes
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
            problem = f"{value!r} is not {kind}."
            raise RecipeError(self._where, problem, do=did_you_mean(value, action.choices))

    @property
    def _where(self) -> str:
        return self.prog.removeprefix("tuneproof").strip()


def _option(parser: argparse.ArgumentParser, name: str, metavar: str, help_text: str, **more: Any) -> None:
    """An argument with a value."""
    parser.add_argument(name, metavar=metavar, help=help_text, **more)


def _flag(parser: argparse.ArgumentParser, name: str, help_text: str) -> None:
    parser.add_argument(name, action="store_true", help=help_text)


def _add_overrides(parser: argparse.ArgumentParser, metavar: str, help_text: str) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar=metavar, dest="overrides", help=help_text
    )


def _add_json(parser: argparse.ArgumentParser, content: str) -> None:
    _flag(parser, "--json", f"print {content} as JSON")


def _add_study(parser: argparse.ArgumentParser) -> None:
    _option(
        parser,
        "source",
        "RECIPE|TASK|FILE",
        "a recipe (.yaml), a task (see `tuneproof show tasks`), or your own file",
    )
    _option(parser, "--models", "M,...", "short names, hub ids or folders")
    _option(parser, "--arms", "A,...", "methods (see `tuneproof show methods`)")
    _option(parser, "--seeds", "S,...", "seeds of the arms that involve chance, e.g. 0,1,2")
    _option(parser, "--text", "COLUMN", "own file: the text column")
    _option(parser, "--label", "COLUMN", "own file: the label column")
    _option(parser, "--id", "COLUMN", "own file: a column of unique ids")
    _option(parser, "--group", "COLUMN", "own file: items of one group stay in one split")
    _option(parser, "--slices", "COLUMN,...", "own file: also report scores by these columns")
    _flag(parser, "--questions", "own file: questions with contexts and answers, not labels")
    _flag(parser, "--answers", "own file: texts with written answers (columns text and answer), not labels")
    _option(parser, "--test", "FILE", "own file: a separate test file")
    _option(parser, "--dev", "FILE", "own file: a separate dev file")
    _option(parser, "--sheet", "NAME", "own file: the sheet of an .xlsx file")
    settings = "override one setting, e.g. train.epochs=1 (see `tuneproof show settings`); repeatable"
    _add_overrides(parser, "NAME=VALUE", settings)
    _option(parser, "--out", "DIR", "the folder of the study")


def _add_output(parser: argparse.ArgumentParser) -> None:
    _flag(parser, "--quiet", "show only the result")
    _flag(parser, "--verbose", "also show technical details, such as kernels and pad tokens")


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_study(parser)
    _flag(parser, "--json", "print report.json at the end")
    _add_output(parser)
    _option(
        parser, "--restart", "ARM,...", "start these arms again (all: every arm); old results are moved aside"
    )
    _option(
        parser,
        "--extend",
        "ARM,...",
        "go on with these finished arms for as many epochs as they were trained (all: every arm with epochs)",
    )
    _flag(
        parser,
        "--accept-change",
        "continue although settings, model or versions have changed; the report says so",
    )
    parser.add_argument(
        "--on",
        default="here",
        choices=("here", "ray"),
        help="where to run the arms: on this machine (default) or on a Ray cluster",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_study(parser)
    _flag(parser, "--no-cost", "leave out the predicted time and memory, which take most of the check's time")
    _add_json(parser, "the plan")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    _option(parser, "--out", "DIR", "the folder of the study", default="studies/demo")
    _add_output(parser)
    _add_json(parser, "report.json at the end")
    parser.set_defaults(restart=None, extend=None, accept_change=False, on="here")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        default="all",
        metavar="NAME",
        help="tasks, models, families, methods, metrics, the name of one entry, settings, or recipe-schema",
    )
    _add_json(parser, "the entries")


def _add_count(parser: argparse.ArgumentParser) -> None:
    _option(parser, "model", "MODEL", MODEL_HELP)
    _option(parser, "--method", "M", "a method that trains (see `tuneproof show methods`)")
    _add_overrides(parser, "M.NAME=VALUE", "override one setting of the method, e.g. lora.rank=8; repeatable")
    _option(parser, "--task", "T", "the task, which determines the head")
    _option(parser, "--head", "H", "the head, without a task: labels:N, span or words")
    _add_json(parser, "the count")


def _add_memory(parser: argparse.ArgumentParser) -> None:
    _option(parser, "model", "MODEL", MODEL_HELP)
    _option(parser, "--memory", "15GB", "memory of a GPU (default: what is free here)", default="auto")
    _option(parser, "--methods", "M,...", "methods (default: all that the model supports)")
    _option(parser, "--batch", "N,...", "items per step (default: 16)", default="16")
    _option(
        parser,
        "--length",
        "N,...",
        "tokens per item (default: 256); few-shot examples come on top",
        default="256",
    )
    _option(parser, "--device", "D", "cpu or cuda", default="auto")
    _option(parser, "--precision", "P", "fp32, bf16 or fp16", default="auto")
    _option(parser, "--processes", "N", "processes that train together (default: 1)", default=1, type=int)
    _option(
        parser,
        "--parallel",
        "P",
        "ddp (all weights in every process, the default) or fsdp (sharded while they train)",
        default="ddp",
    )
    _add_overrides(
        parser, "M.NAME=VALUE", "override one setting of a method, e.g. few-shot.shots=8; repeatable"
    )
    _add_json(parser, "the prediction")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _option(parser, "arm", "ARM", "the folder of the arm: STUDY/arms/ARM")
    _option(parser, "--input", "FILE", "CSV, TSV, .xlsx, JSONL or Parquet (default: lines of standard input)")
    _option(parser, "--text", "COLUMN", "the text column (default: as in the study)")
    _option(parser, "--delimiter", "SIGN", "what separates cells (default: as in the study)")
    parser.add_argument(
        "--quotes",
        choices=("true", "false"),
        help="whether quotation marks enclose cells (default: as in the study)",
    )
    _option(parser, "--sheet", "NAME", "the sheet of an .xlsx file (default: the only one with content)")
    _option(parser, "--output", "FILE", "CSV or JSONL (default: standard output)")
    parser.add_argument(
        "--abstain",
        metavar="SHARE",
        type=float,
        help="abstain so that at most this share of the labels is wrong, e.g. 0.05; add sets of labels",
    )
    _add_json(parser, "the rows, or the name of the output file,")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _option(parser, "arm", "ARM", "the folder of the arm: STUDY/arms/ARM")
    _option(parser, "--host", "ADDRESS", "the address to listen at (default: 127.0.0.1)", default="127.0.0.1")
    _option(parser, "--port", "N", "the port; 0: any free one (default: 8000)", type=int, default=8000)


def _add_publish(parser: argparse.ArgumentParser) -> None:
    _option(parser, "arm", "ARM", "the folder of the arm: STUDY/arms/ARM")
    _option(parser, "repo", "OWNER/NAME", "the repository on the Hugging Face hub")
    _option(parser, "--to", "FOLDER", "write into a folder instead of uploading")
    _flag(parser, "--public", "make the repository public (default: private)")
    _flag(parser, "--update", "replace the contents of the repository or folder")
    _flag(parser, "--merged", "merge the adapter or head into the base model")
    _flag(parser, "--report", "attach the report of the study")
    _option(parser, "--base", "OWNER/NAME", "the base model on the hub, if the study loaded it from a folder")
    _option(parser, "--licence", "L", "licence as the hub spells it, e.g. apache-2.0 (default: as the base)")
    _add_json(parser, "the result")


def _add_ui(parser: argparse.ArgumentParser) -> None:
    folder = "the folder of your studies (default: studies)"
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default="studies", help=folder)
    _option(parser, "--port", "N", "port (default: 7860; 0: any free one)", type=int, default=7860)
    _flag(parser, "--no-browser", "print the address without opening it")
    frames = "origins of pages, such as a notebook's, that may show this one in a frame"
    _option(parser, "--framed-by", "ORIGINS", frames, default="")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _option(parser, "arm", "ARM", "the folder of the arm: STUDY/arms/ARM")
    _option(parser, "--format", "F", "merged (a whole model of transformers), onnx or gguf", required=True)
    _option(
        parser,
        "--precision",
        "P",
        "onnx: float32, int8 or int8-blocks; gguf: f16, f32, bf16 or q8_0 (default: the first)",
    )
    _option(parser, "--to", "FOLDER", "where to write it (default: STUDY/exports/ARM.FORMAT.PRECISION)")
    _option(parser, "--margin", "POINTS", "how much worse it may be in fewer bits (default: 1)", type=float)
    _option(parser, "--llama-cpp", "FOLDER", "a checkout of llama.cpp, whose converter writes GGUF")
    _add_json(parser, "the result")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    _add_json(parser, "the checks")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    _option(parser, "a", "A", "the folder of an arm or of a study")
    _option(parser, "b", "B", "the folder to compare it with")
    parser.add_argument("--metric", help="metric of the comparison (default: the first metric of the task)")
    _add_json(parser, "the comparison")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    _option(parser, "study", "DIR", "the folder of a finished study")
    _add_json(parser, "the plan")


def _add_label_errors(parser: argparse.ArgumentParser) -> None:
    _option(parser, "study", "DIR", "the folder of a finished study")
    _add_json(parser, "the suspected items")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("studies", metavar="DIR", nargs="+", help="the folder of a study")
    _option(parser, "--out", "FILE", "several studies: the index file (default: index.html)")
    _add_json(parser, "the names of the files")


def _add_gate(parser: argparse.ArgumentParser) -> None:
    _option(parser, "study", "DIR", "the folder of a finished study")
    _option(parser, "--claim", "CLAIM", 'such as "lora over lexical" (default: all claims of the recipe)')
    _option(parser, "--metric", "NAME", "metric of the claim (default: the first metric of the task)")
    _option(
        parser,
        "--margin",
        "M",
        "shown also where the arm is not worse by more than M: in percentage points for metrics between 0 "
        "and 1, else in the metric's unit",
        type=_positive,
    )
    _option(parser, "--on", "NAME", "a further test set of the study, in place of test")
    _add_json(parser, "the answer with its comparisons")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return value


COMMANDS = {
    "run": (_add_run, "run all arms of a study on the same items and write the report"),
    "check": (_add_check, "check a study and show the plan, without loading weights"),
    "demo": (_add_demo, "run the built-in study, offline"),
    "show": (_add_show, "list tasks, models, families, methods, metrics and settings, or explain one"),
    "count": (_add_count, "count the parameters of a model and of its adaptation, without its weights"),
    "memory": (_add_memory, "predict peak memory for training and prediction, and what fits"),
    "predict": (_add_predict, "predict labels or answers for new data with a finished arm"),
    "serve": (_add_serve, "serve a finished arm over HTTP on this machine, with a page to try it in"),
    "ui": (_add_ui, "open a page to run, watch and try studies, on this machine"),
    "export": (_add_export, "export an arm to ONNX, GGUF or a whole model, and compare it with the arm"),
    "publish": (_add_publish, "publish an arm with its evidence to the Hugging Face hub"),
    "doctor": (_add_doctor, "check this machine: packages, devices, memory, disk, hub access"),
    "compare": (_add_compare, "compare two arms or two studies on the same items"),
    "gate": (_add_gate, "exit with 0 if a claim is shown by a finished study, with 1 if it is not"),
    "plan": (_add_plan, "show what more seeds or test items would do for the claims of a study"),
    "label-errors": (_add_label_errors, "rank the items whose label may be wrong; write them to correct"),
    "report": (_add_report, "write the report of a study again, or an index of several studies"),
}


def make_parser() -> Parser:
    """The parser of all sub-commands."""
    parser = Parser(
        prog="tuneproof",
        description="Adapt a pretrained language model to a task, and measure what that gains.",
        epilog=f"{EXAMPLES}\n{SETTINGS}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", parser_class=Parser, metavar="COMMAND")
    for name, (add_arguments, help_text) in COMMANDS.items():
        description = f"{help_text[0].upper()}{help_text[1:]}."
        command = commands.add_parser(name, help=help_text, description=description, epilog=EXIT_CODES)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        add_arguments(command)
    return parser
