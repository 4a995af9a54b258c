"""A person goes the whole way in a browser: drop a file, choose, run, stop, go on, read, try, label a file.

Needs Chromium (Debian: apt-get install chromium); without it these tests are skipped.
"""

import json
import re
from pathlib import Path

import pytest

REVIEWS = Path("src/tuneproof/tasks/demo/reviews.jsonl")
WAIT_MS = 120_000
HOSTILE = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"


@pytest.fixture
def tab(browser):
    context = browser.new_context(accept_downloads=True)
    tab = context.new_page()
    tab.set_default_timeout(WAIT_MS)
    errors = []
    tab.on("pageerror", lambda error: errors.append(error))
    yield tab
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def reviews(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("files") / "reviews.jsonl"
    path.write_text("\n".join(REVIEWS.read_text("utf-8").splitlines()[::5]) + "\n")
    return path


def violations(tab) -> list[str]:
    """Serious and critical violations of WCAG that axe-core names."""
    from axe_playwright_python.sync_playwright import Axe

    tab.evaluate("document.activeElement && document.activeElement.blur()")
    results = Axe().run(tab, options={"iframes": False}).response["violations"]
    serious = [each for each in results if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in serious]


def choose_file(tab, page, path: Path) -> None:
    tab.goto(f"{page.url}#/new")
    tab.get_by_label("Drop a file here").set_input_files(path)


@pytest.mark.parametrize(
    ("name", "seeds", "arms"), [("quick", "0", 2), pytest.param("long", "0,1,2", 6, marks=pytest.mark.slow)]
)
def test_the_whole_way_from_a_file_to_a_labelled_file(page, tab, reviews, tmp_path, name, seeds, arms):
    """The long form has three seeds, two more arms, and corrected labels."""
    choose_file(tab, page, reviews)
    tab.get_by_text("Items: train").wait_for()
    assert tab.get_by_label("Text", exact=True).input_value() == "text"
    assert tab.get_by_label("Label", exact=True).input_value() == "label"
    assert tab.locator(".preview tbody tr").count() == 10
    tab.get_by_label("demo built in").check()
    if name == "quick":
        tab.locator("input[value=lexical]").uncheck()
    else:
        tab.locator("input[value=head]").check()
    tab.locator("input[value=lora]").check()
    tab.get_by_label("Seeds").select_option(seeds)
    tab.get_by_label("Name of the study").fill(name)
    tab.get_by_text("Settings", exact=True).click()
    tab.locator("#settings").fill("train.epochs=4\npredict.timing_s=0")
    tab.get_by_text("Time, predicted").wait_for()
    assert "points on" in tab.locator(".cost").inner_text()
    tab.get_by_role("button", name="Run the study").click()
    row = tab.locator("tr", has_text="demo lora seed 0")
    row.locator(".state.running").wait_for()
    tab.locator("figure.curve").wait_for()
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_role("button", name="Go on").click()
    tab.close()  # closing the page stops nothing
    tab = tab.context.new_page()
    tab.set_default_timeout(WAIT_MS)
    tab.goto(page.url)
    tab.get_by_role("link", name=name, exact=True).click()
    tab.locator(".state.finished").wait_for(timeout=10 * WAIT_MS)
    assert tab.locator("p.verdict").inner_text()
    assert tab.locator(".arms .state.done").count() == arms
    assert violations(tab) == []
    tab.get_by_role("link", name="Read the report").click()
    report = tab.frame_locator("iframe.report")
    assert report.locator("#verdict h1").inner_text()
    assert violations(tab) == []
    try_a_text(page, tab, name)
    label_a_file(tab, tmp_path)
    if name == "long":
        correct_a_label(tab)


def correct_a_label(tab) -> None:
    tab.get_by_role("button", name="Find suspected label errors").click()
    select = tab.locator("table select").first
    select.select_option(index=1)
    tab.get_by_role("button", name=re.compile("^Run again with")).click()
    tab.get_by_role("link", name="long-corrected").first.click()
    tab.locator(".state.finished").wait_for(timeout=10 * WAIT_MS)


def try_a_text(page, tab, name: str) -> None:
    tab.goto(f"{page.url}#/study/{name}/try")
    tab.get_by_label(re.compile("^Texts")).fill(f"A warm and lovely film.\n{HOSTILE}")
    tab.get_by_role("button", name=re.compile("^(Try|Predict)")).click()
    results = tab.locator("[aria-live] meter")
    results.first.wait_for()
    assert HOSTILE in tab.locator("#view").inner_text()
    assert tab.title() != "run"
    assert violations(tab) == []


def label_a_file(tab, folder: Path) -> None:
    new = folder / "new.csv"
    new.write_text("text\nA warm and lovely film.\nDull and far too long.\n")
    tab.locator("input[type=file]").set_input_files(new)
    with tab.expect_download() as download:
        tab.get_by_role("button", name=re.compile("^Label")).click()
        tab.get_by_role("link", name=re.compile("^Download")).click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 3
    assert re.search("positive|negative", lines[1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text,label\na,x\nb,x\nc,x\n", "label"),
        ('text,label\na,x\n"b,y\n', "bad.csv"),
        ("text,label\n,x\nb,y\nc,x\nd,y\n", "empty"),
    ],
)
def test_a_wrong_file_gets_its_sentence_at_the_file(page, tab, tmp_path, content, sentence):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    choose_file(tab, page, path)
    error = tab.locator("[data-field=file] .error")
    error.wait_for()
    assert sentence in error.inner_text()


def test_a_wrong_choice_gets_its_sentence_at_its_field(page, tab, reviews):
    choose_file(tab, page, reviews)
    tab.get_by_text("Items: train").wait_for()
    tab.locator("input[value=lora]").check()
    tab.locator("[data-field=models] .error").wait_for()
    tab.locator("input[value=lora]").uncheck()
    tab.get_by_text("Settings", exact=True).click()
    tab.locator("#settings").fill("train.epochs=many")
    tab.locator("[data-field=settings] .error").wait_for()
    tab.locator("#settings").fill("")
    tab.get_by_label("Name of the study").fill("../up")
    tab.locator("[data-field=name] .error").wait_for()
    assert tab.locator(".field-error .error").count() == 1
    assert violations(tab) == []


def test_hostile_names_labels_and_texts_run_no_script(page, tab, tmp_path):
    rows = [{"text": f"{HOSTILE} {n}", "label": ["a<b>", HOSTILE][n % 2]} for n in range(60)]
    path = tmp_path / "a'\"b&c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    choose_file(tab, page, path)
    tab.get_by_text("Items: train").wait_for()
    assert HOSTILE in tab.locator(".preview").inner_text()
    assert tab.title() != "run"
    assert tab.locator("#view img, #view script").count() == 0


def test_the_audit_ends_although_one_chooses_meanwhile(page, tab, reviews):
    choose_file(tab, page, reviews)
    tab.get_by_label("demo built in").check()  # within the pause before the audit
    tab.get_by_text("Auditing …").wait_for()
    tab.get_by_label("Name of the study").fill("another")
    tab.get_by_text("Items: train").wait_for()
    assert tab.locator("[role=status] strong").inner_text() == "reviews.jsonl"
    items = tab.get_by_text("Items: train").inner_text()
    tab.get_by_text("Settings", exact=True).click()
    tab.locator("#settings").fill("split.train_size=20")
    tab.wait_for_function("items => !document.body.innerText.includes(items)", arg=items)
    tab.get_by_text("Items: train").wait_for()
    assert tab.get_by_text("Items: train").inner_text() != items


def test_a_task_of_the_hub_is_not_called_unsuspicious_before_its_audit(page, tab, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tab.goto(f"{page.url}#/new")
    tab.get_by_label("Or a public task").select_option("imdb")
    tab.get_by_text("needs the hub").wait_for()
    assert tab.get_by_text(re.compile("^Not audited: imdb")).count() > 0
    assert tab.get_by_text("Nothing suspicious.").count() == 0


def test_a_file_that_was_not_read_is_read_in_another_way(page, tab, tmp_path):
    path = tmp_path / "grün.csv"
    path.write_text("text;label\n" + "".join(f"Grün {n};{n % 2}\n" for n in range(60)), "utf-16")
    choose_file(tab, page, path)
    tab.locator("[data-field=file] .error").wait_for()
    tab.get_by_label("Encoding of a text file").fill("utf-16")
    tab.get_by_label("Sign between the cells").select_option(label="semicolon")
    tab.get_by_role("button", name="Read again").click()
    tab.get_by_text("Items: train").wait_for()
    tab.get_by_text("The recipe", exact=True).click()
    assert "encoding: utf-16" in tab.locator("details.copyable pre").first.inner_text()
    assert violations(tab) == []


def test_what_was_chosen_stays_when_something_else_is_predicted(page, tab, reviews):
    choose_file(tab, page, reviews)
    tab.get_by_label("demo built in").check()
    tab.locator("input[value=lora]").check()
    tab.get_by_label("Name of the study").fill("mine")
    tab.get_by_label("What is predicted").select_option("answers")
    tab.get_by_label("Answer", exact=True).wait_for()
    assert tab.get_by_label("demo built in").is_checked()
    assert tab.locator("input[value=lora]").is_checked()
    assert tab.get_by_label("Name of the study").input_value() == "mine"


def test_models_are_found_by_a_word_and_a_chosen_one_stays(page, tab, reviews):
    choose_file(tab, page, reviews)
    tab.get_by_label("demo built in").check()
    count = tab.locator("input[name=models]:visible").count()
    tab.get_by_label("Find a model").fill("gemma")
    names = [each.get_attribute("value") for each in tab.locator("input[name=models]:visible").all()]
    assert 1 < len(names) < count
    assert names[0] == "demo"
    assert all("gemma" in name for name in names[1:])


def test_text_is_selected_where_there_is_no_clipboard(page, tab, reviews):
    tab.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    choose_file(tab, page, reviews)
    tab.get_by_text("The recipe", exact=True).click()
    tab.get_by_role("button", name="Copy").first.click()
    tab.get_by_role("button", name="Selected").wait_for()
    assert tab.evaluate("getSelection().toString()").startswith("task:")


@pytest.mark.parametrize(
    "width", [390, *(pytest.param(width, marks=pytest.mark.slow) for width in (1280, 1920))]
)
def test_nothing_is_wider_than_the_window(page, tab, reviews, width):
    tab.set_viewport_size({"width": width, "height": 900})
    choose_file(tab, page, reviews)
    tab.get_by_text("Items: train").wait_for()
    for address in ("#/new", "#/"):
        if address == "#/":
            tab.goto(f"{page.url}{address}")
            tab.locator(".studies").wait_for(state="attached")  # empty without a study
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_an_address_without_its_token_shows_nothing(page, tab):
    tab.goto(f"http://127.0.0.1:{page.port}/wrong/")
    assert "lacks this page's token" in tab.locator("body").inner_text()
