"""`check` without the hub: what can be checked is, what cannot is counted; what is wrong stays wrong."""

import json
import os
import subprocess
import sys

import pytest

from tests.cli.test_main import OWN, write_rows
from tests.hub_stub import running_hub
from tests.test_recipes import RECIPES
from tuneproof.cli.main import main
from tuneproof.errors import DataUnreachedError, ModelUnreachedError
from tuneproof.families.models import resolve_model
from tuneproof.hub.download import download_model
from tuneproof.hub.offline import cache_only, is_unreachable
from tuneproof.tasks.hub import read_hub


@pytest.fixture
def offline(monkeypatch, tmp_path) -> None:
    """No network and an empty cache."""
    for place in ("huggingface_hub.constants", "datasets.config"):
        monkeypatch.setattr(f"{place}.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 10


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_checked_offline_and_what_needs_the_hub_is_counted(path, offline, capsys):
    assert main(["check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "Hub     not reachable: 6 checks skipped." in said
    assert said.count("        skipped: ") == 6
    assert "impossible" not in said
    assert main(["check", str(path), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["skipped"]) == 6
    assert {"majority", "lexical"} < {arm["arm"] for arm in plan["arms"]}


def test_run_stops_where_check_skips(offline, capsys, tmp_path):
    out = tmp_path / "study"
    assert main(["run", str(RECIPES[0]), "--out", str(out)]) == 2
    assert "could not be downloaded" in capsys.readouterr().err
    assert not out.exists()


def test_rows_of_ones_own_are_divided_and_audited_where_the_model_alone_lacks(
    offline, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "own.csv")
    words = ["check", *OWN, "--models", "distilbert", "--arms", "majority,head"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "train 28, dev 4, test 8; labels bad, good" in said
    assert "not reachable: 3 checks skipped" in said
    assert "distilbert: bert encoder. Not downloaded" in said
    (tmp_path / "own.csv").write_text("review,mood\na,good\n")
    assert main(words) == 2


def test_a_model_of_ones_own_is_read_where_the_rows_alone_lack(offline, capsys):
    assert main(["check", "sst2", "--models", "demo", "--arms", "majority,head"]) == 0
    said = capsys.readouterr().out
    assert "not reachable: 4 checks skipped" in said
    assert "Not downloaded" not in said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--set", "task.path=nowhere"], "nowhere: does not exist."),
        (["--set", "models=[models/nowhere]"], "models/nowhere: is not on this machine"),
        (["--set", "models=[distilbert@other]"], "is not on this machine"),
        (["--set", "models=[minilm, minilm]"], "two models are called minilm"),
        (["--set", "claim.metric=squad_f1"], "squad_f1 is for tasks of questions"),
        (["--set", "arms=[majority, lexical, few-shot, head]"], "it takes no examples in a prompt"),
        (["--set", "arms.head.pooling=last"], "pool first or mean"),
        (["--set", "compute.device=cuda"], "torch sees no CUDA device"),
    ],
)
def test_what_is_wrong_without_the_hub_is_said_without_it(words, found, offline, capsys):
    if "cuda" in words[1]:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device")
    recipe = next(path for path in RECIPES if path.stem == "sst2-random-split")
    assert main(["check", str(recipe), *words]) == 2
    assert found in capsys.readouterr().err


def test_a_span_head_that_transformers_has_not_is_said_from_what_the_shelf_declares(offline, capsys):
    recipe = next(path for path in RECIPES if path.stem == "gemma-squad")
    assert main(["check", str(recipe), "--set", "arms.lora.objective=head"]) == 2
    assert "no question-answering head for gemma2" in capsys.readouterr().err


def test_a_hub_that_answers_is_not_skipped(tmp_path):
    (tmp_path / "served").mkdir()
    with running_hub(tmp_path / "served") as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
        }
        done = subprocess.run(
            [sys.executable, "-m", "tuneproof", "check", "--no-cost", str(RECIPES[0])],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert "the hub has no such model" in done.stderr
    assert "skipped" not in done.stdout


def test_a_source_says_that_it_was_not_reached(offline):
    with pytest.raises(ModelUnreachedError):
        download_model(resolve_model("distilbert"), weights=False)
    with pytest.raises(DataUnreachedError):
        read_hub("stanfordnlp/sst2", "main")


def test_no_answer_is_told_from_an_answer():
    from huggingface_hub import get_session
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    client = type(get_session()).__module__.partition(".")[0]
    with pytest.raises(Exception, match="refused") as caught:
        get_session().get("http://127.0.0.1:9")
    assert type(caught.value).__module__.startswith(client)
    absent = LocalEntryNotFoundError("not in the cache")
    absent.__cause__ = caught.value
    answer = sys.modules[client].Response(503, request=sys.modules[client].Request("GET", "http://a"))
    assert is_unreachable(caught.value)
    assert is_unreachable(absent)
    assert is_unreachable(ConnectionError("no route"))
    for kind in (HfHubHTTPError, GatedRepoError):
        assert not is_unreachable(kind("no", response=answer))
    absent.__cause__ = HfHubHTTPError("service unavailable", response=answer)
    for error in (absent, FileNotFoundError("a file"), ValueError("no"), OSError(28, "full")):
        assert not is_unreachable(error)


def test_the_cache_alone_is_asked_for_a_while():
    from huggingface_hub import is_offline_mode

    before = is_offline_mode()
    with cache_only():
        assert is_offline_mode()
    with pytest.raises(ZeroDivisionError), cache_only():
        raise ZeroDivisionError
    assert is_offline_mode() == before
