"""The model card: how to load the arm, what the study found, and the hub's metadata.

In: a published arm, its study's files, what the gate saw. Out: the text of README.md.
Knows nothing of: weights, the gate's process, how the hub is asked.

Texts from data and models stand in it as inert Markdown; what is computed is written from files alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.families.models import MODELS
from tuneproof.publish.files import Material
from tuneproof.publish.gate import Passed
from tuneproof.publish.hub import UNKNOWN
from tuneproof.publish.load_code import Published, card_lines
from tuneproof.report.markdown import cell
from tuneproof.report.rounding import style_for
from tuneproof.report.tables import headline, is_share, metric_title, overlap_note
from tuneproof.tasks import TASKS

LICENCES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "Llama 3.2 Community Licence": "llama3.2",
    "Gemma terms": "gemma",
}
PIPELINES = {"labels": "text-classification", "span": "question-answering", "words": "text-generation"}
SAID = ("revision", "sha256", "licence")  # of the data's source


@dataclass(frozen=True)
class Named:
    """What the card is told: the repository's name, the licence as the hub writes it, attachments."""

    repo: str
    licence: str
    attached: tuple[str, ...] = ()


def known_licence(material: Material) -> str:
    """The base's licence, from the shelf or its own card on this machine; else "unknown"."""
    source = material.ready.source
    for entry in MODELS.values():
        if entry.hub_id and entry.hub_id == material.base_name:
            return LICENCES.get(entry.licence, entry.licence.lower())
    if source.name == "demo":
        return LICENCES[MODELS["demo"].licence]
    return _in_front(Path(material.base_folder) / "README.md")


def _in_front(card: Any) -> str:
    """The licence that a card's metadata names."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    try:
        value = (metadata_load(card) or {}).get("license")
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return UNKNOWN
    return value if isinstance(value, str) and value.strip() else UNKNOWN


def make_card(material: Material, it: Published, passed: Passed, named: Named) -> str:
    """The whole text of README.md.

    Raises: RecipeError where the metadata is none that the hub's library reads back.
    """
    from huggingface_hub import ModelCard

    data = _metadata(material, it, named)
    text = f"---\n{data.to_yaml()}\n---\n\n{_body(material, it, passed, named)}"
    try:
        ModelCard(text, ignore_metadata_errors=False)
    except ValueError as error:
        raise RecipeError("README.md", f"its metadata cannot be read back: {error}.") from None
    return text


def _metadata(material: Material, it: Published, named: Named) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    study, task = material.study, TASKS[material.recipe.task_name]
    source = study.provenance.get("source") or {}
    pipeline = PIPELINES[it.asks]
    hub_data = _hub_data(source)
    level = material.recipe.score.level
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=str(hub_data or task.name),
            dataset_name=_data_name(material),
            dataset_split="test",
            dataset_revision=source.get("revision"),
            metric_type=name,
            metric_value=score["value"],
            metric_name=metric_title(name),
            metric_args={
                "low": score.get("low"),
                "high": score.get("high"),
                "level": level,
                "n": score.get("n"),
            },
        )
        for name, score in material.record.scores.items()
        if score.get("value") is not None
    ]
    adapter = it.holds == "adapter"
    return ModelCardData(
        license=named.licence,
        base_model=material.base_name or None,
        base_model_relation=("adapter" if adapter else "finetune") if material.base_name else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag=pipeline,
        datasets=[hub_data] if hub_data else None,
        tags=["tuneproof", material.arm.method.name],
        metrics=[result.metric_type for result in results] or None,
        model_name=named.repo,
        eval_results=results or None,
    )


def _body(material: Material, it: Published, passed: Passed, named: Named) -> str:
    about, study = material.record.about, material.study
    task = TASKS[material.recipe.task_name]
    load, ask = card_lines(it, named.repo)
    base = material.base_name or f"the folder {material.ready.source.name}"
    pinned = f", revision {material.ready.commit}" if material.ready.commit else ""
    what = {"model": "A whole model", "adapter": "An adapter", "head": "A linear head"}[it.holds]
    if it.holds == "head" and not it.base:
        what = "A linear head, and the frozen base that it reads,"
    parts = [
        f"# {cell(named.repo)}",
        f"{what} made from {cell(base)}{cell(pinned)} for {cell(task.title)} by "
        f"{cell(material.arm.method.title)} ({cell(about['arm'])}{_seed(about)}), with the evidence of "
        "the study that compared it.",
        f"**{cell(headline(study))}**",
        f"## Load\n\n```python\n{load}\n```",
        f"Then:\n\n```python\n{ask}\n```",
        "## Scores\n\n" + _scores(material),
        *_section("Comparisons on the same test items", _comparisons(material)),
        "## Data\n\n" + _data(material),
        *_section("Parameters", _parameters(material)),
        *_section("What was checked before this was published", _checked(passed)),
        *_section("Limitations", _limitations(material, it, named)),
        *_section("How it was made", _made(material)),
    ]
    if named.attached:
        parts.append(f"The study's report is attached: {', '.join(named.attached)}.")
    return "\n\n".join(parts) + "\n"


def _seed(about: dict[str, Any]) -> str:
    return "" if about.get("seed") is None else f", seed {about['seed']}"


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    return [f"## {title}\n\n" + "\n".join(f"- {cell(line)}" for line in dict.fromkeys(lines))]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scores(material: Material) -> str:
    level = f"{100 * material.recipe.score.level:g} % interval"
    rows = []
    for name, score in material.record.scores.items():
        style = style_for(score.get("low"), score.get("high"), is_share(name))
        rows.append(
            [
                cell(metric_title(name)),
                f"{style.value(score.get('value'))}{style.unit}",
                style.interval(score.get("low"), score.get("high")),
                str(score.get("n")),
                cell(str(score.get("method") or "")),
            ]
        )
    said = "On the test split, which chose nothing."
    return f"{said}\n\n" + _table(["Metric", "Value", level, "n", "Interval by"], rows)


def _comparisons(material: Material) -> list[str]:
    """The paired comparisons that the arm took part in, the claim first."""
    about = material.record.about
    names = {about["arm"], f"{about['model']} {about['arm']}"}
    models = {arm.about.get("model") for arm in material.study.arms if arm.about.get("model")}
    if len(models) > 1:
        names = {f"{about['model']} {about['arm']}"}
    pairs = material.study.comparisons.get("comparisons") or []
    pairs = sorted(pairs, key=lambda pair: not pair.get("claim"))
    return [
        ("The claim: " if pair.get("claim") else "") + str(pair.get("sentence"))
        for pair in pairs
        if names & {pair.get("arm"), pair.get("over")}
    ]


def _data(material: Material) -> str:
    splits, provenance = material.study.splits, material.study.provenance
    prints, sizes = splits.get("fingerprints") or {}, splits.get("sizes") or {}
    rows = [[name, f"{size:,}", f"`{prints.get(name, '')}`"] for name, size in sizes.items()]
    source = provenance.get("source") or {}
    told = [_data_name(material), *(f"{key} {source[key]}" for key in SAID if source.get(key))]
    lines = [f"Source: {'; '.join(told)}.", _split(splits), overlap_note(material.study)]
    said = "\n".join(f"- {cell(line)}" for line in lines if line)
    return f"{said}\n\n" + _table(["Split", "Items", "Fingerprint (SHA-256)"], rows)


def _data_name(material: Material) -> str:
    """The data's name; of an own file its last part, for the folders above it are nobody's business."""
    source = material.study.provenance.get("source") or {}
    name = str(source.get("name") or TASKS[material.recipe.task_name].title)
    path = getattr(material.recipe.task_options, "path", None)
    return re.split(r"[/\\\\]", name)[-1] if path and name == str(path) else name


def _hub_data(source: dict[str, Any]) -> str | None:
    """The hub id of the data set, where it came from there."""
    parts = [source, *(source.get("parts") or {}).values()] if source else []
    found = [part["hub"] for part in parts if isinstance(part, dict) and part.get("hub")]
    return str(found[0]) if found else None


def _split(splits: dict[str, Any]) -> str:
    kind = f"Split: {splits.get('kind')}"
    grouped = ", whole groups on one side" if splits.get("grouped") else ""
    dropped = sum((splits.get("dropped") or {}).values())
    return f"{kind}{grouped}; seed {splits.get('seed')}; {dropped:,} rows left out."


def _parameters(material: Material) -> list[str]:
    ledger = material.record.ledger
    if "total" not in ledger:
        return []
    lines = [
        f"{ledger.get('base', 0):,} in the base, {ledger['total']:,} with what was added, "
        f"{ledger.get('trainable', 0):,} trained."
    ]
    return lines + [
        f"{line.get('count'):+,} {line.get('what')}: {line.get('why')}" for line in ledger.get("lines") or []
    ]


def _checked(passed: Passed) -> list[str]:
    lines = [
        f"The files were loaded in a fresh process by the lines above and asked {passed.items} of the test "
        f"items: the predictions are the study's, with a largest difference of {passed.difference:.0e} "
        f"{passed.unit} ({passed.tolerance:g} is allowed)."
    ]
    if passed.merged is not None:
        lines.append(
            f"Adapter and adapter merged into its base differ by {passed.merged:.0e} {passed.unit} at most "
            "on the same items."
        )
    return lines


def _limitations(material: Material, it: Published, named: Named) -> list[str]:
    record, study = material.record, material.study
    encoding = record.about.get("encoding") or {}
    lines = ["Measured on the test split above and nowhere else; on other texts it may do worse."]
    ours = (record.about["arm"], record.about["model"])
    seeds = {
        arm.about.get("seed") for arm in study.arms if (arm.about["arm"], arm.about.get("model")) == ours
    }
    if record.about.get("seed") is not None:
        lines.append(
            "One seed was run: how far another would move the scores is not measured."
            if len(seeds) == 1
            else f"The scores are those of seed {record.about['seed']} alone; comparisons take all "
            f"{len(seeds)} seeds together."
        )
    lines += [f"Audit, {one.get('level')}: {one.get('message')}" for one in study.audit.get("findings") or []]
    cut = encoding.get("truncated_items")
    if cut:
        lines.append(f"{cut:,} of {encoding.get('items')} test items were cut to {it.max_length} tokens.")
    if it.asks != "labels":
        lines.append(f"The lines above cut nothing: keep inputs under {it.max_length} tokens.")
    elif material.recipe.encode.truncate != "end":
        lines.append(
            f"The study cut long texts at the {material.recipe.encode.truncate}; the lines above "
            "cut their end."
        )
    if not material.base_name:
        lines.append("Its base came from a folder; which model of the hub that is, if any, was not said.")
    elif it.holds != "model" and material.ready.source.local:
        lines.append(
            f"The study's base came from a folder; that {material.base_name} is the same was said "
            "by who published this, and not checked."
        )
    if named.licence == UNKNOWN:
        lines.append("The base's licence is not known: ask before you use this.")
    if it.packed:
        lines.append(
            "The base is held in 4 bits, which needs bitsandbytes. On some CPUs that computes in bf16, "
            "which was turned off for the check, and moves the predictions a little."
        )
    return lines


def _made(material: Material) -> list[str]:
    about, versions = material.record.about, material.study.provenance.get("versions") or {}
    options = {k: v for k, v in (about.get("options") or {}).items() if v is not None}
    train = material.recipe.train.model_dump(mode="json", exclude={"trackers"})
    lines = [f"Settings of {about['arm']}: {_settings(options)}"]
    if material.it.holds != "head":
        lines.append(f"Training: {_settings({k: v for k, v in train.items() if v is not None})}")
    chosen = {k: v for k, v in (about.get("chosen") or {}).items() if isinstance(v, (str, int, float))}
    lines.append(f"Chosen on dev: {_settings(chosen)}")
    lines.append(
        f"Precision {material.precision}; "
        + ", ".join(
            f"{name} {versions[name]}"
            for name in ("tuneproof", "torch", "transformers", "peft")
            if name in versions
        )
    )
    return lines


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
