"""A study on a local Ray cluster of two worker nodes: the local run's scores, and a worker killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.arms.small import arm_of, folder_of, follow, small_recipe, steps_of
from tests.tiny_models import tiny_model
from tuneproof.arms.event import Advanced, ArmEnded, Said
from tuneproof.errors import RecipeError, StoppedError
from tuneproof.record.rundir import read_study
from tuneproof.study import events_of

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
ARMS = ["majority", "lexical", "head", {"lora": {"learning_rate": 1e-3}},
        {"full": {"learning_rate": 1e-3}}]  # fmt: skip
PATIENCE_S = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "bert", "distilbert")


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes with one each; every node has processes of its own."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    ray.shutdown()
    made.shutdown()
    if before is None:
        del os.environ["RAY_ADDRESS"]
    else:
        os.environ["RAY_ADDRESS"] = before


def scores_of(recipe) -> dict[str, dict]:
    return {arm.folder.name: arm.scores for arm in read_study(Path(recipe.out)).arms}


def test_six_arms_on_two_workers_end_with_the_local_scores(tmp_path, model, cluster) -> None:
    sections = {"seeds": [0], "claim": {"arm": "full", "over": "majority"}}
    arms = [*ARMS, {"full": {"name": "full-random", "weights": "random"}}]
    here = small_recipe(tmp_path, [model], arms, out="here", **sections)
    follow(here)
    there = small_recipe(tmp_path, [model], arms, out="there", **sections)
    events = list(events_of(there, on="ray"))
    ended = [event for event in events if isinstance(event, ArmEnded)]
    assert sorted(event.label for event in ended if event.status == "done") == sorted(
        event.label for event in follow(here) if isinstance(event, ArmEnded)
    )
    assert len(ended) == 6
    assert scores_of(there) == scores_of(here)
    assert any(isinstance(event, Advanced) and "loss" in event.note for event in events)
    names = [
        {p.relative_to(r.out).as_posix() for p in Path(r.out).rglob("*")} for r in (here, there)
    ]
    assert names[0] == names[1], "the same directory as of the local run"
    assert [event.status for event in follow(there) if isinstance(event, ArmEnded)] == [
        "skipped"
    ] * 6


def workers() -> list[int]:
    """Processes that carry out one of our arms at this moment."""
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "ray::_carry_out_there" in " ".join(process.info["cmdline"] or [])
    ]


def test_an_arm_whose_worker_is_killed_goes_on_from_its_checkpoint(
    tmp_path, model, cluster
) -> None:
    full = [{"full": {"learning_rate": 1e-3}}]
    long = {"epochs": 25, "checkpoint_minutes": 0}
    here = small_recipe(tmp_path, [model], full, out="here", train=long)
    follow(here)
    there = small_recipe(tmp_path, [model], full, out="there", train=long)
    said, killed = [], False
    until = time.monotonic() + PATIENCE_S
    for event in events_of(there, on="ray"):
        said += [event.text] if isinstance(event, Said) else []
        if not killed and list(Path(there.out).glob("arms/*/checkpoints/step-1[0-9]")):
            (pid,) = workers()
            os.kill(pid, signal.SIGKILL)
            killed = True
        assert time.monotonic() < until
    assert killed
    assert any("its worker died" in text for text in said)
    assert arm_of(there, "full")["status"] == "done"
    notes = arm_of(there, "full")["notes"]
    assert any("On the cluster its worker died" in note for note in notes)
    assert any("goes on after step" in note for note in notes)
    assert "On the cluster its worker died" in (Path(there.out) / "report.html").read_text("utf-8")
    assert scores_of(there) == scores_of(here)
    assert [line["loss"] for line in steps_of(there, "full")] == [
        line["loss"] for line in steps_of(here, "full")
    ]


def test_stopped_on_the_cluster_arms_keep_what_they_have(tmp_path, model, cluster) -> None:
    long = {"epochs": 60, "checkpoint_minutes": 60}
    recipe = small_recipe(tmp_path, [model], [{"full": {"learning_rate": 1e-3}}], train=long)
    events = events_of(recipe, on="ray")
    for event in events:
        if isinstance(event, Advanced) and "loss" in event.note:
            break
    with pytest.raises(StoppedError):
        events.throw(StoppedError("the test", "stopped."))
    assert not (folder_of(recipe, "full") / "arm.json").exists()
    assert list(folder_of(recipe, "full").glob("checkpoints/step-*"))
    list(events_of(recipe, on="ray"))
    assert any("goes on after step" in note for note in arm_of(recipe, "full")["notes"])


def test_more_threads_than_a_node_has_are_refused(tmp_path, model, cluster) -> None:
    recipe = small_recipe(tmp_path, [model], ["head"], compute={"threads": 7})
    with pytest.raises(Exception, match="7 CPUs are asked for, and the largest node has 1"):
        list(events_of(recipe, on="ray"))
    assert not Path(recipe.out).exists()


def test_another_place_is_refused(tmp_path, model) -> None:
    with pytest.raises(RecipeError, match="'rai' is no place to run"):
        list(events_of(small_recipe(tmp_path, [model], ["head"]), on="rai"))
