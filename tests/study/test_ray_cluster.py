"""A study on a local Ray cluster of two worker nodes: the local run's scores, and a worker killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.arms.small import arm_of, folder_of, follow, small_recipe, steps_of
from tests.tiny_models import tiny_model
from tuneproof.context.monitor import Advanced, ArmEnded, Said
from tuneproof.errors import RecipeError, RunError, StoppedError
from tuneproof.record.study_folder import read_study
from tuneproof.study import ray_cluster as ray_room
from tuneproof.study.plan import look_ahead
from tuneproof.study.signals import SIGNALS
from tuneproof.study.study import events_of

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
ARMS = ["majority", "lexical", "head", {"lora": {"learning_rate": 1e-3}}, {"full": {"learning_rate": 1e-3}}]
PATIENCE_S = 600  # against hanging, on a busy machine
NODE_BYTES = 4 * 10**9  # that a node says it has


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
        made.add_node(num_cpus=1, memory=NODE_BYTES)
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
    assert any(isinstance(event, Advanced) and event.note for event in events)
    names = [{p.relative_to(r.out).as_posix() for p in Path(r.out).rglob("*")} for r in (here, there)]
    assert names[0] == names[1], "the same directory as of the local run"
    assert [event.status for event in follow(there) if isinstance(event, ArmEnded)] == ["skipped"] * 6


def workers() -> list[int]:
    """Processes that carry out one of our arms at this moment."""
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "ray::_carry_out_there" in " ".join(process.info["cmdline"] or [])
    ]


def test_an_arm_whose_worker_is_killed_goes_on_from_its_checkpoint(tmp_path, model, cluster) -> None:
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


@pytest.mark.slow
def test_stopped_on_the_cluster_arms_keep_what_they_have(tmp_path, model, cluster) -> None:
    long = {"epochs": 60, "checkpoint_minutes": 60}
    recipe = small_recipe(tmp_path, [model], [{"full": {"learning_rate": 1e-3}}], train=long)
    events = events_of(recipe, on="ray")
    before = [signal.getsignal(each) for each in SIGNALS]
    for event in events:
        if isinstance(event, Advanced) and "loss" in event.note:
            break
    assert [signal.getsignal(each) for each in SIGNALS] == before, "Ray takes no signal from us"
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


def test_foretold_memory_is_asked_for_and_too_much_is_said(tmp_path, model, monkeypatch) -> None:
    plan = look_ahead(small_recipe(tmp_path, [model], ["majority", "head"]))
    made = ray_room.Cluster("", {"compute.threads": 1}, gpus=0)
    monkeypatch.setattr(ray_room, "_most", lambda *asked, **kinds: 8e9)

    def asked(place: int, cluster=made):
        running = ray_room._asked(plan, plan.works[place], cluster)
        said = []
        while True:
            try:
                said.append(next(running).text)
            except StopIteration as end:
                return end.value, said

    assert asked(0) == ({"num_cpus": 1, "num_gpus": 0}, [])
    options, said = asked(1)
    assert 1e6 < options["memory"] < 8e9
    assert said == []
    with_gpu = ray_room.Cluster("", {"compute.threads": 1}, gpus=1)
    assert asked(1, with_gpu) == ({"num_cpus": 1, "num_gpus": 1}, [])
    monkeypatch.setattr(ray_room, "_foretold", lambda *about: 9_500_000_000)
    assert asked(1)[1] == [
        "bert head: 9.50 GB are foretold, and the largest node gives 8.00 GB; it gets all of that. "
        "compute.memory makes an arm fit."
    ]


def both_have_checkpoints(recipe) -> bool:
    """Both arms of two run at this moment, and would go on from a checkpoint."""
    found = {path.parts[-3] for path in Path(recipe.out).glob("arms/*/checkpoints/step-[1-9]*")}
    return len(found) == len(workers()) == 2


@pytest.mark.slow
def test_every_worker_node_dies_and_new_ones_go_on(tmp_path, model, cluster, monkeypatch) -> None:
    """What lay on those nodes is gone; more memory than a node has is asked for all the while."""
    import psutil

    monkeypatch.setattr(ray_room, "_foretold", lambda *about: 10**15)
    arms = [{"full": {"learning_rate": 1e-3}}, {"full": {"name": "b", "weights": "random"}}]
    long = {"epochs": 25, "checkpoint_minutes": 0}
    here = small_recipe(tmp_path, [model], arms, out="here", train=long)
    follow(here)
    there = small_recipe(tmp_path, [model], arms, out="there", train=long)
    said, killed = [], False
    for event in events_of(there, on="ray"):
        said += [event.text] if isinstance(event, Said) else []
        if not killed and both_have_checkpoints(there):
            nodes = {psutil.Process(pid).ppid() for pid in workers()}
            for pid in nodes:
                os.kill(pid, signal.SIGKILL)
            for _ in nodes:
                cluster.add_node(num_cpus=1, memory=NODE_BYTES)
            killed = True
    assert killed
    assert any("the largest node gives" in text for text in said)
    assert scores_of(there) == scores_of(here)
    notes = arm_of(there, "full")["notes"] + arm_of(there, "b")["notes"]
    assert any("On the cluster its worker died" in note for note in notes)
    assert any("goes on after step" in note for note in notes)


@pytest.mark.slow
def test_an_arm_that_loses_worker_after_worker_costs_the_others_nothing(
    tmp_path, model, cluster, monkeypatch
) -> None:
    monkeypatch.setattr(ray_room, "RETRIES", 0)
    arms = [{"full": {"learning_rate": 1e-3}}, {"full": {"name": "b", "weights": "random"}}]
    long = {"epochs": 25, "checkpoint_minutes": 0}
    recipe = small_recipe(tmp_path, [model], arms, train=long)

    def kill_one() -> None:
        killed = False
        for _ in events_of(recipe, on="ray"):
            if not killed and both_have_checkpoints(recipe):
                os.kill(workers()[0], signal.SIGKILL)
                killed = True

    with pytest.raises(RunError, match=r"bert (full|b) seed 0: 1 workers died in it") as caught:
        kill_one()
    lost, other = ("full", "b") if "bert full" in str(caught.value) else ("b", "full")
    assert not (folder_of(recipe, lost) / "arm.json").exists()
    assert arm_of(recipe, other)["status"] == "done"
