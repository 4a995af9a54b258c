"""Several studies on one page: only what stands on the same items is ranked."""

import re
from pathlib import Path

import pytest

from tests.arms.small import rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.report.chromium import PROGRAM, browser
from tuneproof.cli.main import main
from tuneproof.errors import RunError
from tuneproof.record.leaderboard import leaderboards
from tuneproof.record.study_folder import REPORT_HTML
from tuneproof.report.index import render_index


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[str, Path]:
    """Two studies on the same items in another order, one on others, one with a leaky split."""
    root = tmp_path_factory.mktemp("studies")
    half = {"kind": "official", "leak_safe": True}
    files = {}
    for name, more in (("train", ""), ("test", " Really."), ("third", " Truly.")):
        rows = [(f"{text}{more}", label) for text, label in rows_of(("negative", "positive"))]
        files[name] = write_rows(root / f"{name}.csv", rows)
    task = {"labels": {"path": str(files["train"]), "test": str(files["test"])}}
    other = {"labels": {"path": str(files["train"]), "test": str(files["third"])}}
    made = {
        "first": {"task": task, "arms": ["majority", "lexical"], "split": half},
        "second": {"task": task, "arms": ["lexical"], "split": {**half, "seed": 5}},
        "other": {"task": other, "arms": ["lexical"], "split": half},
        "leaky": {"task": task, "arms": ["lexical"], "split": {**half, "leak_safe": False}},
    }
    folders = {}
    for name, parts in made.items():
        recipe = small_recipe(root, [], parts.pop("arms"), out=name, **parts)
        run_recorded(recipe)
        folders[name] = Path(recipe.out)
    return folders


def test_the_same_items_are_ranked_whatever_their_order(studies) -> None:
    boards = leaderboards([studies["first"], studies["second"]])
    assert len(boards) == 1
    found = [(entry.study.folder.name, entry.arm.arm) for entry in boards[0].entries]
    assert sorted(found) == [("first", "lexical"), ("first", "majority"), ("second", "lexical")]
    assert found[-1] == ("first", "majority")
    assert boards[0].entries[0].behind is None
    assert all(entry.behind is not None for entry in boards[0].entries[1:])
    assert boards[0].entries[-1].behind["difference"] == pytest.approx(
        boards[0].entries[0].score["value"] - boards[0].entries[-1].score["value"]
    )


def test_other_items_have_a_board_of_their_own(studies) -> None:
    boards = leaderboards([studies["first"], studies["other"]])
    assert [len(board.entries) for board in boards] == [2, 1]
    assert boards[0].fingerprint != boards[1].fingerprint


def test_a_leaky_split_is_not_ranked_and_says_why(studies) -> None:
    boards = leaderboards([studies["first"], studies["leaky"]])
    assert {entry.study.folder.name for board in boards for entry in board.entries} == {"first"}
    unranked = [entry for board in boards for entry in board.unranked]
    assert unranked[0][:2] == ("leaky", "all arms")
    assert re.search(r"leak_safe: false.*% of the test items overlap", unranked[0][2])


def test_the_page_links_to_every_report_from_where_it_lies(studies, tmp_path) -> None:
    folders = list(studies.values())
    page = render_index(folders, tmp_path / "index.html")
    html = page.read_text("utf-8")
    links = set(re.findall(r'href="([^"#]*report\.html)"', html))
    assert {(tmp_path / link).resolve() for link in links} == {
        (folder / REPORT_HTML).resolve() for name, folder in studies.items() if name != "leaky"
    }
    assert "Ranks in different tables are not comparable" in html
    assert "cannot tell" in html


def test_the_command_writes_an_index_of_several_studies(studies, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(studies["first"]), str(studies["second"])]) == 0
    assert capsys.readouterr().out.strip() == "index.html"
    assert "Leaderboard" in Path("index.html").read_text("utf-8")
    assert main(["report", str(studies["first"]), "--out", "x.html"]) == 2
    assert "names the index of several studies" in capsys.readouterr().err


def test_a_folder_without_a_study_is_named(studies, tmp_path) -> None:
    with pytest.raises(RunError, match="holds no study"):
        render_index([studies["first"], tmp_path], tmp_path / "index.html")
    assert not (tmp_path / "index.html").exists()


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_nothing_of_it_is_wider_than_the_window(studies, tmp_path) -> None:
    page = render_index(list(studies.values()), tmp_path / "index.html")
    with browser() as chromium:
        for width in (390, 768, 1440):
            chromium.look(width, mobile=width < 500)
            chromium.open(page)
            assert chromium.value("document.documentElement.scrollWidth") <= width
        assert chromium.errors == []
