"""The page of a study of questions in a real browser: no errors, answers marked and searched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arms.questions import question_recipe, write_questions
from tests.monitoring import run_recorded
from tests.report.chromium import PROGRAM, Browser, browser

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    rows = [
        {
            "id": f"q{number}",
            "title": f"title {number // 4}",
            "context": f"The long film about a river was finally made in {1900 + number} .",
            "question": "Never mind, who sang?" if number % 2 else "When was the long film made?",
            "answers": [] if number % 2 else [str(1900 + number)],
        }
        for number in range(120)
    ]
    write_questions(folder / "questions.jsonl", rows)
    recipe = question_recipe(folder, [], ["majority", "lexical"])
    run_recorded(recipe)
    return Path(recipe.out) / "report.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


def count(chromium: Browser, selector: str) -> int:
    return chromium.value(f"document.querySelectorAll({selector!r}).length")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window_and_nothing_fails(chromium, page, width) -> None:
    chromium.look(width, False, mobile=width < 500)
    chromium.requests.clear()
    chromium.open(page)
    assert chromium.value("document.documentElement.scrollWidth") <= width
    assert chromium.errors == []
    assert [url for url in chromium.requests if not url.startswith(("file:", "data:"))] == []
    assert count(chromium, "#no-answer tr.oracle") == 1
    assert count(chromium, "#no-answer polyline") == 2
    assert count(chromium, "#no-answer line.threshold") == 1


def test_gold_and_answers_are_marked_in_the_excerpt_and_found_by_search(chromium, page) -> None:
    chromium.open(page)
    assert count(chromium, "#flip-rows tr") > 0
    assert count(chromium, "#flip-rows mark.gold") + count(chromium, "#flip-rows mark.after") > 0
    marked = chromium.value(
        "[...document.querySelectorAll('#flip-rows mark.gold')].map(e => e.textContent).join(' ')"
    )
    assert marked
    assert all(1900 <= int(year) < 2020 for year in marked.split())
    search = (
        "(() => {const box = document.getElementById('flip-search'); box.value = %r;"
        "box.dispatchEvent(new Event('input')); return document.getElementById('flip-rows').rows.length})()"
    )
    assert chromium.value(search % "(no answer)") > 0, "an arm's answer is searched too"
    assert chromium.value(search % "zzyzx") == 0
    assert chromium.errors == []
