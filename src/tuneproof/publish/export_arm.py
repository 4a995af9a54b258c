"""Export an arm: write it in another format, predict every test item with that, and compare.

In: an arm's folder, a format. Out: a folder that is written only where parity with the arm is shown.
Knows nothing of: how a format is written, the hub.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.apply.finished_arm import read_finished_arm
from tuneproof.atomic import atomic_folder, write_in_folder
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import AnyPredictions, read_predictions
from tuneproof.methods.exported_model import EXPORT, check_runtime
from tuneproof.publish.export_card import make_export_card
from tuneproof.publish.export_files import ExportOptions, write_export
from tuneproof.publish.files import Publication, prepare_publication, weights_form
from tuneproof.publish.gate import NULL_FACTOR, TOLERANCES
from tuneproof.publish.parity import EXACT, Parity, exact_sentence, margin_sentence, measure_parity
from tuneproof.record.as_good import DEFAULT_MARGIN
from tuneproof.record.costs import label_count, training_seconds
from tuneproof.record.study_folder import PREDICTIONS, WEIGHTS, slug
from tuneproof.score.compare import compare
from tuneproof.score.decision import decided

EXPORTS = "exports"  # in a study: the folders of its exports
PRECISIONS: dict[str, tuple[str, ...]] = {
    "merged": ("float32",),
    "onnx": ("float32", "int8", "int8-blocks"),
    "gguf": ("f16", "f32", "bf16", "q8_0"),
}
CARD = "README.md"


@dataclass(frozen=True)
class ExportResult:
    """The written folder, how it compares with the arm, and its size and speed beside the arm's."""

    folder: Path
    format: str
    precision: str
    parity: Parity
    size_bytes: int
    single_s: float | None
    arm_single_s: float | None

    @property
    def sentence(self) -> str:
        """What parity showed."""
        return (exact_sentence if self.precision in EXACT else margin_sentence)(self.parity)


def export_arm(arm: Path | str, options: ExportOptions, to: Path | str | None = None) -> ExportResult:
    """Write the arm in another format and predict every test item with it.

    In float32 its predictions must be the arm's; in fewer bits it must be shown to be as good within the
    margin. Otherwise nothing is written. to: the folder (default: STUDY/exports/ARM.FORMAT.PRECISION).

    Raises: RecipeError where the arm cannot be exported so; RunError where parity is not shown.
    """
    precision = _check_options(options)
    record = read_finished_arm(Path(arm))
    weights = record.folder / WEIGHTS
    merges = weights.is_dir() and weights_form(weights) in ("adapter", "head")
    publication = prepare_publication(Path(arm), merged=merges, base=None)
    if publication.load_spec.form == "baseline":
        problem = f"{publication.arm.name} is a baseline of scikit-learn."
        raise RecipeError(str(arm), problem, do="Publish it: tuneproof publish ARM OWNER/NAME --to FOLDER.")
    if options.format == "gguf" and publication.load_spec.objective != "words":
        problem = f"{publication.arm.name} predicts by a head, and llama.cpp runs models that write words."
        raise RecipeError(str(arm), problem, do="Use --format onnx, or an arm with objective: words.")
    name = f"{record.folder.name}.{options.format}.{precision}"
    target = Path(to) if to is not None else publication.study.folder / EXPORTS / slug(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(str(target), "already exists.", do="Name another folder with --to, or remove it.")
    with atomic_folder(target) as inside:
        made = write_export(publication, inside, options, precision)
        parity = _compare(publication, made.predictions, options.margin)
        _refuse_difference(publication, parity, precision)
        size = sum(file.stat().st_size for file in inside.iterdir() if file.is_file())
        result = ExportResult(
            target, options.format, precision, parity, size, made.single_s, _single_s(publication)
        )
        about = {**made.about, "origin": _origin(publication), "parity": parity.as_json()}
        text = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False)
        write_in_folder(inside / EXPORT, lambda path: path.write_text(text, "utf-8"))
        card = make_export_card(publication, result, made.code)
        write_in_folder(inside / CARD, lambda path: path.write_text(card, "utf-8"))
    return result


def _check_options(options: ExportOptions) -> str:
    """The precision. Raises: RecipeError for a format or a precision that is not known."""
    if options.format not in PRECISIONS:
        raise RecipeError("--format", f"{options.format!r} is unknown.", f"Allowed: {', '.join(PRECISIONS)}.")
    allowed = PRECISIONS[options.format]
    precision = options.precision or allowed[0]
    if precision not in allowed:
        problem = f"{precision!r} is no precision of {options.format}."
        raise RecipeError("--precision", problem, f"Allowed: {', '.join(allowed)}.")
    if options.margin is not None and not 0 < options.margin <= 100:
        raise RecipeError("--margin", f"is {options.margin:g}.", "Allowed: points, above 0 to 100.")
    if options.format != "merged":
        check_runtime(options.format)
    return precision


def _compare(publication: Publication, export: AnyPredictions, margin: float | None) -> Parity:
    """The export beside the arm on the task's first metric, in the clusters of the study."""
    arm = read_predictions(publication.record.folder / PREDICTIONS)
    export = decided(export, publication.record.about["chosen"])
    recipe = publication.recipe
    pair = compare(
        [export],
        [arm],
        recipe.task.metrics[0],
        "the export",
        "the arm",
        recipe.score,
        publication.study.is_clustered,
    )
    points = DEFAULT_MARGIN if margin is None else margin
    return measure_parity(arm, export, replace(pair, margin=points / 100 if pair.in_points else points))


def _refuse_difference(publication: Publication, parity: Parity, precision: str) -> None:
    """Raises: RunError where the export is not the arm (float32), or not shown to be as good (fewer bits)."""
    tolerance = TOLERANCES[publication.precision]
    is_span = publication.load_spec.objective == "span"
    tolerance *= NULL_FACTOR if is_span else 1
    allowed = "Nothing is written."
    has_other_answers = (
        is_span and parity.equal < parity.items
    )  # labels may swap where they are equally likely
    if precision in EXACT and (has_other_answers or not parity.difference <= tolerance):
        problem = (
            f"The export does not reproduce the arm: numbers differ by up to {parity.difference:.2g} "
            f"({tolerance:g} is allowed), and {parity.items - parity.equal:,} of {parity.items:,} test items "
            "get another prediction."
        )
        do = "Export in another format."
        if any(read_predictions(publication.record.folder / PREDICTIONS).truncated_N):
            do = "Texts that the study cut may be the reason: raise encode.max_length and run the arm again."
        raise RunError(str(publication.record.folder), problem, allowed, do)
    if precision not in EXACT and not parity.is_as_good:
        problem = f"The export is not shown to be as good as the arm: {margin_sentence(parity)}"
        do = "Allow more with --margin, or export in more bits."
        if precision == "int8":
            do = "Allow more with --margin, or try --precision int8-blocks, which rounds less."
        raise RunError(str(publication.record.folder), problem, allowed, do)


def _origin(publication: Publication) -> dict[str, Any]:
    """The arm that was exported, and what making it took."""
    about = publication.record.about
    sizes = publication.study.splits.get("sizes") or {}
    return {
        "arm": about["arm"],
        "model": about.get("model"),
        "seed": about.get("seed"),
        "fingerprint": about.get("fingerprint"),
        "training_s": training_seconds(about),
        "labels": label_count(about, sizes),
    }


def _single_s(publication: Publication) -> float | None:
    """The arm's own median seconds of one item, or those of another of its seeds, where one was timed."""
    own = publication.record.about
    for about in (own, *(record.about for record in publication.study.arms)):
        latency = (about.get("serving") or {}).get("latency_s") or {}
        if (about["arm"], about.get("model")) == (own["arm"], own.get("model")) and "p50" in latency:
            return float(latency["p50"])
    return None
