"""The arms of a study as tasks of a Ray cluster: each requests resources, and is retried if a node dies.

In: a plan, the arms that are left. Out: their events in one stream, to the monitor.
Knows nothing of: how an arm runs, the report.

A worker makes the plan again from the recipe and runs its arm in the study's own folder, which every
node must see; a retried arm resumes from the checkpoints there. Between the processes travel the recipe's
text, numbers and events as plain values.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuneproof.arms.memory_plan import GIGABYTE, plan_memory
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.compute import make_compute
from tuneproof.context.monitor import ArmFinished, ArmStarted, Message, Monitor, Progress, StageStarted
from tuneproof.errors import ModelError, RunError
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.arm_session import longest_item
from tuneproof.study.plan import Plan
from tuneproof.study.ray_worker import INTERVAL_S, Assignment, PlainEvents, describe_machine, run_assignment
from tuneproof.study.signals import preserved_signals

RETRIES = 3  # times that an arm is given to another worker
STOP_S = 300.0  # that workers have to keep their work
ANY_AMOUNT = "1000TB"  # so that the memory is estimated under the settings as requested
EVENTS: dict[str, Any] = {
    kind.__name__: kind for kind in (StageStarted, Progress, ArmStarted, ArmFinished, Message)
}
STAGE = "arms on the cluster"


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
    """The cluster that this process has joined.

    machine: where its workers compute (see `resolve_compute`). gpus: that an arm with a model gets.
    """

    sentence: str
    machine: dict[str, Any]
    gpus: int

    @property
    def cpus(self) -> int:
        """CPUs that an arm gets."""
        return int(self.machine["compute.threads"])

    def run_arms(self, plan: Plan, runs: Sequence[ArmRun], monitor: Monitor) -> list[ArmRun]:
        """Run these arms on the cluster. Returns those that failed.

        Raises: RunError where a node sees another study, or an arm lost worker after worker; the other
        arms are finished in that case.
        """
        monitor.message(self.sentence)
        return _ClusterRun(self, plan, monitor, list(runs)).run()


def join_cluster(recipe: Recipe) -> Cluster:
    """Join the cluster of RAY_ADDRESS or of this machine; start one here where there is none.

    Raises: RunError where no node can do the work.
    """
    ray = _ray()
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
    with preserved_signals():  # Ray takes them: the study could not be stopped resumably
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), **quiet)
            address = ray.get_runtime_context().gcs_address
            sentence = f"{len(_alive_nodes())} nodes of the Ray cluster at {address}."
        except ConnectionError as error:
            if "RAY_ADDRESS" in os.environ:
                raise RunError(
                    "RAY_ADDRESS",
                    f"no cluster answers at {os.environ['RAY_ADDRESS']}: {error}",
                    do="Start one with `ray start --head`, or unset RAY_ADDRESS.",
                ) from None
            ray.init(include_dashboard=False, **quiet)
            sentence = "No Ray cluster is running, so one was started on this machine for this study."
    has_gpus = any(node["Resources"].get("GPU") for node in _alive_nodes())
    gpus = int(recipe.compute.device in ("auto", "cuda") and has_gpus)
    cpus = recipe.compute.threads or 1
    _check_room(cpus, gpus)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(describe_machine)
    try:
        machine = ray.get(task.remote(recipe.text(), cpus))
    except ray.exceptions.RayTaskError as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise RunError(
            "--on ray",
            f"no worker could start: {reason}.",
            do="Install tuneproof with the same packages on every node.",
        ) from None
    if "refused" in machine:
        raise RunError("--on ray", machine["refused"])
    return Cluster(sentence, machine, gpus)


def leave_cluster() -> None:
    """Leave the cluster running without this process."""
    _ray().shutdown()


def _alive_nodes() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _check_room(cpus: int, gpus: int) -> None:
    """Raises RunError where no node has so many CPUs (and a GPU): the task would wait for ever."""
    largest = _largest_node("CPU", gpus)
    if largest < cpus:
        with_gpu = " with a GPU" if gpus else ""
        raise RunError(
            "compute.threads",
            f"{cpus} CPUs are requested, and the largest node{with_gpu} has {largest:g}.",
            do=f"Write compute: {{threads: {max(1, int(largest))}}}.",
        )


def _largest_node(resource: str, gpus: int = 0, cpus: int = 0) -> float:
    """The most of a resource that one node has, of those with so many GPUs and CPUs."""
    nodes = [node["Resources"] for node in _alive_nodes()]
    nodes = [node for node in nodes if node.get("GPU", 0) >= gpus and node.get("CPU", 0) >= cpus]
    return max((node.get(resource, 0) for node in nodes), default=0)


@dataclass
class _ClusterRun:
    """The arms of one study on the cluster: those that run, those that failed, how workers died."""

    cluster: Cluster
    plan: Plan
    monitor: Monitor
    runs: list[ArmRun]
    deaths: dict[int, list[str]] = field(default_factory=dict)
    resources: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[Any, ArmRun] = field(default_factory=dict)
    failed: list[ArmRun] = field(default_factory=list)
    lost: list[ArmRun] = field(default_factory=list)
    relay: Any = None

    def run(self) -> list[ArmRun]:
        """Send the arms out and wait for them. Returns those that failed."""
        ray, total = _ray(), len(self.runs)
        self.relay = _start_relay(ray)
        self.deaths = {run.index: [] for run in self.runs}
        self.monitor.stage(STAGE, total, "arms")
        done = 0
        try:
            for run in self.runs:
                self.resources[run.index] = request_resources(self.plan, run, self.cluster, self.monitor)
                self._send(run)
            while self.tasks:
                ended, _ = ray.wait(list(self.tasks), timeout=INTERVAL_S)
                self._forward_events()
                for task in ended:
                    if self._is_over(self.tasks.pop(task), _ending(ray, task)):
                        done += 1
                        self.monitor.stage(STAGE, total, "arms", done=done)
        except BaseException:
            if self.tasks:
                ray.get(self.relay.stop.remote())
                ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=STOP_S)
            raise
        if self.lost:
            deaths = self.deaths[self.lost[0].index]
            raise RunError(
                ", ".join(run.label for run in self.lost),
                f"{len(deaths)} workers died in it: {deaths[-1]}.",
                do="The other arms are finished; the same command resumes it from its checkpoint.",
            )
        return self.failed

    def _send(self, run: ArmRun) -> None:
        options = self.resources[run.index]
        if "memory" in options:  # the nodes may give less than before one died
            largest = int(_largest_node("memory", cpus=options["num_cpus"]))
            options["memory"] = min(options["memory"], largest)
        task = _ray().remote(max_retries=0)(_run_on_worker).options(**options)
        assignment = _assignment(self.plan, run, self.cluster)
        self.tasks[task.remote(assignment, self.deaths[run.index], self.relay)] = run

    def _is_over(self, run: ArmRun, ending: dict[str, Any]) -> bool:
        """Record how a task ended; False where the arm was sent out again."""
        if "refused" in ending:
            raise RunError(run.label, ending["refused"])
        death = ending.get("death")
        if death is None:
            self._forward_events()
            self.failed += [] if ending["success"] else [run]
            return True
        self.deaths[run.index].append(death)
        again = len(self.deaths[run.index]) <= RETRIES
        action = "another worker takes it" if again else "it is abandoned"
        self.monitor.message(f"{run.label}: {death}; {action}.", "warning")
        if again:
            self._send(run)
            return False
        self.lost.append(run)
        return True

    def _forward_events(self) -> None:
        """Report the workers' events: finished arms, messages, and the latest progress."""
        note = ""
        for index, kind, values in _ray().get(self.relay.take.remote()):
            event, label = EVENTS[kind](**values), self.plan.arms[index].label
            if isinstance(event, ArmFinished):
                self.monitor.notify(event)
            elif isinstance(event, Message):
                self.monitor.message(f"{label}: {event.text}", event.level)
            elif isinstance(event, StageStarted):
                note = f"{label} · {event.name}"
            elif isinstance(event, Progress) and event.note:
                note = f"{label} · {event.note}"
        self.monitor.progress(0, note)  # also without news: a requested stop takes effect here


def _start_relay(ray: Any) -> Any:
    """The relay, on the driver's own node: any other may die."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(_Relay).options(scheduling_strategy=here).remote()


def _assignment(plan: Plan, run: ArmRun, cluster: Cluster) -> Assignment:
    machine = None if run.spec else tuple(cluster.machine.items())
    text, cwd = plan.recipe.text(), os.getcwd()
    return Assignment(text, cwd, cluster.cpus, machine, run.index, run.fingerprint)


def request_resources(plan: Plan, run: ArmRun, cluster: Cluster, monitor: Monitor) -> dict[str, Any]:
    """What the arm requests from the cluster, as Ray's options of a task."""
    gpus = cluster.gpus if run.spec else 0
    request: dict[str, Any] = {"num_cpus": cluster.cpus, "num_gpus": gpus}
    if gpus or run.spec is None:
        return request  # a GPU's memory comes with it
    try:
        needed = _estimate_bytes(plan, run)
    except ModelError as error:
        monitor.message(f"{run.label}: its memory cannot be estimated, so none is requested: {error}")
        return request
    largest = int(_largest_node("memory", cpus=cluster.cpus))
    if needed > largest:  # Ray would wait for such a node for ever
        monitor.message(
            f"{run.label}: needs an estimated {needed / GIGABYTE:.2f} GB, and the largest node has "
            f"{largest / GIGABYTE:.2f} GB; it gets all of that. Set compute.memory to make the arm fit.",
            "warning",
        )
    return {**request, "memory": needed}


def _estimate_bytes(plan: Plan, run: ArmRun) -> int:
    """Estimated peak memory of the arm on a CPU, under the settings as requested.

    Raises: ModelError as `plan_memory`.
    """
    assert run.spec is not None
    recipe = plan.recipe
    compute = recipe.compute.model_copy(update={"memory": ANY_AMOUNT})
    study = replace(plan.study, recipe=recipe.model_copy(update={"compute": compute}))
    cpu = make_compute(recipe.compute.model_copy(update={"device": "cpu"}), longest_item(plan))
    memory = plan_memory(ArmContext(study, run.arm, run.spec, cpu, run.random_seed))
    return memory.estimate.total_bytes if memory.estimate else 0


def _ending(ray: Any, task: Any) -> dict[str, Any]:
    """How a task ended: as `run_assignment` returns, or {"death": how the worker died}."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError:
        raise  # a bug, with the worker's traceback
    except ray.exceptions.RayError as error:
        return {"death": f"its worker died ({type(error).__name__})"}


class _Relay:
    """Holds the workers' events until the driver takes them; tells the workers to stop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, str, dict[str, Any]]] = []
        self.stopping = False

    def put(self, index: int, events: PlainEvents) -> bool:
        """Add a worker's events. Returns whether it should stop."""
        self.waiting += [(index, kind, values) for kind, values in events]
        return self.stopping

    def take(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Remove and return the waiting events."""
        events, self.waiting = self.waiting, []
        return events

    def stop(self) -> None:
        """Every worker stops at its next event."""
        self.stopping = True


def _run_on_worker(assignment: Assignment, deaths: list[str], relay: Any) -> dict[str, Any]:
    """One arm, as Ray's task."""
    ray = _ray()
    return run_assignment(
        assignment, deaths, lambda events: ray.get(relay.put.remote(assignment.index, events))
    )
