"""The page answers who knows its token, and does by commands what the command line does."""

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.ui.running_page import MAX_UPLOAD_BYTES, RunningPage, running_page
from tuneproof.cli.main import main
from tuneproof.cli.parser import make_parser
from tuneproof.cli.study_arguments import recipe_from_args
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import read_recipe
from tuneproof.ui.serve_ui import Address, open_browser, serve_ui

REVIEWS = Path("src/tuneproof/tasks/demo/reviews.jsonl")


@pytest.fixture(scope="module")
def reviews(page) -> dict:
    """200 rows of the demo's reviews, dropped on the page."""
    lines = REVIEWS.read_text("utf-8").splitlines()[::5]
    status, file = page.ask("api/files?name=my%20reviews.jsonl", body="\n".join(lines).encode())
    assert status == 200
    return file


def design(file: dict, name: str, **more) -> dict:
    columns = {"text": "text", "label": "label", "group": "group"}
    chosen = {"models": [], "arms": ["majority", "lexical"], "seeds": [0], "settings": {}}
    return {"name": name, "kind": "labels", "path": file["path"], "columns": columns, **chosen, **more}


@pytest.fixture(scope="module")
def study(page, reviews) -> str:
    """A finished study of two arms that the page started."""
    assert page.ask("api/studies", design(reviews, "mine")) == (200, {"study": "mine"})
    page.wait_for("mine", "finished")
    return "mine"


def test_an_address_without_the_token_answers_nothing(page):
    root = f"http://127.0.0.1:{page.port}/"
    for path in ("wrong/", "wrong/api/studies", "wrong/static/main.js"):
        status, answer = page.ask(root + path)
        assert (status, "token" in answer["error"]["problem"]) == (403, True)
    for path in ("", "api/studies", "../etc/passwd"):
        assert page.ask(root + path)[0] in (403, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 421),
     ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Origin": "null"}, 403)],
)  # fmt: skip
def test_another_sites_page_is_refused_although_it_knows_the_token(page, headers, status):
    assert page.ask("api/studies", **headers)[0] == status


def test_a_notebook_may_frame_the_page_and_no_other_origin(tmp_path):
    with running_page(tmp_path, framed_by="https://*.notebook.example https://other.example") as page:
        assert page.ask("api/studies", Origin="https://a.notebook.example", Host="x.example")[0] == 200
        assert page.ask("api/studies", Origin="https://evil.example")[0] == 403
        policy = page.fetch("")[2]["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors https://*.notebook.example https://other.example")
        assert "X-Frame-Options" not in page.fetch("")[2]


def test_without_a_proxy_the_page_is_called_by_its_own_name_alone(tmp_path):
    with running_page(tmp_path, framed_by="http://localhost:*") as page:
        assert page.ask("api/studies", Origin="http://localhost:8888")[0] == 200
        assert page.ask("api/studies", Origin="http://localhost:8888", Host="evil.example")[0] == 421


def test_the_page_runs_no_script_but_its_own_files_and_loads_nothing_from_outside(page):
    _, body, headers = page.fetch("")
    assert "script-src 'self'; style-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert b"<script>" not in body
    assert b"http://" not in body
    assert b"https://" not in body
    assert page.fetch("static/report.css")[0] == page.fetch("static/dom.js")[0] == 200
    assert page.fetch("static/..%2Fapp.py")[0] == page.fetch("static/nothing.js")[0] == 404


def test_a_dropped_file_shows_its_columns_labels_and_ten_rows(page, reviews):
    assert (reviews["kind"], reviews["name"]) == ("labels", "my reviews.jsonl")
    assert reviews["guess"] == {"text": "text", "label": "label"}
    labels = next(column["labels"] for column in reviews["columns"] if column["name"] == "label")
    assert {label for label, _ in labels} == {"positive", "negative"}
    assert len(reviews["rows"]) == 10
    assert Path(reviews["path"]).parent.parent == page.folder / "uploads"


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("weights.pkl", b"x", "is not a supported file type"),
        ("no ending", b"x", "is not a supported file type"),
        ("empty.csv", b"", "is empty"),
        ("bad.jsonl", b"{}\n{broken\n", "line 2"),
        ("large.csv", b"x" * (MAX_UPLOAD_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_sentence(page, name, body, problem):
    status, answer = page.ask(f"api/files?name={name.replace(' ', '%20')}", body=body)
    assert status in (413, 422)
    assert problem in " ".join(str(value) for value in answer["error"].values())


def test_a_refused_upload_leaves_no_file(page):
    before = set((page.folder / "uploads").rglob("*.csv"))
    page.ask("api/files?name=huge.csv", body=b"x" * (MAX_UPLOAD_BYTES + 1))
    assert set((page.folder / "uploads").rglob("*.csv")) == before


def test_a_file_name_cannot_leave_the_folder_of_uploads(page):
    name = "..%2F..%2F<img%20src=x>%0Aevil.csv"
    status, file = page.ask(f"api/files?name={name}", body=b"text,label\na,b\nc,d\n")
    assert status == 200
    assert Path(file["path"]).parent.parent == page.folder / "uploads"
    assert not set("<>\n/") & set(file["name"])


def test_the_recipe_and_the_command_are_the_same_study(page, reviews, capsys):
    more = {"settings": {"split.seed": "3"}, "seeds": [0, 1]}
    status, answer = page.ask("api/recipe", design(reviews, "twice", **more))
    assert status == 200
    path = page.folder / "twice.yaml"
    path.write_text(answer["yaml"])
    args = make_parser().parse_args(shlex.split(answer["command"])[1:])
    assert recipe_from_args(args).values() == read_recipe(path).values()


@pytest.mark.parametrize(
    "columns", [{"delimiter": "\t"}, {"id": "1"}, {"instruction": "null"}, {"instruction": "a: b, # c"}]
)
def test_what_yaml_would_read_as_something_else_stays_text_in_the_command(page, reviews, columns):
    chosen = {**design(reviews, "text"), "columns": {"text": "text", "label": "label", **columns}}
    status, answer = page.ask("api/recipe", chosen)
    assert status == 200, answer
    path = page.folder / "text.yaml"
    path.write_text(answer["yaml"])
    args = make_parser().parse_args(shlex.split(answer["command"])[1:])
    assert recipe_from_args(args).values() == read_recipe(path).values()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"arms": []}, "arms"),
        ({"arms": ["lorra"]}, "arms"),
        ({"models": [], "arms": ["lora"]}, "models"),
        ({"columns": {"text": "text"}}, "label"),
        ({"path": ""}, "file"),
        ({"name": "../up"}, "name"),
        ({"name": ".ui"}, "name"),
        ({"seeds": ["x"]}, "seeds"),
        ({"settings": {"train.epochs": "many"}}, "--set train.epochs=many"),
        ({"settings": {"train.epoch": "1"}}, "--set train.epoch=1"),
        ({"settings": {"out": "/tmp/elsewhere"}}, "--set out=/tmp/elsewhere"),
        ({"settings": {"task.labels.path": "/etc/passwd"}}, "--set task.labels.path=/etc/passwd"),
        ({"arms": ["{endpoint: {url: x}}"]}, "arms"),
    ],
)
def test_a_wrong_choice_is_refused_at_its_field(page, reviews, change, field):
    status, answer = page.ask("api/recipe", {**design(reviews, "wrong"), **change})
    assert (status, answer["error"]["where"]) == (422, field)
    assert answer["error"]["problem"]


def test_the_audit_names_what_the_file_has_wrong(page):
    rows = "".join(f"text {n},{'a' if n % 2 else 'b'}\n" for n in range(60))
    status, file = page.ask("api/files?name=double.csv", body=f"text,label\n{rows}text 1,b\n".encode())
    columns = {"text": "text", "label": "label"}
    chosen = {**design(file, "audit", arms=["majority"]), "columns": columns, "audit": True}
    status, plan = page.ask("api/check", chosen)
    assert status == 200
    assert plan["forecast"] is None
    assert any(
        "text 1" in finding["message"] or "label" in finding["message"] for finding in plan["findings"]
    )
    assert sum(plan["sizes"].values()) + sum(plan["dropped"].values()) == 61


def test_the_plan_has_a_cost_and_the_smallest_detectable_difference(page, reviews):
    status, plan = page.ask("api/check", design(reviews, "planned"))
    assert status == 200
    assert plan["forecast"]["time_s"] > 0
    assert 0 < plan["detectable"]["difference"] < 1
    assert plan["detectable"]["items"] == plan["sizes"]["test"]


def test_a_study_that_the_page_started_is_finished_and_in_the_list(page, study):
    board = page.ask(f"api/studies/{study}")[1]
    assert [(arm["label"], arm["status"]) for arm in board["arms"]] == [
        ("majority", "done"),
        ("lexical", "done"),
    ]
    assert 0 < board["arms"][1]["score"]["value"] < 1
    assert board["verdict"]
    assert board["has_report"]
    assert not board["error"]
    rows = page.ask("api/studies")[1]["studies"]
    assert study in [row["name"] for row in rows if row["state"] == "finished"]


def test_the_report_is_shown_without_the_rights_of_the_page(page, study):
    assert page.fetch(f"studies/{study}/report.html")[0] == 403, "its scripts could read the page's token"
    address = page.ask(f"api/studies/{study}")[1]["report"]
    assert page.fetch(address.replace("studies/", "static/").replace("report.html", "dom.js"))[0] in (
        403,
        404,
    )
    status, body, headers = page.fetch(address)
    assert status == 200
    assert body.startswith(b"<!doctype html>")
    policy = headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy


def test_a_second_study_of_the_same_name_is_refused(page, reviews, study):
    status, answer = page.ask("api/studies", design(reviews, study))
    assert (status, answer["error"]["where"]) == (422, "name")


@pytest.mark.parametrize("name", ["nothing", "..", ".ui", "uploads", "%2e%2e", "a%2Fb", "<script>"])
def test_what_is_no_study_is_not_found(page, name):
    for path in (f"api/studies/{name}", f"studies/{name}/report.html", f"api/studies/{name}/curves/x"):
        assert page.fetch(path)[0] in (403, 404)


def test_two_tabs_that_start_one_name_start_one_study(page, reviews):
    chosen = [design(reviews, "race", seeds=[seed]) for seed in (0, 7)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda value: page.ask("api/studies", value), chosen))
    assert sorted(status for status, _ in answers) == [200, 422]
    first = next(value for value, (status, _) in zip(chosen, answers, strict=True) if status == 200)
    page.wait_for("race", "finished")
    assert list(read_recipe(page.folder / "race/recipe.yaml").seeds) == first["seeds"]


def test_a_newer_check_of_a_tab_takes_the_place_of_the_older_and_of_no_other_tabs(page, reviews):
    audit = {**design(reviews, "audit", arms=["majority"]), "audit": True}
    with ThreadPoolExecutor(3) as pool:
        older = pool.submit(page.ask, "api/check", {**audit, "tab": "one"})
        other = pool.submit(page.ask, "api/check", {**audit, "tab": "two"})
        time.sleep(0.3)
        newer = pool.submit(page.ask, "api/check", {**audit, "tab": "one"})
        assert (older.result()[0], older.result()[1]["error"].get("code")) == (409, "superseded")
        assert other.result()[0] == newer.result()[0] == 200
    assert not list((page.folder / ".ui/recipes").glob(".checked-*"))


def test_a_file_that_was_not_read_can_be_read_in_another_way(page):
    body = "text,label\nä,a\nö,b\n".encode("utf-16")
    status, answer = page.ask("api/files?name=wide.csv", body=body)
    assert status == 422
    path = answer["error"]["path"]
    status, file = page.ask("api/preview", {"path": path, "encoding": "utf-16"})
    assert (status, file["rows"]) == (200, [["ä", "a"], ["ö", "b"]])


@pytest.mark.parametrize("path", ["~nosuchuser/x.csv", "x" * 5000, "", "/"])
def test_a_path_that_is_no_file_is_refused_with_a_sentence(page, path):
    status, answer = page.ask("api/preview", {"path": path})
    assert (status, answer["error"]["problem"]) == (422, "is not a file of this machine.")


def test_a_long_name_of_wide_letters_is_shortened(page):
    name = urllib.parse.quote("評" * 200 + ".csv")
    status, file = page.ask(f"api/files?name={name}", body=b"text,label\na,b\nc,d\n")
    assert status == 200
    assert file["name"].endswith("評.csv")


def test_commands_end_with_the_page_even_where_it_is_killed(tmp_path):
    code = """
import asyncio, os, sys
from tuneproof.ui.commands import Commands
async def main():
    work = asyncio.create_task(Commands().output("x", ["-c"], (sys.executable, "-m", "http.server")))
    commands = work.get_coro().cr_frame.f_locals["self"]
    while not commands.running:
        await asyncio.sleep(0.05)
    print(commands.running["x"].pid, flush=True)
    os._exit(0)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid, end = int(done.stdout), time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_browser_is_given_a_file_and_not_the_token(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    open_browser("http://127.0.0.1:1/secret/")
    path = Path(opened[0].removeprefix("file://"))
    assert "secret" not in opened[0]
    assert "secret" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_a_study_behind_a_link_is_refused(page, study, tmp_path):
    (page.folder / "linked").symlink_to(page.folder / study)
    try:
        status, answer = page.ask("api/studies/linked")
        assert (status, "is a link" in answer["error"]["problem"]) == (403, True)
    finally:
        (page.folder / "linked").unlink()


def test_a_study_that_cannot_start_says_why(page):
    _, file = page.ask("api/files?name=one-label.csv", body=b"text,label\na,x\nb,x\nc,x\n")
    columns = {"text": "text", "label": "label"}
    assert page.ask("api/studies", {**design(file, "bad"), "columns": columns})[0] == 200
    page.wait_for("bad", "stopped", "failed")
    end = time.monotonic() + 10
    while not (error := page.ask("api/studies/bad")[1]["error"]):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "label" in error


def first_event(page: RunningPage, study: str) -> dict:
    with urllib.request.urlopen(f"{page.url}api/studies/{study}/events", timeout=20) as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        return json.loads(events.readline().decode().removeprefix("data: "))


def test_boards_come_as_events(page, study):
    assert first_event(page, study)["name"] == study


def test_a_plan_and_a_comparison_come_from_the_commands(page, study, reviews):
    status, plan = page.ask(f"api/studies/{study}/plan", {})
    assert status == 200
    assert plan["plans"]
    status, answer = page.ask(f"api/studies/{study}/compare", {"with": study})
    assert status == 422 or answer["comparisons"]
    assert page.ask(f"api/studies/{study}/compare", {"with": "../x"})[0] == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": NaN}', b"\xff", b"1" * 5_000_000])
def test_a_body_that_is_no_object_is_refused(page, body):
    assert page.ask("api/recipe", body=body)[0] in (413, 422)


@pytest.mark.slow
def test_a_running_study_stops_and_goes_on_from_the_page(page, reviews):
    chosen = design(reviews, "long", models=["demo"], arms=["majority", "full"])
    chosen["settings"] = {"train.epochs": "3", "arms.full.learning_rate": "1e-4"}
    assert page.ask("api/studies", chosen)[0] == 200
    end = time.monotonic() + 90
    while not (page.folder / "long/arms/demo.full.seed0/steps.jsonl").exists():
        assert time.monotonic() < end, page.ask("api/studies/long")
        time.sleep(0.05)
    while page.wait_for("long", "running")["progress"]["stage"]["name"] != "train":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert page.ask("api/studies/long/go-on", {})[0] == 409
    assert page.ask("api/studies/long/stop", {})[0] == 200
    board = page.wait_for("long", "stopped")
    assert [arm["status"] for arm in board["arms"]] == ["done", "waiting"]
    assert not (page.folder / "long/progress.json").exists()
    assert page.ask("api/studies/long/stop", {})[0] == 409
    assert page.ask("api/studies/long/go-on", {})[0] == 200
    board = page.wait_for("long", "finished", timeout_s=120)
    assert [arm["status"] for arm in board["arms"]] == ["done", "done"]
    curves = page.ask("api/studies/long/curves/demo.full.seed0")[1]
    assert len(curves["dev"]) == 3
    assert curves["train"][0][0] == 1
    notes = json.loads((page.folder / "long/arms/demo.full.seed0/arm.json").read_text())["notes"]
    assert any("resumes after step" in note for note in notes)


def test_a_study_outlives_the_page(tmp_path, reviews):
    with running_page(tmp_path) as page:
        assert page.ask("api/studies", design(reviews, "lives"))[0] == 200
        pid = json.loads((tmp_path / ".ui/runs/lives.json").read_text())["pid"]
    assert os.getsid(pid) == pid or not psutil.pid_exists(pid), "it has a session of its own"
    with running_page(tmp_path) as page:
        assert page.wait_for("lives", "finished")["verdict"]


def test_the_command_refuses_what_is_not_this_machine_alone(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="for this machine alone"):
        serve_ui(tmp_path, Address(host="0.0.0.0"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(RecipeError, match="is a link"):
        serve_ui(tmp_path / "link", Address(port=0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["ui", str(tmp_path)]) == 2


SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ada lives in Rome.",
                    "qas": [
                        {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]},
                        {"id": "2", "question": "When?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ]
}
FEW = "category,message\n" + "a,good\nb,bad\n" * 8
TURNS = [{"role": "user", "content": "Is it good?"}, {"role": "assistant", "content": "yes"}]


@pytest.mark.parametrize(
    ("name", "rows", "kind", "guess", "predicted"),
    [
        ("squad.json", SQUAD, "questions", {"question": "question"}, "questions"),
        ("q.jsonl", [{"question": "Who?", "context": "Ada.", "answers": "A"}], "questions", {}, "questions"),
        ("m.jsonl", [{"messages": TURNS}], "messages", {}, "labels"),
        ("m.jsonl", [{"messages": TURNS}], "messages", {}, "answers"),
        ("a.jsonl", [{"text": "Say yes.", "answer": "Yes."}], "answers", {}, "answers"),
        ("y.csv", "body,y\nA text,0\nOther,1\nThird,0\n", "labels", {"text": "body", "label": "y"}, "labels"),
        ("few.csv", FEW, "labels", {"text": "message", "label": "category"}, "labels"),
    ],
)  # fmt: skip
def test_every_kind_of_file_is_recognised_and_gets_a_recipe(page, name, rows, kind, guess, predicted):
    if isinstance(rows, list):
        body = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        body = rows if isinstance(rows, str) else json.dumps(rows)
    status, file = page.ask(f"api/files?name={name}", body=body.encode())
    assert (status, file["kind"]) == (200, kind)
    assert guess.items() <= file["guess"].items()
    has_columns = file["columns"] and kind != "messages"
    columns = {role: column for role, column in file["guess"].items() if column} if has_columns else {}
    chosen = design(file, "kinds", kind=predicted, columns=columns, messages=kind == "messages")
    status, answer = page.ask("api/recipe", chosen)
    assert status == 200, answer
    assert f"{predicted}:" in answer["yaml"]


def test_a_data_set_on_the_hub_needs_its_commit_and_the_network(page, monkeypatch):
    status, answer = page.ask("api/preview", {"hub": "fancyzhx/ag_news"})
    assert (status, answer["error"]["where"]) == (422, "revision")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, answer = page.ask("api/preview", {"hub": "fancyzhx/ag_news", "revision": "0" * 40})
    assert status == 422
    assert "could not be downloaded at revision 000" in answer["error"]["problem"]


def test_a_data_set_on_the_hub_is_in_the_recipe(page):
    chosen = {**design({"path": ""}, "news"), "hub": "fancyzhx/ag_news", "revision": "0" * 40}
    status, answer = page.ask("api/recipe", {**chosen, "columns": {"text": "text", "label": "label"}})
    assert status == 200, answer
    assert "hub: fancyzhx/ag_news" in answer["yaml"]
    assert "path" not in answer["yaml"]
