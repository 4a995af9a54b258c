"""A study on a local Ray cluster of two worker nodes: the local run's scores, and a worker killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.arms.small import arm_of, folder_of, small_recipe, steps_of
from tests.monitoring import RecordingMonitor, run_recorded
from tests.tiny_models import tiny_model
from tuneproof.context.monitor import ArmFinished, Progress
from tuneproof.errors import RecipeError, RunError, StoppedError
from tuneproof.memory.estimate import KERNEL_BYTES
from tuneproof.models.matmul_backend import CACHED_KERNELS, uses_onednn
from tuneproof.record.study_folder import read_study
from tuneproof.study import ray_cluster
from tuneproof.study.plan import plan_study
from tuneproof.study.run import run_study
from tuneproof.study.signals import SIGNALS

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
ARMS = ["majority", "lexical", "head", {"lora": {"learning_rate": 1e-3}}, {"full": {"learning_rate": 1e-3}}]
SIX = [*ARMS, {"full": {"name": "full-random", "weights": "random"}}]
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


@pytest.mark.parametrize("arms", [[ARMS[0], ARMS[-1]], pytest.param(SIX, marks=pytest.mark.slow)])
def test_arms_on_two_workers_end_with_the_local_scores(tmp_path, model, cluster, arms) -> None:
    sections = {"seeds": [0], "claim": {"arm": "full", "over": "majority"}}
    here = small_recipe(tmp_path, [model], arms, out="here", **sections)
    run_study(here)
    there = small_recipe(tmp_path, [model], arms, out="there", **sections)
    monitor = RecordingMonitor()
    run_study(there, monitor, on="ray")
    events = monitor.events
    ended = [event for event in events if isinstance(event, ArmFinished)]
    assert sorted(event.label for event in ended if event.status == "done") == sorted(
        event.label for event in run_recorded(here).events if isinstance(event, ArmFinished)
    )
    assert len(ended) == len(arms)
    assert scores_of(there) == scores_of(here)
    assert any(isinstance(event, Progress) and event.note for event in events)
    names = [{p.relative_to(r.out).as_posix() for p in Path(r.out).rglob("*")} for r in (here, there)]
    assert names[0] == names[1], "the same directory as of the local run"
    assert [event.status for event in run_recorded(there).events if isinstance(event, ArmFinished)] == [
        "skipped"
    ] * len(arms)


def workers() -> list[int]:
    """Processes that carry out one of our arms at this moment."""
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "ray::_run_on_worker" in " ".join(process.info["cmdline"] or [])
    ]


@pytest.mark.slow
def test_an_arm_whose_worker_is_killed_goes_on_from_its_checkpoint(tmp_path, model, cluster) -> None:
    full = [{"full": {"learning_rate": 1e-3}}]
    long = {"epochs": 60, "checkpoint_minutes": 0}
    here = small_recipe(tmp_path, [model], full, out="here", train=long)
    run_study(here)
    there = small_recipe(tmp_path, [model], full, out="there", train=long)
    killed: list[int] = []
    until = time.monotonic() + PATIENCE_S

    def kill_once(event) -> None:
        if not killed and list(Path(there.out).glob("arms/*/checkpoints/step-[1-9][0-9]*")):
            killed.extend(workers())
            os.kill(killed[0], signal.SIGKILL)
        assert time.monotonic() < until

    monitor = RecordingMonitor(on_event=kill_once)
    run_study(there, monitor, on="ray")
    assert len(killed) == 1
    assert "its worker died" in monitor.text
    assert arm_of(there, "full")["status"] == "done"
    notes = arm_of(there, "full")["notes"]
    assert any("On the cluster its worker died" in note for note in notes)
    assert any("resumes after step" in note for note in notes)
    assert "On the cluster its worker died" in (Path(there.out) / "report.html").read_text("utf-8")
    assert scores_of(there) == scores_of(here)
    assert [line["loss"] for line in steps_of(there, "full")] == [
        line["loss"] for line in steps_of(here, "full")
    ]


@pytest.mark.slow
def test_stopped_on_the_cluster_arms_keep_what_they_have(tmp_path, model, cluster) -> None:
    long = {"epochs": 60, "checkpoint_minutes": 60}
    recipe = small_recipe(tmp_path, [model], [{"full": {"learning_rate": 1e-3}}], train=long)
    before = [signal.getsignal(each) for each in SIGNALS]

    def is_training(event) -> bool:
        assert [signal.getsignal(each) for each in SIGNALS] == before, "Ray takes no signal from us"
        return isinstance(event, Progress) and "loss" in event.note

    with pytest.raises(StoppedError):
        run_study(recipe, RecordingMonitor(stop_at=is_training), on="ray")
    assert not (folder_of(recipe, "full") / "arm.json").exists()
    assert list(folder_of(recipe, "full").glob("checkpoints/step-*"))
    run_study(recipe, on="ray")
    assert any("resumes after step" in note for note in arm_of(recipe, "full")["notes"])


def test_more_threads_than_a_node_has_are_refused(tmp_path, model, cluster) -> None:
    recipe = small_recipe(tmp_path, [model], ["head"], compute={"threads": 7})
    with pytest.raises(Exception, match="7 CPUs are requested, and the largest node has 1"):
        run_study(recipe, on="ray")
    assert not Path(recipe.out).exists()


def test_another_place_is_refused(tmp_path, model) -> None:
    with pytest.raises(RecipeError, match="'rai' is not supported"):
        run_study(small_recipe(tmp_path, [model], ["head"]), on="rai")


def test_foretold_memory_is_asked_for_and_too_much_is_said(tmp_path, model, monkeypatch) -> None:
    plan = plan_study(small_recipe(tmp_path, [model], ["majority", "head"]))
    cluster = ray_cluster.Cluster("", {"compute.threads": 1}, gpus=0)
    monkeypatch.setattr(ray_cluster, "_largest_node", lambda *resource, **least: 8e9)

    def request(index: int, cluster=cluster):
        monitor = RecordingMonitor()
        return ray_cluster.request_resources(plan, plan.arms[index], cluster, monitor), monitor.text

    assert request(0) == ({"num_cpus": 1, "num_gpus": 0}, "")
    options, text = request(1)
    weights_bytes = (model / "model.safetensors").stat().st_size
    kernel_bytes = CACHED_KERNELS * KERNEL_BYTES if uses_onednn() else 0  # oneDNN's, on AMD's processors
    assert weights_bytes + kernel_bytes < options["memory"] < 8e9
    assert text == ""
    with_gpu = ray_cluster.Cluster("", {"compute.threads": 1}, gpus=1)
    assert request(1, with_gpu) == ({"num_cpus": 1, "num_gpus": 1}, "")
    monkeypatch.setattr(ray_cluster, "_estimate_bytes", lambda *arm: 9_500_000_000)
    assert request(1)[1] == (
        "bert head: needs an estimated 9.50 GB, and the largest node has 8.00 GB; it gets all of that. "
        "Set compute.memory to make the arm fit."
    )


def both_have_checkpoints(recipe) -> bool:
    """Both arms of two run at this moment, and would go on from a checkpoint."""
    found = {path.parts[-3] for path in Path(recipe.out).glob("arms/*/checkpoints/step-[1-9]*")}
    return len(found) == len(workers()) == 2


@pytest.mark.slow
def test_every_worker_node_dies_and_new_ones_go_on(tmp_path, model, cluster, monkeypatch) -> None:
    """What lay on those nodes is gone; more memory than a node has is asked for all the while."""
    import psutil

    monkeypatch.setattr(ray_cluster, "_estimate_bytes", lambda *arm: 10**15)
    arms = [{"full": {"learning_rate": 1e-3}}, {"full": {"name": "b", "weights": "random"}}]
    long = {"epochs": 60, "checkpoint_minutes": 0}
    here = small_recipe(tmp_path, [model], arms, out="here", train=long)
    run_study(here)
    there = small_recipe(tmp_path, [model], arms, out="there", train=long)
    nodes: set[int] = set()

    def kill_nodes_once(event) -> None:
        if not nodes and both_have_checkpoints(there):
            nodes.update(psutil.Process(pid).ppid() for pid in workers())
            for pid in nodes:
                os.kill(pid, signal.SIGKILL)
            for _ in nodes:
                cluster.add_node(num_cpus=1, memory=NODE_BYTES)

    monitor = RecordingMonitor(on_event=kill_nodes_once)
    run_study(there, monitor, on="ray")
    assert nodes
    assert "the largest node has" in monitor.text
    assert scores_of(there) == scores_of(here)
    notes = arm_of(there, "full")["notes"] + arm_of(there, "b")["notes"]
    assert any("On the cluster its worker died" in note for note in notes)
    assert any("resumes after step" in note for note in notes)


@pytest.mark.slow
def test_an_arm_that_loses_worker_after_worker_costs_the_others_nothing(
    tmp_path, model, cluster, monkeypatch
) -> None:
    monkeypatch.setattr(ray_cluster, "RETRIES", 0)
    arms = [{"full": {"learning_rate": 1e-3}}, {"full": {"name": "b", "weights": "random"}}]
    long = {"epochs": 60, "checkpoint_minutes": 0}
    recipe = small_recipe(tmp_path, [model], arms, train=long)

    killed: list[int] = []

    def kill_once(event) -> None:
        if not killed and both_have_checkpoints(recipe):
            killed.extend(workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(RunError, match=r"bert (full|b) seed 0: 1 workers died in it") as caught:
        run_study(recipe, RecordingMonitor(on_event=kill_once), on="ray")
    lost, other = ("full", "b") if "bert full" in str(caught.value) else ("b", "full")
    assert not (folder_of(recipe, lost) / "arm.json").exists()
    assert arm_of(recipe, other)["status"] == "done"
