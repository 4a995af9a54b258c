"""The model card: how to load the arm, the study's evidence, and the hub's metadata.

In: a publication, its study's files, the gate's result. Out: the text of README.md.
Knows nothing of: weights, the gate's process, the hub's API.

Texts from data and models appear as inert Markdown; every number comes from the study's files alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.families.models import MODELS
from tuneproof.publish.files import Publication
from tuneproof.publish.gate import GateResult
from tuneproof.publish.hub import UNKNOWN_LICENCE
from tuneproof.publish.load_code import LoadSpec, card_code
from tuneproof.report.formatting import choose_style
from tuneproof.report.markdown import escape
from tuneproof.report.tables import headline, is_share, metric_title, overlap_note, positive_label
from tuneproof.score.decision import decision_sentence
from tuneproof.tasks import TASKS

LICENCES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "Llama 3.2 Community Licence": "llama3.2",
    "Gemma terms": "gemma",
}
PIPELINES = {"labels": "text-classification", "span": "question-answering", "words": "text-generation"}
SOURCE_KEYS = ("revision", "sha256", "licence")


@dataclass(frozen=True)
class CardOptions:
    """The repository's name, the licence as the hub writes it, the attached files."""

    repo: str
    licence: str
    attachments: tuple[str, ...] = ()


def find_licence(publication: Publication) -> str:
    """The base's licence, from the catalog or its own card on this machine; otherwise "unknown"."""
    if publication.spec is None:
        return UNKNOWN_LICENCE
    for entry in MODELS.values():
        if entry.hub_id and entry.hub_id == publication.base_name:
            return LICENCES.get(entry.licence, entry.licence.lower())
    if publication.spec.source.name == "demo":
        return LICENCES[MODELS["demo"].licence]
    return _licence_in_metadata(Path(publication.base_folder) / "README.md")


def _licence_in_metadata(card: Path) -> str:
    import yaml
    from huggingface_hub.repocard import metadata_load

    try:
        value = (metadata_load(card) or {}).get("license")
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return UNKNOWN_LICENCE
    return value if isinstance(value, str) and value.strip() else UNKNOWN_LICENCE


def make_card(publication: Publication, load_spec: LoadSpec, gate: GateResult, options: CardOptions) -> str:
    """The text of README.md.

    Raises: RecipeError if the hub's library cannot read the metadata back.
    """
    from huggingface_hub import ModelCard

    data = _metadata(publication, load_spec, options)
    text = f"---\n{data.to_yaml()}\n---\n\n{_body(publication, load_spec, gate, options)}"
    try:
        ModelCard(text, ignore_metadata_errors=False)
    except ValueError as error:
        raise RecipeError("README.md", f"its metadata is invalid: {error}.") from None
    return text


def _metadata(publication: Publication, load_spec: LoadSpec, options: CardOptions) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    task = TASKS[publication.recipe.task_name]
    source = publication.study.provenance.get("source") or {}
    pipeline = PIPELINES[load_spec.objective]
    dataset = _hub_dataset(source)
    level = publication.recipe.score.level
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=str(dataset or task.name),
            dataset_name=_dataset_name(publication),
            dataset_split="test",
            dataset_revision=source.get("revision"),
            metric_type=name,
            metric_value=score["value"],
            metric_name=metric_title(name, positive_label(publication.study)),
            metric_args={**{key: score.get(key) for key in ("low", "high", "n")}, "level": level},
        )
        for name, score in publication.record.scores.items()
        if score.get("value") is not None
    ]
    is_adapter = load_spec.form == "adapter"
    relation = "adapter" if is_adapter else "finetune"
    return ModelCardData(
        license=options.licence,
        base_model=publication.base_name or None,
        base_model_relation=relation if publication.base_name else None,
        library_name={"adapter": "peft", "baseline": "sklearn"}.get(load_spec.form, "transformers"),
        pipeline_tag=pipeline,
        datasets=[dataset] if dataset else None,
        tags=["tuneproof", publication.arm.method.name],
        metrics=[result.metric_type for result in results] or None,
        model_name=options.repo,
        eval_results=results or None,
    )


def _body(publication: Publication, load_spec: LoadSpec, gate: GateResult, options: CardOptions) -> str:
    loading, prediction = card_code(load_spec, options.repo)
    parts = [
        f"# {escape(options.repo)}",
        _summary(publication, load_spec),
        f"**{escape(headline(publication.study))}**",
        f"## Load\n\n```python\n{loading}\n```",
        f"Then:\n\n```python\n{prediction}\n```",
        "## Scores\n\n" + _scores(publication),
        *_section("Comparisons on the same test items", _comparisons(publication)),
        "## Data\n\n" + _data(publication),
        *_section("Parameters", _parameters(publication)),
        *_section("Checks before publication", _checks(gate)),
        *_section("Limitations", _limitations(publication, load_spec, options)),
        *_section("How it was made", _settings(publication)),
    ]
    if options.attachments:
        parts.append(f"The study's report is attached: {', '.join(options.attachments)}.")
    return "\n\n".join(parts) + "\n"


def _summary(publication: Publication, load_spec: LoadSpec) -> str:
    about, spec, method = publication.record.about, publication.spec, publication.arm.method
    task = TASKS[publication.recipe.task_name]
    if spec is None:
        return (
            f"A baseline without a language model for {escape(task.title)}: {escape(method.title)} "
            f"({escape(about['arm'])}), with the evidence of the study that compared it. It needs "
            "scikit-learn and skops."
        )
    form = {"model": "A whole model", "adapter": "An adapter", "head": "A linear head"}[load_spec.form]
    if load_spec.form == "head" and not load_spec.base:
        form = "A linear head, and the frozen base that it reads,"
    base = publication.base_name or f"the folder {spec.source.name}"
    revision = f", revision {spec.commit}" if spec.commit else ""
    seed = "" if about.get("seed") is None else f", seed {about['seed']}"
    return (
        f"{form} made from {escape(base)}{escape(revision)} for {escape(task.title)} by "
        f"{escape(method.title)} ({escape(about['arm'])}{seed}), with the evidence of "
        "the study that compared it."
    )


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    return [f"## {title}\n\n" + "\n".join(f"- {escape(line)}" for line in dict.fromkeys(lines))]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scores(publication: Publication) -> str:
    level = f"{100 * publication.recipe.score.level:g} % interval"
    rows = []
    for name, score in publication.record.scores.items():
        low, high, method = score.get("low"), score.get("high"), escape(str(score.get("method") or ""))
        style = choose_style(low, high, is_share(name))
        value = f"{style.value(score.get('value'))}{style.unit}"
        interval = style.interval(low, high)
        title = escape(metric_title(name, positive_label(publication.study)))
        rows.append([title, value, interval, str(score.get("n")), method])
    header = ["Metric", "Value", level, "n", "Interval by"]
    return "On the test split, which chose no setting of this arm.\n\n" + _table(header, rows)


def _comparisons(publication: Publication) -> list[str]:
    """The paired comparisons of the arm, the claim first."""
    about, study = publication.record.about, publication.study
    names = {about["arm"], f"{about['model']} {about['arm']}"}
    models = {arm.about.get("model") for arm in study.arms if arm.about.get("model")}
    if len(models) > 1:
        names = {f"{about['model']} {about['arm']}"}
    pairs = sorted(study.comparisons.get("comparisons") or [], key=lambda pair: not pair.get("claim"))
    return [
        ("The claim: " if pair.get("claim") else "")
        + str(pair.get("sentence")).removesuffix(str(pair.get("advice") or "")).rstrip()  # names a folder
        for pair in pairs
        if names & {pair.get("arm"), pair.get("over")}
    ]


def _data(publication: Publication) -> str:
    splits, source = publication.study.splits, publication.study.provenance.get("source") or {}
    fingerprints, sizes = splits.get("fingerprints") or {}, splits.get("sizes") or {}
    rows = [[name, f"{size:,}", f"`{fingerprints.get(name, '')}`"] for name, size in sizes.items()]
    details = [f"{key} {source[key]}" for key in SOURCE_KEYS if source.get(key)]
    lines = [
        f"Source: {'; '.join([_dataset_name(publication), *details])}.",
        _split(splits),
        overlap_note(publication.study),
    ]
    text = "\n".join(f"- {escape(line)}" for line in lines if line)
    return f"{text}\n\n" + _table(["Split", "Items", "Fingerprint (SHA-256)"], rows)


def _dataset_name(publication: Publication) -> str:
    """The data's name; only the last part of a local path, since the folders above it are private."""
    source = publication.study.provenance.get("source") or {}
    name = str(source.get("name") or TASKS[publication.recipe.task_name].title)
    path = getattr(publication.recipe.task_options, "path", None)
    return re.split(r"[/\\\\]", name)[-1] if path and name == str(path) else name


def _hub_dataset(source: dict[str, Any]) -> str | None:
    """The hub id of the dataset, if it comes from the hub."""
    parts = [source, *(source.get("parts") or {}).values()] if source else []
    return next((str(part["hub"]) for part in parts if isinstance(part, dict) and part.get("hub")), None)


def _split(splits: dict[str, Any]) -> str:
    grouped = ", whole groups on one side" if splits.get("grouped") else ""
    dropped = sum((splits.get("dropped") or {}).values())
    return f"Split: {splits.get('kind')}{grouped}; seed {splits.get('seed')}; {dropped:,} rows dropped."


def _parameters(publication: Publication) -> list[str]:
    ledger = publication.record.ledger
    if "total" not in ledger:
        return []
    changes = ledger.get("lines") or []
    return [
        f"{ledger.get('base', 0):,} in the base, {ledger['total']:,} in total, "
        f"{ledger.get('trainable', 0):,} trained.",
        *(f"{line.get('count'):+,} {line.get('part')}: {line.get('reason')}" for line in changes),
    ]


def _checks(gate: GateResult) -> list[str]:
    lines = [
        f"A fresh process loaded the files with the code above and predicted {gate.items} of the test "
        f"items: the predictions are the study's, with a largest difference of {gate.difference:.0e} "
        f"{gate.unit} ({gate.tolerance:g} is allowed)."
    ]
    if gate.merged is not None:
        lines.append(
            f"On the same items, the adapter and the adapter merged into its base differ by at most "
            f"{gate.merged:.0e} {gate.unit}."
        )
    return lines


def _limitations(publication: Publication, load_spec: LoadSpec, options: CardOptions) -> list[str]:
    lines = ["Measured only on the test split above; on other texts it may do worse."]
    lines += _seed_limits(publication)
    findings = publication.study.audit.get("findings") or []
    lines += [f"Audit, {finding.get('level')}: {finding.get('message')}" for finding in findings]
    lines += [line for line in [decision_sentence(load_spec.decision or {})] if line]
    lines += _truncation_limits(publication, load_spec)
    if publication.spec is None:
        lines.append("It holds words and character sequences of its train texts, unless it is majority.")
    elif not publication.base_name:
        lines.append("Its base came from a folder; the base's hub id, if it has one, is not known.")
    elif load_spec.form != "model" and publication.spec.source.local:
        lines.append(
            f"The study's base came from a folder; the publisher states that {publication.base_name} is "
            "the same, which was not checked."
        )
    if options.licence == UNKNOWN_LICENCE:
        owner = "No licence was named" if publication.spec is None else "The base's licence is not known"
        lines.append(f"{owner}: ask before you use this.")
    if load_spec.quantized:
        lines.append(
            "The base is quantised to 4 bits, which needs bitsandbytes. On some CPUs bitsandbytes computes "
            "in bf16, which changes the predictions a little; the check turned that off."
        )
    return lines


def _seed_limits(publication: Publication) -> list[str]:
    about = publication.record.about
    if about.get("seed") is None:
        return []
    seeds = {
        arm.about.get("seed")
        for arm in publication.study.arms
        if (arm.about["arm"], arm.about.get("model")) == (about["arm"], about["model"])
    }
    if len(seeds) == 1:
        return ["Only one seed was run: the variation of the scores between seeds is not measured."]
    return [f"The scores are those of seed {about['seed']} alone; comparisons use all {len(seeds)} seeds."]


def _truncation_limits(publication: Publication, load_spec: LoadSpec) -> list[str]:
    encoding = publication.record.about.get("encoding") or {}
    truncated, side = encoding.get("truncated_items"), publication.recipe.encode.truncate
    lines = []
    if truncated:
        lines.append(
            f"{truncated:,} of {encoding.get('items')} test items were truncated to {load_spec.max_length} "
            "tokens."
        )
    if load_spec.objective != "labels":
        lines.append(f"The code above does not truncate: keep inputs under {load_spec.max_length} tokens.")
    elif side != "end":
        lines.append(f"The study truncated long texts at the {side}; the code above truncates at the end.")
    return lines


def _settings(publication: Publication) -> list[str]:
    about, versions = publication.record.about, publication.study.provenance.get("versions") or {}
    lines = [f"Settings of {about['arm']}: {_join(about.get('options') or {})}"]
    if publication.load_spec.form in ("model", "adapter"):
        train = publication.recipe.train.model_dump(mode="json", exclude={"trackers"})
        lines.append(f"Training: {_join(train)}")
    chosen = {k: v for k, v in (about.get("chosen") or {}).items() if isinstance(v, (str, int, float))}
    lines.append(f"Chosen on dev: {_join(chosen)}")
    names = ("tuneproof", "torch", "transformers", "peft") if publication.spec else ("tuneproof",)
    libraries = {name: versions.get(name) for name in names}
    lines.append(f"Precision {publication.precision}; {_join(libraries)}")
    return lines


def _join(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
