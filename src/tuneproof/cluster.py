"""The arms of a study as tasks of a Ray cluster: each asks for what it needs; where a node dies, again.

In: a plan, the arms that are left. Out: the events of all of them, in one stream.
Knows nothing of: how an arm is carried out, the report.

A worker makes the plan again from the recipe and carries its arm out in the study's own folder, which every
node must see; checkpoints there are what a retried arm goes on from. Between the processes go the recipe's
text, numbers and events as plain values.
"""

import os
import socket
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneproof.arms.event import (
    Advanced,
    ArmBegun,
    ArmEnded,
    Event,
    Running,
    Said,
    StageBegun,
)
from tuneproof.arms.foresight import foresee
from tuneproof.arms.ready import make_compute, resolved
from tuneproof.errors import RunError, StoppedError, TuneproofError
from tuneproof.pipeline import carry_out, longest_item
from tuneproof.plan import Plan, Work, look_ahead
from tuneproof.recipe import Recipe, recipe_from
from tuneproof.record.rundir import RECIPE
from tuneproof.yaml_file import parse_value

RETRIES = 3  # times that an arm is given to another worker
OFTEN_S = 0.3  # between a worker's words about its progress
STOP_S = 300.0  # that workers have to keep what they have
ANY_AMOUNT = "1000TB"  # so that the memory is foretold under the settings as asked
KINDS = {kind.__name__: kind for kind in (StageBegun, Advanced, ArmBegun, ArmEnded, Said)}


def _ray() -> Any:
    """Ray, quiet about itself.

    Raises: RunError where it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise RunError(
            "--on ray", "Ray is not installed.", do="pip install 'tuneproof[ray]'"
        ) from None
    return ray


@dataclass(frozen=True)
class Cluster:
    """The cluster that this process has joined; `machine`: where its workers compute (see `resolved`)."""

    said: str
    machine: dict[str, Any]
    gpus: int


def join_cluster(recipe: Recipe) -> Cluster:
    """Join the cluster of RAY_ADDRESS or of this machine; start one here where there is none.

    Raises: RunError where no node can do the work.
    """
    ray = _ray()
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), **quiet)
        said = (
            f"{len(_alive())} nodes of the Ray cluster at {ray.get_runtime_context().gcs_address}."
        )
    except ConnectionError as error:
        if "RAY_ADDRESS" in os.environ:
            raise RunError(
                "RAY_ADDRESS", f"no cluster answers at {os.environ['RAY_ADDRESS']}: {error}",
                do="Start one with `ray start --head`, or leave RAY_ADDRESS out.",
            ) from None  # fmt: skip
        ray.init(include_dashboard=False, **quiet)
        said = "No Ray cluster runs here: one was started on this machine, for this study."
    gpus = recipe.compute.device in ("auto", "cuda") and any(
        node["Resources"].get("GPU") for node in _alive()
    )
    cpus = recipe.compute.threads or 1
    _check_room(cpus, int(gpus))
    asked = ray.remote(num_cpus=cpus, num_gpus=int(gpus), max_retries=RETRIES)(_machine)
    machine = ray.get(asked.remote(recipe.text(), cpus))
    return Cluster(said, machine, int(gpus))


def leave_cluster() -> None:
    """Let the cluster go on without this process."""
    _ray().shutdown()


def _alive() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _check_room(cpus: int, gpus: int) -> None:
    """Raises RunError where no node has so many CPUs (and a GPU): the task would wait for ever."""
    largest = max((node["Resources"].get("CPU", 0) for node in _alive()), default=0)
    if largest < cpus:
        raise RunError(
            "compute.threads", f"{cpus} CPUs are asked for, and the largest node has {largest:g}.",
            do=f"Write compute: {{threads: {max(1, int(largest))}}}.",
        )  # fmt: skip


def _recipe_of(text: str, threads: int) -> Recipe:
    """The study's recipe, with as many threads as the task was given."""
    values = parse_value(text, RECIPE)
    return recipe_from({**values, "compute": {**values.get("compute", {}), "threads": threads}})


def _machine(text: str, threads: int) -> dict[str, Any]:
    return resolved(_recipe_of(text, threads).compute)


def by_ray(plan: Plan, works: Sequence[Work], cluster: Cluster) -> Running[list[Work]]:
    """Carry out these arms on the cluster. Returns those that failed."""
    ray = _ray()
    yield Said(cluster.said)
    relay = ray.remote(num_cpus=0)(_Relay).remote()
    there = ray.remote(max_retries=0)(_carry_out_there)
    text, cwd = plan.recipe.text(), os.getcwd()
    deaths: dict[int, list[str]] = {work.place: [] for work in works}
    running: dict[Any, Work] = {}
    failed: list[Work] = []

    def send(work: Work) -> None:
        threads = int(cluster.machine["compute.threads"])
        options: dict[str, Any] = {
            "num_cpus": threads,
            "num_gpus": cluster.gpus if work.ready else 0,
        }
        needed = _memory(plan, work)
        if needed and not cluster.gpus:  # on a GPU it is the GPU's
            options["memory"] = needed
        told = (text, cwd, threads, work.place, work.fingerprint, deaths[work.place], relay)
        running[there.options(**options).remote(*told)] = work

    yield StageBegun("arms on the cluster", len(works), "arms")
    for work in works:
        send(work)
    done = 0
    try:
        while running:
            ended, _ = ray.wait(list(running), timeout=OFTEN_S)
            yield from _heard(ray, relay, plan)
            for task in ended:
                work = running.pop(task)
                ending = _ending(ray, task)
                lost = ending.get("lost")
                if lost is None:
                    yield from _heard(ray, relay, plan)
                    if "refused" in ending:
                        raise RunError(work.label, ending["refused"])
                    done += 1
                    failed += [] if ending["well"] else [work]
                    yield StageBegun("arms on the cluster", len(works), "arms", done=done)
                    continue
                deaths[work.place].append(lost)
                if len(deaths[work.place]) > RETRIES:
                    raise RunError(
                        work.label, f"{len(deaths[work.place])} workers died in it: {lost}."
                    )
                yield Said(f"{work.label}: {lost}; it is given to another worker.", "warning")
                send(work)
    except BaseException:
        if running:
            ray.get(relay.stop.remote())
            ray.wait(list(running), num_returns=len(running), timeout=STOP_S)
        raise
    return failed


def _memory(plan: Plan, work: Work) -> int:
    """Bytes that the ledger foretells for the arm; 0 for a baseline, and where it foretells nothing."""
    if work.ready is None or plan.shared.kind == "questions":
        return 0
    if not plan.compute:
        settings = plan.recipe.compute.model_copy(update={"device": "cpu"})
        plan.compute.append(make_compute(settings, longest_item(plan)))
    compute = plan.recipe.compute.model_copy(update={"memory": ANY_AMOUNT})
    shared = plan.shared
    recipe = shared.recipe.model_copy(update={"compute": compute})
    found = foresee(
        type(shared)(recipe, shared.splits, shared.words, shared.cache), work.arm, work.ready,
        plan.compute[0], work.seed or 0,
    )  # fmt: skip
    return found.forecast.total_bytes if found.forecast else 0


def _ending(ray: Any, task: Any) -> dict[str, Any]:
    """How a task ended: `well`, `refused` with what the worker said, or `lost` with how it died."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError:
        raise  # a mistake of ours, with the worker's traceback
    except ray.exceptions.RayError as error:
        return {"lost": f"its worker died ({type(error).__name__})"}


def _heard(ray: Any, relay: Any, plan: Plan) -> Generator[Event, None, None]:
    """What the workers said since: arms that ended, sentences, and how it goes."""
    note = ""
    for place, kind, values in ray.get(relay.take.remote()):
        event, label = KINDS[kind](**values), plan.works[place].label
        if isinstance(event, ArmEnded):
            yield event
        elif isinstance(event, Said):
            yield Said(f"{label}: {event.text}", event.level)
        elif isinstance(event, StageBegun):
            note = f"{label} · {event.name}"
        elif isinstance(event, Advanced) and event.note:
            note = f"{label} · {event.note}"
    if note:
        yield Advanced(0, note)


class _Relay:
    """What the workers say, until the driver takes it; whether they are to stop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, str, dict[str, Any]]] = []
        self.stopping = False

    def put(self, place: int, said: list[tuple[str, dict[str, Any]]]) -> bool:
        """Take a worker's words; true where it is to stop."""
        self.waiting += [(place, kind, values) for kind, values in said]
        return self.stopping

    def take(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Give what is waiting."""
        taken, self.waiting = self.waiting, []
        return taken

    def stop(self) -> None:
        """Every worker stops at its next word."""
        self.stopping = True


@lru_cache(maxsize=1)
def _plan(text: str, threads: int) -> Plan:
    """The study's plan in a worker, once for all of its arms."""
    return look_ahead(_recipe_of(text, threads))


def _carry_out_there(
    text: str, cwd: str, threads: int, place: int, fingerprint: str, deaths: list[str], relay: Any
) -> dict[str, Any]:
    """One arm, in a worker's process. Returns `well` or `refused`."""
    try:
        plan, work = _work_there(text, cwd, threads, place, fingerprint)
    except TuneproofError as error:
        return {"refused": str(error)}
    notes = [f"On the cluster {death}; another worker went on with the arm." for death in deaths]
    return {"well": _relayed(carry_out(plan, work, notes), place, relay)}


def _work_there(
    text: str, cwd: str, threads: int, place: int, fingerprint: str
) -> tuple[Plan, Work]:
    """The plan and the arm as this node sees them.

    Raises: RunError where it sees other files or packages than the driver.
    """
    host = socket.gethostname()
    if not Path(cwd).is_dir():
        raise RunError(
            f"node {host}", f"does not see {cwd}.", do="Start from a folder that all nodes see."
        )
    os.chdir(cwd)
    plan = _plan(text, threads)
    seen = plan.folder / RECIPE
    if not seen.is_file() or seen.read_text("utf-8") != text:
        raise RunError(
            f"node {host}", f"does not see the study's folder {plan.folder}.",
            do="Name a folder on storage that all nodes share with --out.",
        )  # fmt: skip
    work = plan.works[place]
    if work.fingerprint != fingerprint:
        raise RunError(
            f"node {host}", f"sees another {work.label}: its data, model or packages differ.",
            do="Give every node the same files and packages.",
        )  # fmt: skip
    return plan, work


def _relayed(events: Running[bool], place: int, relay: Any) -> bool:
    """Run to the end, telling the driver, or until it says stop. Returns whether it went well."""
    ray = _ray()
    said: list[tuple[str, dict[str, Any]]] = []
    last = time.monotonic()
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            ray.get(relay.put.remote(place, said))
            return bool(end.value)
        said.append((type(event).__name__, asdict(event)))
        if time.monotonic() - last < OFTEN_S and not isinstance(event, ArmEnded):
            continue
        stop = ray.get(relay.put.remote(place, _brief(said)))
        said, last = [], time.monotonic()
        if stop and not isinstance(event, ArmEnded):
            try:
                events.throw(StoppedError("the study", "stopped."))
            except StoppedError:
                return False


def _brief(said: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The last word about progress, and everything else."""
    progress = [one for one in said if one[0] == "Advanced"][-1:]
    return [one for one in said if one[0] != "Advanced"] + progress
