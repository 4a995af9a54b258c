"""The files of an export, and what they predict for the study's test items.

In: a publication, a format. Out: files in a folder, predictions by them alone.
Knows nothing of: whether the predictions are good enough, the card.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.apply.finished_arm import read_examples
from tuneproof.atomic import remove_folder
from tuneproof.errors import RecipeError
from tuneproof.inference.prediction import AnyPredictions, read_predictions
from tuneproof.methods.export_code import card_code
from tuneproof.methods.exported import BATCH_SIZE, NO_THRESHOLD, run_exported
from tuneproof.methods.exported_model import ExportedModel
from tuneproof.publish.files import Publication, write_weights
from tuneproof.publish.gate import Sample, predict_in_fresh_process
from tuneproof.publish.gguf_file import find_converter, write_gguf
from tuneproof.publish.load_code import LoadSpec
from tuneproof.publish.load_code import card_code as torch_code
from tuneproof.publish.parity import with_outputs
from tuneproof.record.study_folder import PREDICTIONS
from tuneproof.tasks.task import Example

PLAIN = "plain"  # a whole model that transformers loads, from which the other formats are made
TIMED_S = 5.0
# what ONNX needs besides its weights; llama.cpp's file holds all
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ExportOptions:
    """What to write. precision: of the format's list; None: its first. margin: in points (None: 1).

    llama_cpp: a checkout of llama.cpp, for GGUF.
    """

    format: str
    precision: str | None = None
    margin: float | None = None
    llama_cpp: str | None = None


@dataclass(frozen=True)
class ExportFiles:
    """What was written: predictions of the test items by it, what export.json says, the code that predicts.

    single_s: the median seconds of one item; None where it was not timed.
    """

    predictions: AnyPredictions
    about: dict[str, Any]
    code: str
    single_s: float | None = None


def write_export(
    publication: Publication, folder: Path, options: ExportOptions, precision: str
) -> ExportFiles:
    """Write the files of a format and predict the test items with them.

    Raises: RecipeError where the model cannot be written so; RunError where the files do not predict.
    """
    expected = read_predictions(publication.record.folder / PREDICTIONS)
    by_id = {example.id: example for example in read_examples(publication.record, "test")}
    missing = [id for id in expected.ids if id not in by_id]
    if missing:
        problem = "keeps no texts of its items, so the predictions cannot be compared."
        do = "Put items.parquet back, or run the study again."
        raise RecipeError(str(publication.study.folder), problem, do=do)
    examples = [by_id[id] for id in expected.ids]
    if options.format == "merged":
        return _write_merged(publication, folder, expected, examples)
    plain = folder / PLAIN
    plain.mkdir(mode=0o700)
    model = _convert(publication, plain, folder, options, precision)
    remove_folder(plain)
    at_any_threshold = model.model_copy(update={"threshold": NO_THRESHOLD})
    outputs = run_exported(at_any_threshold, folder, examples, TIMED_S, publication.recipe.compute.threads)
    single_s = sorted(outputs["single_s"])
    return ExportFiles(
        with_outputs(expected, outputs["predictions"]),
        {"model": model.model_dump(mode="json")},
        card_code(model),
        single_s[len(single_s) // 2] if single_s else None,
    )


def _write_merged(
    publication: Publication, folder: Path, expected: AnyPredictions, examples: list[Example]
) -> ExportFiles:
    spec = write_weights(publication, folder)
    if spec.objective == "span":
        questions = [example.required_question for example in examples]
        inputs: list[Any] = [[item.question, item.context] for item in questions]
    else:
        texts = [example.text for example in examples]
        inputs = [texts[first : first + BATCH_SIZE] for first in range(0, len(texts), BATCH_SIZE)]
    undecided = replace(spec, decision=None)
    outputs = predict_in_fresh_process(undecided, str(folder), Sample(inputs, expected))
    return ExportFiles(with_outputs(expected, outputs), {}, "\n".join(torch_code(spec, ".")))


def _convert(
    publication: Publication, plain: Path, folder: Path, options: ExportOptions, precision: str
) -> ExportedModel:
    """Write the model's file and its tokenizer. Returns the settings of the exported model."""
    if options.format == "gguf":
        converter = find_converter(options.llama_cpp)
        spec = write_weights(publication, plain)
        write_gguf(plain, folder, precision, converter)
        return _exported_model(publication, spec, "gguf", precision, ())
    from tuneproof.publish.onnx_file import check_exporter, write_onnx

    check_exporter()
    spec = write_weights(publication, plain)
    for name in TOKENIZER:
        if (plain / name).is_file():
            (plain / name).replace(folder / name)
    if not (folder / TOKENIZER[0]).is_file():
        problem = "has no tokenizer.json, which ONNX is used with."
        raise RecipeError(publication.spec.name, problem, do="Use --format merged.")
    inputs = write_onnx(spec, plain, folder, precision)
    return _exported_model(publication, spec, "onnx", precision, inputs)


def _exported_model(
    publication: Publication, spec: LoadSpec, format: Any, precision: str, inputs: tuple[str, ...]
) -> ExportedModel:
    return ExportedModel(
        format=format,
        precision=precision,
        objective=spec.objective,
        labels=spec.labels,
        max_length=spec.max_length,
        pad_id=publication.spec.pad.id,
        truncation_side=publication.spec.tokenizer.truncation_side,
        before=spec.before,
        after=spec.after,
        words=spec.words,
        markup=spec.markup,
        inputs=inputs,
        answer_tokens=spec.answer_tokens,
        threshold=spec.threshold,
    )
