"""The page, the JSON and the Markdown of a study made by hand."""

import json
import re
import shutil
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.made_study import HOSTILE, write_study
from tuneproof.errors import RunError
from tuneproof.record.study_folder import FORMAT, KEYS_OF_FORMAT_1, read_study
from tuneproof.report.page import ReportPaths, inline_json, render
from tuneproof.report.tables import main_metric


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def reports(study: Path) -> ReportPaths:
    return render(study)


@pytest.fixture(scope="module")
def html(reports: ReportPaths) -> str:
    return reports.html.read_text("utf-8")


class _Loads(HTMLParser):
    """Every address that an element names, and every element's name."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.elements: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        names = ("src", "href", "action", "srcset", "data", "poster")
        self.addresses += [value or "" for name, value in attrs if name in names]


def test_the_page_asks_for_nothing_outside_itself(html: str) -> None:
    loads = _Loads(html)
    assert [one for one in loads.addresses if not one.startswith(("#", "data:"))] == []
    assert not loads.elements & {"img", "iframe", "object", "embed", "form", "base", "audio", "b"}
    assert "default-src 'none'" in html
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_text_from_the_data_never_becomes_markup(html: str) -> None:
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "onerror=alert(1)>" not in html
    assert "{{ 7 * 7 }}" in html
    assert len(re.findall("<script", html)) == 2
    assert len(re.findall("</script>", html)) == 2
    assert "# &lt;/script&gt;&lt;b&gt;" in html


def test_hidden_characters_are_shown_by_name(html: str) -> None:
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "\u2028" not in html
    assert "⟨U+202E⟩" in html
    assert "␛[31mred" in html


def test_inline_json_cannot_end_its_element_and_reads_back() -> None:
    value = ["</script><!--", "a\u2028b", "]]>", "&amp;"]
    text = inline_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_a_second_rendering_from_moved_files_is_the_same_to_the_byte(
    study: Path, reports: ReportPaths, tmp_path: Path
) -> None:
    moved = shutil.copytree(study, tmp_path / "moved")
    for name in ("report.html", "report.json", "report.md"):
        (moved / name).unlink()
    again = render(moved)
    for first, second in zip(asdict(reports).values(), asdict(again).values(), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_the_page_has_every_section_in_order(html: str) -> None:
    wanted = [
        *("verdict", "before-after", "scores", "differences", "arms", "cost", "curves"),
        *("label-efficiency", "changes", "errors", "calibration", "confusion", "parameters", "data"),
        *("prompts", "settings", "provenance"),
    ]
    found = re.findall(r'<(?:section|header) id="([a-z-]+)"', html)
    assert found == [*wanted, "reproduce", "load"]


def test_every_picture_and_table_says_what_it_is(html: str) -> None:
    for picture in re.findall(r"<svg[^>]*>", html):
        assert 'aria-hidden="true"' in picture or ('role="img"' in picture and "aria-label" in picture)
    assert html.count("<table") == html.count("<caption") > 10
    assert "<th>" not in html


def test_an_arm_that_cannot_run_is_listed_with_its_reason(html: str, reports: ReportPaths) -> None:
    reason = "positions hold 8 tokens and 4 shots need"
    assert reason in html
    assert reason in reports.markdown.read_text("utf-8")
    arms = json.loads(reports.json.read_text("utf-8"))["arms"]
    (few,) = [arm for arm in arms if arm["arm"] == "few-shot"]
    assert few["status"] == "impossible"
    assert reason in few["reason"]
    assert few["parameters"] == {"total": None, "trainable": None}


def test_the_json_keeps_the_documented_keys(reports: ReportPaths) -> None:
    found = json.loads(reports.json.read_text("utf-8"))
    assert set(found) == {
        *("format", "task", "metric", "verdict", "split", "arms", "pooled", "comparisons", "audit"),
        *("without_lookalikes", "by_train_size", "positive_label", "before_after", "diagnoses", "forecast"),
        *("tests", "costs", "recommendation"),
    }
    page = (Path(__file__).parents[2] / "docs" / "report-json.md").read_text("utf-8")
    assert all(f"`{key}`" in page for key in (*found, *found["arms"][0], *found["comparisons"][0]))
    full = [arm for arm in found["arms"] if arm["arm"] == "full"]
    assert [arm["seed"] for arm in full] == [0, 1]
    assert set(full[0]["scores"]["accuracy"]) == {"value", "low", "high", "n"}
    assert full[0]["parameters"] == {"total": 22_713_986, "trainable": 22_713_986}
    assert full[0]["time_s"] == pytest.approx(520.0)
    (majority,) = [arm for arm in found["arms"] if arm["arm"] == "majority"]
    assert majority["parameters"] == {"total": 0, "trainable": 0}
    assert found["comparisons"][0]["claim"] is True


def test_the_markdown_table_has_as_many_cells_in_every_row(reports: ReportPaths) -> None:
    text = reports.markdown.read_text("utf-8")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for lines in tables:
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {lines[0].count("|")}
    assert "need <512>" in text
    assert not re.search("<[A-Za-z/!?]", text)


def test_the_overlap_of_a_leaky_split_stands_beside_every_number(tmp_path: Path) -> None:
    found = render(write_study(tmp_path, leak_safe=False))
    html = found.html.read_text("utf-8")
    header = html[html.index('<header id="verdict"') : html.index("</header>")]
    assert "98.9 % of the test items overlap" in header
    strips = html[html.index('<section id="scores"') : html.index('<section id="differences"')]
    assert strips.count("98.9 % overlap<") == 6
    table = html[html.index('<section id="arms"') : html.index('<section id="cost"')]
    assert table.count("(overlap 98.9 %)") >= 6
    assert "98.9 %" in json.loads(found.json.read_text("utf-8"))["verdict"]["headline"]
    rows = [line for line in found.markdown.read_text("utf-8").splitlines() if "overlap 98.9" in line]
    assert len(rows) >= 6


def test_a_safe_split_carries_no_warning(html: str) -> None:
    assert "Leaky split" not in html
    assert "% overlap" not in html


def test_weighted_recall_says_that_it_is_accuracy(html: str) -> None:
    assert re.search(r"Weighted recall: equals accuracy", html)


def test_a_study_without_items_predictions_or_comparisons_still_has_a_page(
    study: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(study, tmp_path / "bare")
    for path in [*bare.rglob("*.parquet"), *bare.rglob("steps.jsonl"), *bare.rglob("ledger.json")]:
        path.unlink()
    for name in ("comparisons.json", "audit.json", "splits.json", "provenance.json"):
        (bare / name).unlink()
    html = render(bare).html.read_text("utf-8")
    assert "No verdict: " in html
    assert '<section id="changes"' not in html


def test_a_study_whose_arms_all_failed_says_so(study: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone"
    shutil.copytree(study, lone, ignore=shutil.ignore_patterns("report.*", "comparisons.json"))
    for folder in (lone / "arms").iterdir():
        if "few-shot" not in folder.name:
            shutil.rmtree(folder)
    html = render(lone).html.read_text("utf-8")
    assert "No verdict: 0 of 1 arms are done" in html
    assert "positions hold 8 tokens" in html


def test_a_long_verdict_leads_with_its_first_sentence_and_ids_are_only_counted(
    study: Path, tmp_path: Path
) -> None:
    wordy = shutil.copytree(study, tmp_path / "wordy")
    splits = json.loads((wordy / "splits.json").read_text("utf-8"))
    splits |= {"ids": {"train": ["r1"] * 900}, "columns": ["secret"] * 13}
    (wordy / "splits.json").write_text(json.dumps(splits))
    compared = json.loads((wordy / "comparisons.json").read_text("utf-8"))
    compared["verdict"]["sentence"] = "It gains 7.2 points (p < 0.001). Caution: lexical does too."
    (wordy / "comparisons.json").write_text(json.dumps(compared))
    html = render(wordy).html.read_text("utf-8")
    assert "It gains 7.2 points (p &lt; 0.001).</h1>" in html
    assert '<p class="rest">Caution: lexical does too.</p>' in html
    assert "r1, r1" not in html
    assert "13 values" in html


def test_a_study_of_two_models_names_them(study: Path, tmp_path: Path) -> None:
    two = shutil.copytree(study, tmp_path / "two")
    other = shutil.copytree(two / "arms" / "minilm.head", two / "arms" / "tiny.head")
    about = json.loads((other / "arm.json").read_text("utf-8"))
    (other / "arm.json").write_text(json.dumps({**about, "model": "tiny"}))
    text = render(two).markdown.read_text("utf-8")
    assert "| tiny head |" in text
    assert "| minilm head |" in text
    assert "| lexical |" in text


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no study"):
        render(tmp_path)


def test_the_hostile_texts_reach_the_page_whole(html: str) -> None:
    data = re.search(r'id="flip-data">(.*?)</script>', html, re.S)
    assert data is not None
    texts = {item[2] for item in json.loads(data[1])["items"]}
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[4]} <= texts


def test_the_base_models_files_are_named_with_their_fingerprints(study: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(study, tmp_path / "moved"))
    place = next((moved / "arms").glob("*lora*")) / "arm.json"
    about = json.loads(place.read_text("utf-8"))
    about |= {"model": "minilm", "model_files": {"config.json": "aa11", "model.safetensors": "bb22"}}
    place.write_text(json.dumps(about))
    html = render(moved).html.read_text("utf-8")
    assert "model minilm, model.safetensors" in html
    assert "bb22" in html


def test_the_page_says_what_the_audit_looked_for_where_the_study_knows(study: Path, tmp_path: Path) -> None:
    assert "The audit checks for empty texts." in render(study).html.read_text("utf-8")
    moved = Path(shutil.copytree(study, tmp_path / "moved"))
    (moved / "audit.json").write_text('{"findings": []}')
    html = render(moved).html.read_text("utf-8")
    assert "The audit found no problems." in html
    assert "The audit checks for" not in html


def test_the_commands_that_reproduce_are_typed_where_the_study_was_started(html: str) -> None:
    again = html.split('id="reproduce"')[1].split("</section>")[0]
    assert "/recipe.yaml --set " in again
    assert "-again" in again
    assert "cd " not in again


def test_a_study_of_format_1_is_rendered_with_its_keys_renamed(study: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(study, tmp_path / "old"))

    def rename(value, names):
        if isinstance(value, dict):
            return {names.get(key, key): rename(inner, names) for key, inner in value.items()}
        return [rename(inner, names) for inner in value] if isinstance(value, list) else value

    for file, names in KEYS_OF_FORMAT_1.items():
        old_names = {new: name for name, new in names.items()}
        for path in old.rglob(file):
            path.write_text(json.dumps(rename(json.loads(path.read_text("utf-8")), old_names)))
    about = json.loads((old / "provenance.json").read_text("utf-8"))
    (old / "provenance.json").write_text(json.dumps({k: v for k, v in about.items() if k != "format"}))
    html = render(old).html.read_text("utf-8")
    assert '"whole_adds"' in (old / "comparisons.json").read_text("utf-8")
    assert '"rate"' in "".join(path.read_text("utf-8") for path in old.rglob("ledger.json"))
    for text in ("FLOPs per token", "2 weights and 2 biases", "The audit checks for empty texts."):
        assert text in html


def test_a_study_of_a_later_format_is_refused(study: Path, tmp_path: Path) -> None:
    later = Path(shutil.copytree(study, tmp_path / "later"))
    about = json.loads((later / "provenance.json").read_text("utf-8"))
    (later / "provenance.json").write_text(json.dumps({**about, "format": FORMAT + 1}))
    with pytest.raises(RunError) as caught:
        render(later)
    assert str(caught.value) == (
        f"{later}: was written by another version of tuneproof (study format {FORMAT + 1}; this version "
        f"reads {FORMAT}). Run the study again in a new folder, or use tuneproof at the commit in its "
        "provenance.json."
    )


def test_a_claim_by_a_metric_without_scores_leaves_the_scores_on_the_page(
    study: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(study, tmp_path / "moved"))
    compared = json.loads((moved / "comparisons.json").read_text("utf-8"))
    compared["comparisons"][0]["metric"] = "mcc"
    assert compared["comparisons"][0]["claim"]
    (moved / "comparisons.json").write_text(json.dumps(compared))
    assert main_metric(read_study(moved)) == "accuracy"
    html = render(moved).html.read_text("utf-8")
    assert "No arm has a score." not in html
    assert "Mcc" in html, "the claim stays in the table of comparisons"
