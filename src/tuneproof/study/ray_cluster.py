"""The arms of a study as tasks of a Ray cluster: each asks for what it needs; where a node dies, again.

In: a plan, the arms that are left. Out: the events of all of them, in one stream.
Knows nothing of: how an arm is carried out, the report.

A worker makes the plan again from the recipe and carries its arm out in the study's own folder, which every
node must see; checkpoints there are what a retried arm goes on from. Between the processes go the recipe's
text, numbers and events as plain values.
"""

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuneproof.arms.memory_plan import GIGABYTE, foresee
from tuneproof.context.model_spec import make_compute
from tuneproof.context.monitor import Advanced, ArmBegun, ArmEnded, Event, Running, Said, StageBegun
from tuneproof.errors import ModelError, RunError
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.plan import Plan, Work
from tuneproof.study.ray_worker import OFTEN_S, carry_out_told, machine_here
from tuneproof.study.run import longest_item
from tuneproof.study.signals import signals_put_back

RETRIES = 3  # times that an arm is given to another worker
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
        raise RunError("--on ray", "Ray is not installed.", do="pip install 'tuneproof[ray]'") from None
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
    with signals_put_back():  # Ray takes them: the study would not stop resumably
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), **quiet)
            address = ray.get_runtime_context().gcs_address
            said = f"{len(_alive())} nodes of the Ray cluster at {address}."
        except ConnectionError as error:
            if "RAY_ADDRESS" in os.environ:
                raise RunError(
                    "RAY_ADDRESS",
                    f"no cluster answers at {os.environ['RAY_ADDRESS']}: {error}",
                    do="Start one with `ray start --head`, or leave RAY_ADDRESS out.",
                ) from None
            ray.init(include_dashboard=False, **quiet)
            said = "No Ray cluster runs here: one was started on this machine, for this study."
    gpus = recipe.compute.device in ("auto", "cuda") and any(
        node["Resources"].get("GPU") for node in _alive()
    )
    cpus = recipe.compute.threads or 1
    _check_room(cpus, int(gpus))
    asked = ray.remote(num_cpus=cpus, num_gpus=int(gpus), max_retries=RETRIES)(machine_here)
    try:
        machine = ray.get(asked.remote(recipe.text(), cpus))
    except ray.exceptions.RayTaskError as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise RunError(
            "--on ray",
            f"no worker could begin: {reason}.",
            do="Install tuneproof with the same packages on every node.",
        ) from None
    if "refused" in machine:
        raise RunError("--on ray", machine["refused"])
    return Cluster(said, machine, int(gpus))


def leave_cluster() -> None:
    """Let the cluster go on without this process."""
    _ray().shutdown()


def _alive() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _check_room(cpus: int, gpus: int) -> None:
    """Raises RunError where no node has so many CPUs (and a GPU): the task would wait for ever."""
    largest = _most("CPU", gpus)
    if largest < cpus:
        with_gpu = " with a GPU" if gpus else ""
        raise RunError(
            "compute.threads",
            f"{cpus} CPUs are asked for, and the largest node{with_gpu} has {largest:g}.",
            do=f"Write compute: {{threads: {max(1, int(largest))}}}.",
        )


def _most(resource: str, gpus: int = 0, cpus: int = 0) -> float:
    """The most of a resource that one node has, of those with so many GPUs and CPUs."""
    having = [node["Resources"] for node in _alive()]
    having = [has for has in having if has.get("GPU", 0) >= gpus and has.get("CPU", 0) >= cpus]
    return max((has.get(resource, 0) for has in having), default=0)


def by_ray(plan: Plan, works: Sequence[Work], cluster: Cluster) -> Running[list[Work]]:
    """Carry out these arms on the cluster. Returns those that failed.

    Raises: RunError where a node sees another study, or an arm lost worker after worker; the other
    arms are finished in that case.
    """
    ray = _ray()
    yield Said(cluster.said)
    relay = _relay_here(ray)
    deaths: dict[int, list[str]] = {work.place: [] for work in works}
    asked: dict[int, dict[str, Any]] = {}
    running: dict[Any, Work] = {}
    failed: list[Work] = []
    given_up: list[Work] = []

    def send(work: Work) -> None:
        options = asked[work.place]
        if "memory" in options:  # what a node gives may be less than before one died
            most = int(_most("memory", cpus=options["num_cpus"]))
            options["memory"] = min(options["memory"], most)
        there = ray.remote(max_retries=0)(_carry_out_there).options(**options)
        told = _told(plan, work, cluster)
        running[there.remote(told, deaths[work.place], relay)] = work

    yield StageBegun("arms on the cluster", len(works), "arms")
    done = 0
    try:
        for work in works:
            asked[work.place] = yield from _asked(plan, work, cluster)
            send(work)
        while running:
            ended, _ = ray.wait(list(running), timeout=OFTEN_S)
            yield from _heard(ray, relay, plan)
            for task in ended:
                work = running.pop(task)
                ending = _ending(ray, task)
                lost = ending.get("lost")
                if lost is not None:
                    deaths[work.place].append(lost)
                    again = len(deaths[work.place]) <= RETRIES
                    next_ = "it is given to another worker" if again else "it is given up"
                    yield Said(f"{work.label}: {lost}; {next_}.", "warning")
                    if again:
                        send(work)
                        continue
                    given_up.append(work)
                elif "refused" in ending:
                    raise RunError(work.label, ending["refused"])
                else:
                    yield from _heard(ray, relay, plan)
                    failed += [] if ending["well"] else [work]
                done += 1
                yield StageBegun("arms on the cluster", len(works), "arms", done=done)
    except BaseException:
        if running:
            ray.get(relay.stop.remote())
            ray.wait(list(running), num_returns=len(running), timeout=STOP_S)
        raise
    if given_up:
        first = deaths[given_up[0].place]
        raise RunError(
            ", ".join(work.label for work in given_up),
            f"{len(first)} workers died in it: {first[-1]}.",
            do="The other arms are finished; the same command tries it again from its checkpoint.",
        )
    return failed


def _relay_here(ray: Any) -> Any:
    """The relay, on the driver's own node: any other may die."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(_Relay).options(scheduling_strategy=here).remote()


def _told(plan: Plan, work: Work, cluster: Cluster) -> dict[str, Any]:
    """What a worker has to know of the study and the arm, as plain values."""
    return {
        "text": plan.recipe.text(),
        "cwd": os.getcwd(),
        "threads": int(cluster.machine["compute.threads"]),
        "machine": None if work.ready else tuple(cluster.machine.items()),
        "place": work.place,
        "fingerprint": work.fingerprint,
    }


def _asked(plan: Plan, work: Work, cluster: Cluster) -> Running[dict[str, Any]]:
    """What the arm asks the cluster for. Returns Ray's options of a task."""
    cpus = int(cluster.machine["compute.threads"])
    gpus = cluster.gpus if work.ready else 0
    asked: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
    if gpus or work.ready is None:
        return asked  # a GPU's memory goes with it
    try:
        needed = _foretold(plan, work)
    except ModelError as error:
        yield Said(f"{work.label}: its memory is not foretold, and none is asked for: {error}")
        return asked
    most = int(_most("memory", cpus=cpus))
    if needed > most:  # Ray would wait for such a node for ever
        yield Said(
            f"{work.label}: {needed / GIGABYTE:.2f} GB are foretold, and the largest node gives "
            f"{most / GIGABYTE:.2f} GB; it gets all of that. compute.memory makes an arm fit.",
            "warning",
        )
    return {**asked, "memory": needed}


def _foretold(plan: Plan, work: Work) -> int:
    """Bytes that the ledger foretells for the arm on a CPU, under the settings as asked.

    Raises: ModelError as `foresee`.
    """
    assert work.ready is not None
    if not plan.compute:
        settings = plan.recipe.compute.model_copy(update={"device": "cpu"})
        plan.compute.append(make_compute(settings, longest_item(plan)))
    compute = plan.recipe.compute.model_copy(update={"memory": ANY_AMOUNT})
    recipe = plan.recipe.model_copy(update={"compute": compute})
    shared = replace(plan.shared, recipe=recipe)
    found = foresee(shared, work.arm, work.ready, plan.compute[0], work.seed or 0)
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
    # also where nothing is heard: a stop that was asked for finds its event
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


def _carry_out_there(told: dict[str, Any], deaths: list[str], relay: Any) -> dict[str, Any]:
    """One arm, as Ray's task."""
    ray = _ray()
    return carry_out_told(told, deaths, lambda said: ray.get(relay.put.remote(told["place"], said)))
