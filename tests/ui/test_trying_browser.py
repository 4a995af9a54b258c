"""What the page shows of an arm's answers, suspected labels and the gate, whatever these hold.

The answers are canned. Needs Chromium (Debian: apt-get install chromium); without it these are skipped.
"""

import json
from typing import Any

import pytest

HOSTILE = "<img src=x onerror=document.title='run'>"
SCORE = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50}
ARMS = [
    {"folder": "a", "label": HOSTILE, "score": SCORE, "deliverable": True, "recommended": True},
    {"folder": "b", "label": "b", "score": None, "deliverable": False, "recommended": False},
]
OVERVIEW = {
    "kind": "labels",
    "text_column": "text",
    "max_items": 256,
    "metric": "accuracy",
    "state": "finished",
    "arms": ARMS,
    "why_not_correctable": "",
    "corrects": None,
    "corrected_in": [],
}
SHARES = {HOSTILE: 0.5, **{f"label {n} with a long name of many words": 0.5 / 12 for n in range(12)}}
PREDICTIONS = [
    {"label": None, "label_set": [HOSTILE, "b"], "probabilities": SHARES, "truncated": True},
    {"label": None, "truncated": False},
]
ROW = {"part": "test", "text": HOSTILE * 20, "label": "x", "suggested": "y", "score": 0.1, "why": "why"}
SUSPECTS = {
    "sentences": ["About 3 labels."],
    "total": 300,
    "labels": ["x", "y", HOSTILE],
    "rows": [{**ROW, "id": f"row {n}"} for n in range(30)],
}
PUBLISHED = {
    "items": 64,
    "difference": 1e-7,
    "tolerance": 1e-6,
    "unit": "of a probability",
    "merged": None,
    "folder": "/folder/of/the/publication",
    "upload_command": "tuneproof publish a owner/name",
}
REFUSAL = {"error": {"where": "a", "problem": "is not as good.", "allowed": "Nothing is written.", "do": ""}}


class Tab:
    """A tab on the view of the study `old`, and what it sent."""

    def __init__(self, browser: Any, url: str, width: int) -> None:
        self.view = browser.new_page(viewport={"width": width, "height": 900})
        self.view.set_default_timeout(20_000)
        self.sent: list[tuple[str, Any]] = []
        self.errors: list[Any] = []
        self.view.on("pageerror", lambda error: self.errors.append(error))
        for path, answer in {
            "old/trying": OVERVIEW,
            "arms/a/predict": {"predictions": PREDICTIONS},
            "old/label-errors": {"waiting": "1"},
            "api/waiting/1": SUSPECTS,
            "old/corrected": {"study": "old-corrected", "corrects": "old", "items": 1},
            "arms/a/export": REFUSAL,
            "arms/a/publish": PUBLISHED,
        }.items():
            self.view.route(f"**/{path}", self._answer(answer))
        self.view.goto(f"{url}#/study/old/try")
        self.view.get_by_role("heading", name="Try an arm").wait_for()

    def _answer(self, answer: dict[str, Any]):
        def fulfil(route: Any) -> None:
            sent = route.request.post_data
            self.sent.append((route.request.url.rpartition("/")[2], json.loads(sent) if sent else None))
            status = 422 if "error" in answer else 200
            route.fulfill(status=status, content_type="application/json", body=json.dumps(answer))

        return fulfil

    def click(self, name: str) -> None:
        self.view.get_by_role("button", name=name, exact=True).click()

    @property
    def text(self) -> str:
        return self.view.locator("#view").inner_text()


@pytest.fixture(params=[390, 1280])
def tab(request, browser, page):
    tab = Tab(browser, page.url, request.param)
    yield tab
    assert tab.view.evaluate("document.documentElement.scrollWidth") <= request.param
    assert tab.view.locator("#view img, #view script").count() == 0
    assert (tab.view.title(), tab.errors) == ("tuneproof · old · try", [])
    tab.view.close()


def violations(tab: Tab) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(tab.view).response["violations"]
    return [each["id"] for each in results if each["impact"] in ("serious", "critical")]


def test_an_abstention_a_cut_text_and_left_out_labels_are_stated(tab):
    tab.view.get_by_label("Texts, one a line").fill("one\n\n two ")
    tab.view.get_by_label("Abstain").first.select_option("0.05")
    tab.click("Predict")
    tab.view.locator("meter").first.wait_for()
    assert tab.sent[-1] == ("predict", {"texts": ["one", "two"], "abstain": 0.05})
    for sentence in (
        "Abstains: the arm is not sure enough.",
        f"May be right, by the dev items: {HOSTILE}, b",
        "The text is longer than the arm reads, so it was cut.",
        "3 less probable labels are left out.",
        "No label: what the model wrote names none.",
        "The recommended arm: accuracy on 50 test items: 80.0 %, interval 70.0 % to 90.0 %.",
    ):
        assert sentence in tab.text
    assert violations(tab) == []


def test_the_chosen_labels_are_sent_and_the_new_study_is_linked(tab):
    tab.click("Find suspected label errors")
    tab.view.get_by_text("These are the 30 most suspect of 300.").wait_for()
    assert tab.view.locator("table.flips tbody tr:visible").count() == 20
    again = tab.view.get_by_role("button", name="Run again")
    assert again.is_disabled()
    tab.click("Show all 30")
    tab.view.get_by_label("Right label of item 30").select_option("y")
    tab.click("Run again with 1 correction")
    tab.view.get_by_role("link", name="old-corrected").wait_for()
    assert tab.sent[-1] == ("corrected", {"corrections": {"row 29": "y"}})
    link = tab.view.get_by_role("link", name="old-corrected")
    assert link.get_attribute("href") == "#/study/old-corrected"
    assert violations(tab) == []


def test_the_gate_s_outcome_is_stated_passed_or_refused(tab):
    tab.view.get_by_label("Format").select_option("ONNX, int8")
    tab.click("Export")
    tab.view.get_by_text("Refused. Nothing was written.").wait_for()
    assert tab.sent[-1] == ("export", {"format": "onnx", "precision": "int8", "margin": 1})
    assert "is not as good." in tab.view.get_by_role("alert").inner_text()
    tab.view.get_by_label("Repository").fill("owner/name")
    tab.click("Write the folder")
    tab.view.get_by_text("/folder/of/the/publication").wait_for()
    assert "Items compared\n64" in tab.text
    assert "1.0e-7 of a probability" in tab.text
    assert violations(tab) == []


def test_an_arm_without_weights_is_not_delivered(tab):
    tab.view.get_by_label("Arm", exact=True).select_option("b")
    assert "b has no weights of its own that could be delivered." in tab.text
    assert tab.view.get_by_role("button", name="Export").count() == 0
