"""Cases of tokenizers and chat templates: what `check` says of the folders that their scripts make.

In: the case folders beside the project. Out: nothing. Knows nothing of: how a case was made.
"""

import os
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.open_model import SHARED
from tuneproof.cli.main import main

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(tmp_path, monkeypatch, capfd) -> Check:
    """Copy a case, run its make.py if it has one, check a file of it; returns exit status and output."""

    def checked(name: str, file: str, model: str, *options: str) -> tuple[int, str]:
        shutil.copytree(CASES / name, tmp_path / "case")
        for table in CASES.glob("s*.csv"):
            shutil.copy(table, tmp_path)
            shutil.copy(table, tmp_path / "case")
        monkeypatch.chdir(tmp_path / "case")
        monkeypatch.setenv("PROJECT", str(Path(__file__).parents[2]))
        monkeypatch.syspath_prepend(str(CASES))
        if os.path.exists("make.py"):
            runpy.run_path("make.py")
        arms = ("--arms", "majority,head") if "--arms" not in options else ()
        columns = ("--text", "text", "--label", "label")
        status = main(["check", file, *columns, "--models", model, *arms, *options])
        output = capfd.readouterr()
        return status, " ".join((output.out + output.err).split())

    return checked


def test_a_cased_bert_is_read_by_its_own_file(check: Check) -> None:
    status, output = check("models-01-cased-bert-read-lowercase", "shout.csv", "bert-cased")
    assert status == 0
    assert "bert-cased's tokenizer.json reads 'Good Movie' as G ##ood" in output


def test_a_cased_vocabulary_alone_counts_what_can_never_be_made(check: Check) -> None:
    _, output = check("models-01-cased-bert-read-lowercase", "shout.csv", "bert-cased-vocab")
    assert "vocabulary holds 443 tokens with capitals" in output


def test_thoughts_are_switched_off(check: Check) -> None:
    words = ("--set", "task.labels.labels=[neg,pos]", "--set", "task.labels.words=[bad,good]")
    options = ("--arms", "majority,zero-shot", *words)
    _, output = check("models-16-thinking-template", "s60.csv", "thinker", *options)
    assert "its chat template is called with enable_thinking=False" in output


@pytest.mark.parametrize("model", ["dnabert", "dnagpt"])
def test_a_tokenizer_without_the_letter_a(check: Check, model: str) -> None:
    assert check("models-06-tokenizer-without-letter-a", "dna.csv", model)[0] == 0


def test_texts_of_no_token_are_named(check: Check) -> None:
    model = CASES / "models-06-tokenizer-without-letter-a" / "dnagpt"
    status, output = check("models-08-text-of-no-token", "dna.csv", str(model))
    assert status == 2
    assert "audit, no_tokens: dnagpt" in output


def test_texts_that_a_model_does_not_know_stop_the_study(check: Check) -> None:
    minilm = str(SHARED / "models" / "minilm-l6")
    status, output = check("files-09-texts-the-tokenizer-does-not-know", "amharic.csv", minilm)
    assert status == 2
    assert "100.0% of the texts' tokens are unknown to the model; 120 of 120 texts" in output


def test_ids_that_a_classifier_does_not_use_refuse_no_tokenizer(check: Check) -> None:
    status, output = check("models-02-roberta-pad-id", "sst160.csv", "rob-b")
    assert status == 0
    assert "rob-b's tokenizer's begin and end tokens are used, not those of config.json" in output


def test_a_position_limit_of_minus_one_is_none(check: Check) -> None:
    assert check("models-09-xlnet", "s60short.csv", "xlnet")[0] == 0
