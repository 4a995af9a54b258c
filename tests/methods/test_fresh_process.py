"""A program in a fresh process: no token, and one sentence about what went wrong."""

import pytest

from tuneproof.methods import fresh_process
from tuneproof.methods.fresh_process import ProgramError, run_program


def test_the_fresh_process_has_no_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    monkeypatch.setenv("MY_API_KEY", "y" * 20)
    environment = fresh_process._environment()
    assert not {"HF_TOKEN", "MY_API_KEY"} & set(environment)
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_last_line_is_the_value():
    program = "import json, sys\nprint('noise')\nprint(json.dumps(json.load(sys.stdin) + [3]))"
    assert run_program(program, [1, 2]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise ValueError('no such layer.')", "cannot load it and predict: ValueError: no such layer$"),
        ("import os\nos.kill(os.getpid(), 9)", "it was killed"),
        ("print('nothing of use')", "printed no predictions"),
    ],
)
def test_what_went_wrong_is_one_sentence(program, sentence):
    with pytest.raises(ProgramError, match=sentence):
        run_program(program, [])
