"""One arm from start to finish: its context, its run, its files; failures are recorded.

In: a plan, a monitor, an arm. Out: the arm's folder. Knows nothing of: other arms, the report.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from traceback import extract_tb
from typing import Any

from tuneproof.arms.baseline import run_baseline
from tuneproof.arms.decide import decide_on_dev
from tuneproof.arms.memory_plan import MemoryPlan, plan_memory
from tuneproof.arms.save import write_arm
from tuneproof.arms.serving_speed import Timing, time_serving
from tuneproof.arms.system import run_system
from tuneproof.atomic import write_json
from tuneproof.context.arm_context import ArmContext, LoadedModel
from tuneproof.context.compute import Compute, make_compute
from tuneproof.context.few_shot import shots_of
from tuneproof.context.monitor import ArmFinished, ArmStarted, Monitor
from tuneproof.context.study_data import ArmResult, StudyData
from tuneproof.data.class_weights import weighted_counts
from tuneproof.errors import RunError, StoppedError, TuneproofError
from tuneproof.memory.usage import peak_bytes, reset_peak, resident_bytes
from tuneproof.metrics import METRICS, evaluate
from tuneproof.process_group import ProcessGroup, current_group
from tuneproof.record.changes import ChangeLog, write_facts
from tuneproof.record.diagnose import diagnose_run, is_under_trained
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import ARM, CHECKPOINTS, RESUME_LOGS, SEARCH, STEPS, read_steps
from tuneproof.redact import redact
from tuneproof.score.verdict import join_names
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.further_tests import missing_tests, predict_later, predict_tests, write_tests
from tuneproof.study.plan import Plan
from tuneproof.study.resume import as_started, is_finished

ONE_PROCESS = "Finished arms are not scored on {} under a launcher: run the study in one process."
TIMED_ITEMS = 256
KEPT_CHECKPOINT = "The final checkpoint ({}) is kept: --extend goes on from it."


@dataclass
class ArmSession:
    """What the arms of a running study share in this process."""

    plan: Plan
    monitor: Monitor
    loaded: LoadedModel = field(default_factory=LoadedModel)

    @cached_property
    def compute(self) -> Compute:
        """Device and precision, chosen before the first arm with a model."""
        compute = make_compute(self.plan.recipe.compute, longest_item(self.plan), self.plan.models)
        self.monitor.message(compute.sentence, "detail")
        return compute

    def context(self, run: ArmRun, monitor: Monitor) -> ArmContext:
        """The context of an arm with a model."""
        from tuneproof.models.resume_log import ResumeLogs
        from tuneproof.train.resume import CheckpointManager

        assert run.spec is not None
        minutes = self.plan.recipe.train.checkpoint_minutes
        return ArmContext(
            study=sampled_study(self.plan, run),
            arm=run.arm,
            spec=run.spec,
            compute=self.compute,
            seed=run.random_seed,
            search=run.search,
            monitor=monitor,
            loaded=self.loaded,
            steps_file=run.folder / STEPS,
            checkpoints=CheckpointManager(
                run.folder / CHECKPOINTS,
                run.fingerprint,
                ChangeLog(self.plan.folder).resumable(run.folder, run.fingerprint),
                every_s=None if minutes is None else 60 * minutes,
            ),
            resume_logs=ResumeLogs(run.folder / RESUME_LOGS, run.fingerprint),
        )

    def release_models(self, next_run: ArmRun | None = None) -> None:
        """Free the shared model, unless the next arm prompts it."""
        prompts = next_run is not None and next_run.arm.method.kind == "prompt"
        if not prompts or next_run is None or self.loaded.spec is not next_run.spec:
            self.loaded.release()


def run_arm(session: ArmSession, run: ArmRun, notes: Sequence[str] = ()) -> bool:
    """Run one arm and write its files. Returns False where it failed: that is recorded, not raised.

    notes: added to the arm's record.
    """
    plan, group = session.plan, current_group()
    monitor = replace(session.monitor, notes=list(notes))
    monitor.notify(ArmStarted(run.index + 1, len(plan.arms), run.label))
    started = time.perf_counter()
    if run.impossible:
        write_json(run.folder / ARM, {**_about(plan, run), "status": "impossible", "reason": run.impossible})
        monitor.notify(ArmFinished(run.label, "impossible", run.impossible, 0.0))
        return True
    session.release_models(run)
    status = "done"
    try:
        context, memory = _prepare(session, run, monitor)
        device = context.compute.device.type if context is not None else "cpu"
        reset_peak(device)
        resident = resident_bytes()
        with (context and context.resume_logs) or nullcontext():
            if context is None:
                result = run_without_model(memory.study, run, monitor)
            else:
                result = runner_of(run)(context)
            result = decide_on_dev(result, plan.recipe)
            seconds, peaks = time.perf_counter() - started, peak_bytes(device)
            write_tests(run, memory.study, predict_tests(run, result, memory.study, monitor))
        ledger = {"memory": memory.record(peaks, resident), **result.training_speed()}
        measured = {"wall_s": seconds, "peaks": peaks, **_time_arm(plan, run, result, seconds)}
        _write(plan, run, result, ledger, {**measured, "notes": monitor.notes})
        line = _primary_score(plan, result)
    except StoppedError:
        group.stop()
        raise
    except Exception as error:  # recorded as it is; the other arms do not pay for it
        session.release_models()
        if group.world_size > 1 and (group.broken or not isinstance(error, TuneproofError)):
            group.broken = True  # the other processes' state is unknown: resume from the checkpoint
            raise _group_error(group, error) from error
        status, line, seconds = "failed", failure_reason(error), time.perf_counter() - started
        write_json(run.folder / ARM, {**_about(plan, run), "status": status, "reason": line})
    if run.spec is not None:
        group.dismiss()
    monitor.notify(ArmFinished(run.label, status, line, seconds))
    return status == "done"


def add_tests(session: ArmSession, run: ArmRun) -> None:
    """Predict the further test sets that a finished arm has not seen; why not, where it cannot.

    Raises: RunError where the predictions cannot be written.
    """
    study, monitor = session.plan.study, session.monitor
    missing = missing_tests(run, study)
    if not missing:
        return
    names = join_names([further.name for further in missing])
    if current_group().world_size > 1:
        monitor.message(ONE_PROCESS.format(names), "warning")
        return
    session.release_models()
    context = session.context(run, monitor) if run.spec is not None else None
    try:
        predictions = predict_later(run, study, context, missing)
    except StoppedError:
        raise
    except TuneproofError as error:
        monitor.message(f"{run.label} is not scored on {names}: {error}", "warning")
    else:
        write_tests(run, study, predictions)
        monitor.message(f"{run.label} is scored on {names}; nothing was trained again.")


def run_without_model(study: StudyData, run: ArmRun, monitor: Monitor) -> ArmResult:
    """Run a baseline, or read the replies of a system made elsewhere."""
    if run.arm.method.kind == "system":
        shots = shots_of(study, run.arm, run.random_seed)
        return run_system(study, run.arm, monitor, shots, run.folder)
    return run_baseline(study, run.arm, monitor)


def runner_of(run: ArmRun) -> Callable[[ArmContext], ArmResult]:
    """The function that runs an arm with a model, by the kind of its method."""
    if run.arm.method.kind == "prompt":
        from tuneproof.arms.prompted import run_prompted

        return run_prompted
    if run.arm.method.kind == "finished":
        from tuneproof.arms.finished_model import run_finished_model

        return run_finished_model
    from tuneproof.arms.tuned import run_tuned

    return run_tuned


def sampled_study(plan: Plan, run: ArmRun) -> StudyData:
    """The study data, with the sample of train where the arm learns from one."""
    return plan.study if run.train_size is None else plan.study.sampled(run.train_size, run.random_seed)


def longest_item(plan: Plan) -> int:
    """Tokens of the longest item of train and dev over all models; of questions the most that are read.

    It decides about attention, and with it about the bits of what is trained, in which test has no part.
    """
    if plan.study.kind == "questions":
        return max(spec.max_length for spec in plan.models)
    return max(
        int(spec.encode(part, plan.study.splits.part(part), plan.recipe.encode).tokens_N.max())
        for spec in plan.models
        for part in ("train", "dev")
    )


def remove_checkpoints(run: ArmRun) -> None:
    """Remove a finished arm's resume logs and checkpoints, except for one that its record keeps."""
    if (run.folder / RESUME_LOGS).is_dir():
        from tuneproof.models.resume_log import remove_resume_logs

        remove_resume_logs(run.folder / RESUME_LOGS)
    if (run.folder / CHECKPOINTS).is_dir():
        from tuneproof.train.resume import CheckpointManager

        is_kept = (run.folder / ARM).is_file() and "checkpoint" in read_object(run.folder / ARM)
        if not is_kept:
            (run.folder / CHECKPOINTS / SEARCH).unlink(missing_ok=True)
        CheckpointManager(run.folder / CHECKPOINTS, run.fingerprint).clear(keep_newest=is_kept)


def failure_reason(error: Exception) -> str:
    """An error as the record states it; of an unforeseen one its type and place, without secrets."""
    if isinstance(error, TuneproofError):
        return str(error)
    frame = extract_tb(error.__traceback__)[-1]
    message = redact(f"{type(error).__name__}: {error}")
    return f"{message} ({Path(frame.filename).name}, line {frame.lineno})"


def _prepare(session: ArmSession, run: ArmRun, monitor: Monitor) -> tuple[ArmContext | None, MemoryPlan]:
    """The arm's context (None: no model) under the settings that fit the memory; writes its facts."""
    if run.spec is None:
        write_facts(run.folder, run.facts, None)
        return None, MemoryPlan(sampled_study(session.plan, run))
    context = session.context(run, monitor)
    if context.compute.precision_note:
        monitor.message(context.compute.precision_note, recorded=True)
    if context.compute.rerun_note and run.arm.method.kind == "tuned":
        monitor.message(context.compute.rerun_note, recorded=True)
    if session.plan.recipe.compute.memory is not None:
        monitor.stage("memory")
    memory = plan_memory(context)
    if memory.sentence:
        monitor.message(f"{run.label}: {memory.sentence}")
    memory = as_started(run, memory)
    write_facts(run.folder, run.facts, memory.chosen)
    current_group().broadcast({"index": run.index, "fingerprint": run.fingerprint, "settings": memory.chosen})
    return replace(context, study=memory.study), memory


def _time_arm(plan: Plan, run: ArmRun, result: ArmResult, arm_s: float) -> dict[str, Any]:
    """The entry `serving` of arm.json, timed on items spread over dev; empty where the arm is not timed."""
    settings, dev = plan.recipe.predict, plan.study.splits.dev
    if result.serving is not None:
        return {"serving": result.serving}
    is_alone = current_group().world_size == 1
    limit_s = settings.timing_limit_s(arm_s)
    if result.serve is None or run.train_size is not None or not is_alone or not limit_s:
        return {}
    if run.search is None and _is_timed(plan, run):
        return {}
    largest = TIMED_ITEMS if run.spec is None else min(settings.batch_size, TIMED_ITEMS)
    examples = dev[:: max(1, len(dev) // TIMED_ITEMS)][:TIMED_ITEMS]
    return {"serving": time_serving(result.serve, examples, Timing(limit_s, largest, result.items_per_s))}


def _is_timed(plan: Plan, run: ArmRun) -> bool:
    """Whether another seed of the arm is: it predicts with the same operations."""
    seeds = [other for other in plan.arms if other.arm == run.arm and other.spec is run.spec]
    finished = [
        other for other in seeds if other is not run and other.train_size is None and is_finished(other)
    ]
    return any((read_object(other.folder / ARM).get("serving") or {}).get("item_s") for other in finished)


def _write(
    plan: Plan, run: ArmRun, result: ArmResult, ledger: Mapping[str, Any], measured: Mapping[str, Any]
) -> None:
    """Write the arm's files; of an arm on a sample no weights, as there are many of them."""
    peaks, checkpoint = measured["peaks"], _final_checkpoint(plan, run, result)
    size = f"{checkpoint['checkpoint']['bytes'] / 1e6:,.1f} MB" if checkpoint else ""
    result = replace(
        result,
        ledger={**result.ledger, **{name: entry for name, entry in ledger.items() if entry}},
        notes=[*result.notes, *measured["notes"], *([KEPT_CHECKPOINT.format(size)] if checkpoint else [])],
        save=result.save if run.train_size is None else None,
    )
    about = _about(plan, run)
    if result.search is not None:
        options = run.arm.options.model_dump(mode="json")
        options |= {name: value for name, value in result.search["chosen"].items() if name in options}
        about |= {"options": options, "search": result.search}
    about |= {
        "status": "done",
        "time_s": result.time_s,
        "wall_s": measured["wall_s"],
        "peak_memory_bytes": peaks.get("device", peaks["process"]),
        "peaks": peaks,
        "serving": measured.get("serving"),
        **checkpoint,
    }
    write_arm(run.folder, result, about, plan.recipe, plan.study.splits.clustered)
    remove_checkpoints(run)


def _final_checkpoint(plan: Plan, run: ArmRun, result: ArmResult) -> dict[str, Any]:
    """The entry on the checkpoint that an under-trained arm keeps; empty where it keeps none.

    It is the same after a stop: one that only the stop wrote is not kept, and files that hold times do not
    count among its bytes.
    """
    folder = run.folder / CHECKPOINTS / f"step-{result.chosen.get('steps_done')}"
    is_wanted = run.train_size is None and plan.recipe.train.checkpoint_minutes is not None
    if not is_wanted or not folder.is_dir():
        return {}
    steps = read_steps(run.folder / STEPS)
    counts = plan.study.splits.report["labels"]["train"] if plan.study.kind == "labels" else {}
    counts = weighted_counts(plan.recipe.train.class_weights, counts)
    options, evaluations = run.arm.options.model_dump(), result.chosen["evaluations"]
    if not is_under_trained(diagnose_run(steps, evaluations, options, counts, result.dev)):
        return {}
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {"checkpoint": {"step": result.chosen["steps_done"], "bytes": size}}


def _about(plan: Plan, run: ArmRun) -> dict[str, Any]:
    """What arm.json says of every arm, whatever became of it."""
    spec = run.spec
    return {
        "arm": run.arm.name,
        "method": run.arm.method_name,
        "kind": run.arm.method.kind,
        "model": spec.name if spec else None,
        "source": spec.origin if spec else None,
        "model_files": spec.files if spec else None,
        "commit": spec.commit if spec else None,
        "model_bytes": spec.weight_bytes if spec else None,
        "seed": run.seed,
        "train_size": run.train_size,
        "order": run.index,
        "options": run.arm.options.model_dump(mode="json"),
        "fingerprint": run.fingerprint,
        "labels": list(plan.study.labels),
    }


def _primary_score(plan: Plan, result: ArmResult) -> str:
    """The task's first metric of the arm, for the line that ends it."""
    metric = METRICS[plan.recipe.task.metrics[0]]
    return f"{metric.title.lower()} {evaluate(metric, result.test.items):.3f}"


def _group_error(group: ProcessGroup, error: Exception) -> RunError:
    return RunError(
        f"process {group.rank} of {group.world_size}",
        f"cannot continue with the others: {failure_reason(error)}",
        do="The same command resumes from the last checkpoint.",
    )
