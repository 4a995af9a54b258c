"""The page in a real browser: no errors, no requests, the controls work, nothing is cut."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.chromium import PROGRAM, Browser, browser
from tests.report.made_study import write_study
from tuneproof.report.page import render

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(write_study(tmp_path_factory.mktemp("study"), size=300)).html


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


def shown(chromium: Browser, selector: str) -> int:
    asked = f"[...document.querySelectorAll({selector!r})].filter(e => e.getClientRects().length).length"
    return chromium.value(asked)


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_is_wider_than_the_window_and_nothing_fails(
    chromium: Browser, page: Path, width: int
) -> None:
    for dark in (False, True):
        chromium.look(width, dark, mobile=width < 500)
        chromium.requests.clear()
        chromium.open(page)
        assert chromium.value("document.documentElement.scrollWidth") <= width
        assert chromium.errors == []
        assert [one for one in chromium.requests if not one.startswith(("file:", "data:"))] == []


def test_the_search_finds_flips_and_the_pager_turns(chromium: Browser, page: Path) -> None:
    chromium.look(1440)
    chromium.open(page)
    every = chromium.value("document.getElementById('flip-caption').textContent")
    total = int(re.findall(r"of (\d+) changed", every)[0])
    assert total > 10
    assert shown(chromium, "#flip-rows tr") == 10
    first = chromium.value("document.querySelector('#flip-rows .id').textContent")
    chromium.value("document.getElementById('flip-next').click()")
    assert chromium.value("document.querySelector('#flip-rows .id').textContent") != first
    search = "const s = document.getElementById('flip-search'); s.value = {!r};"
    search += "s.dispatchEvent(new Event('input')); document.querySelectorAll('#flip-rows tr').length"
    assert chromium.value("{" + search.format(first) + "}") >= 1
    assert chromium.value("{" + search.format("no such words") + "}") == 0
    assert chromium.errors == []


def test_the_arm_picker_and_the_axis_switch_hide_and_show(chromium: Browser, page: Path) -> None:
    chromium.look(1440)
    chromium.open(page)
    before = shown(chromium, "#curves .by-step .curve")
    assert before > 0
    chromium.value("document.querySelector('#curves input[type=checkbox]').click()")
    assert 0 < shown(chromium, "#curves .by-step .curve") < before
    chromium.value("document.getElementById('by-epoch').click()")
    assert shown(chromium, "#curves .by-step") == 0
    assert shown(chromium, "#curves .by-epoch") > 0


def test_a_point_says_its_value_at_the_pointer(chromium: Browser, page: Path) -> None:
    chromium.look(1440)
    chromium.open(page)
    asked = """{const dot = document.querySelector('#curves .by-step circle');
    dot.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 99, clientY: 99}));
    document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent}"""
    assert re.search(r"step \d+: ", chromium.value(asked))


def test_the_page_is_readable_without_scripts(chromium: Browser, page: Path) -> None:
    chromium.look(768, script=False)
    chromium.open(page)
    shot = chromium.ask("DOM.getDocument", depth=-1, pierce=False)
    assert "NO_SUCH" not in str(shot)
    found = chromium.ask("DOM.querySelectorAll", nodeId=shot["root"]["nodeId"], selector="#flip-rows tr")
    assert len(found["nodeIds"]) == 25
    chromium.look(768)


def test_it_prints(chromium: Browser, page: Path, tmp_path: Path) -> None:
    chromium.look(1440)
    chromium.open(page)
    assert chromium.paper(tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
