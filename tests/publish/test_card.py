"""The card: metadata that the hub's library reads back, the study's evidence, nothing private."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from tuneproof.atomic import MANIFEST, check_folder, read_json
from tuneproof.cli.main import main
from tuneproof.publish.publish_arm import publish_arm
from tuneproof.record.study_folder import COMPARISONS, REPORT_HTML, SCORES, SPLITS


@pytest.fixture
def written(decoder, tmp_path, quick) -> tuple[Path, Path]:
    """An arm of the study, and its written folder."""
    arm = decoder / "arms" / "llama.lora.seed0"
    publish_arm(arm, "me/it", tmp_path / "to", base="someone/base", licence="mit")
    return arm, tmp_path / "to"


def test_the_metadata_is_read_back_by_the_hubs_own_library(written):
    arm, folder = written
    data = ModelCard.load(folder / "README.md", ignore_metadata_errors=False).data
    assert (data.license, data.base_model, data.library_name) == ("mit", "someone/base", "peft")
    assert data.pipeline_tag == "text-classification"
    assert data.model_name == "me/it"
    scores = read_json(arm / SCORES)
    results = {result.metric_type: result for result in data.eval_results}
    assert results
    assert set(results) == {name for name in scores if scores[name]["value"] is not None}
    for name, result in results.items():
        assert result.metric_value == scores[name]["value"]
        assert result.metric_args["low"] == scores[name]["low"]
        assert result.dataset_split == "test"


def test_the_evidence_is_on_the_card(written):
    arm, folder = written
    card = (folder / "README.md").read_text("utf-8")
    study = arm.parent.parent
    for part, fingerprint in read_json(study / SPLITS)["fingerprints"].items():
        assert f"| {part} |" in card
        assert fingerprint in card
    pairs = read_json(study / COMPARISONS)["comparisons"]
    ours = [
        pair["sentence"].removesuffix(pair["advice"]).rstrip()  # the advice names a folder of this machine
        for pair in pairs
        if "lora" in (pair["arm"], pair["over"])
    ]
    plain = card.replace("&lt;", "<").replace("\\", "")
    assert ours
    assert all(sentence in plain for sentence in ours)
    for title in ("Load", "Scores", "Data", "Parameters", "Limitations", "How it was made"):
        assert f"## {title}\n" in card
    assert "the adapter and the adapter merged into its base differ by at most" in card
    assert "the publisher states that someone/base is the same, which was not checked." in card


def test_no_folder_of_this_machine_is_named(written):
    arm, folder = written
    home = str(arm.parents[2])
    for file in folder.iterdir():
        assert home.encode() not in file.read_bytes(), file.name
    assert read_json(folder / "adapter_config.json")["base_model_name_or_path"] == "someone/base"


def test_a_folder_is_complete_and_holds_what_is_loaded(written):
    _, folder = written
    check_folder(folder)
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "README.md",
        MANIFEST,
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }


def test_a_missing_licence_is_unknown_and_a_limitation(decoder, tmp_path, quick):
    publish_arm(decoder / "arms" / "llama.full.seed0", "me/it", tmp_path / "to")
    card = ModelCard.load(tmp_path / "to" / "README.md")
    assert card.data.license == "unknown"
    assert "licence is not known" in card.text


def test_the_licence_on_the_bases_card_is_used(encoder, tmp_path, quick):
    base = encoder.parent / "bert" / "README.md"
    base.write_text("---\nlicense: apache-2.0\n---\n")
    try:
        publish_arm(encoder / "arms" / "bert.lp-ft.seed0", "me/it", tmp_path / "to")
    finally:
        base.unlink()
    assert ModelCard.load(tmp_path / "to" / "README.md").data.license == "apache-2.0"


def test_the_report_is_attached_on_request(decoder, tmp_path, quick, capsys):
    arm, to = str(decoder / "arms" / "llama.full.seed0"), tmp_path / "to"
    assert main(["publish", arm, "me/it", "--to", str(to), "--report"]) == 0
    assert (to / REPORT_HTML).read_bytes() == (decoder / REPORT_HTML).read_bytes()
    output = capsys.readouterr().out
    assert re.search(r"Loaded in a fresh process: \d+ test items give the same predictions", output)
    assert main(["publish", arm, "me/it", "--to", str(to)]) == 2
    assert "already exists." in capsys.readouterr().err
    assert main(["publish", arm, "me/it", "--to", str(to), "--update", "--json"]) == 0
    assert not (to / REPORT_HTML).exists()


def test_an_update_replaces_only_a_folder_that_was_published(decoder, tmp_path, quick, capsys):
    arm, to = decoder / "arms" / "llama.full.seed0", tmp_path / "to"
    publish_arm(arm, "me/it", to)
    (to / "mine.txt").write_text("kept")
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("kept")
    for folder, name in ((to, "mine.txt"), (other, "README.md")):
        before = sorted(folder.iterdir())
        assert main(["publish", str(arm), "me/it", "--to", str(folder), "--update"]) == 2
        assert f"holds {name}, which `tuneproof publish` did not write." in capsys.readouterr().err
        assert sorted(folder.iterdir()) == before
        assert (folder / name).read_text() == "kept"


def test_the_studys_own_folder_is_not_written_into(decoder, quick, capsys):
    arm = decoder / "arms" / "llama.lora.seed0"
    weights = arm / "weights"
    before = {file.name: file.read_bytes() for file in weights.iterdir()}
    assert {"README.md", MANIFEST} <= set(before)  # as what is published
    options = ["--base", "someone/base", "--to", str(weights), "--update"]
    assert main(["publish", str(arm), "me/it", *options]) == 2
    assert "lies in the study's folder." in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in weights.iterdir()} == before


def test_labels_are_text_on_the_card(decoder, tmp_path, quick):
    from dataclasses import replace

    from tuneproof.publish.card import CardOptions, make_card
    from tuneproof.publish.files import prepare_publication
    from tuneproof.publish.gate import GateResult

    publication = prepare_publication(decoder / "arms" / "llama.lora.seed0", False, "someone/base")
    load_spec = replace(publication.load_spec, labels=("'); import os #", "```\n# pwned\u202e"))
    card = make_card(publication, load_spec, GateResult(1, 0.0, 1e-3, ""), CardOptions("me/it", "mit"))
    assert "\n# pwned" not in card
    assert "\u202e" not in card
    lines = card[card.index("```python\n") + 10 :].partition("\n```")[0]
    compile(lines, "card", "exec")
    assert "import os" not in [line.strip() for line in lines.splitlines()]
