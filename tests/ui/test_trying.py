"""The page tries finished arms, labels files, corrects labels and delivers; it refuses what it must."""

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

import tuneproof
from tests.arms.questions import question_recipe, question_rows
from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tuneproof.apply.http_requests import LOOPBACK, HttpError
from tuneproof.cli.main import main
from tuneproof.errors import RunError
from tuneproof.publish.gate import GateResult
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import Items, read_items
from tuneproof.ui import arm_servers, correcting, studies, waiting
from tuneproof.ui.app import Page, application
from tuneproof.ui.arm_servers import ArmServers
from tuneproof.ui.commands import PROGRAM, CommandError, Commands
from tuneproof.ui.nearest_items import NearestItems
from tuneproof.ui.routes import ROUTES

PATIENCE_S = 60
STUB = """import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["texts"]
        if texts == ["end"]: sys.exit()
        body = json.dumps({"predictions": texts, "error": "too many"}).encode()
        self.send_response(422 if texts == ["refuse"] else 200)
        self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *parts): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
if "broken" in sys.argv[2]: sys.exit("tuneproof: broken: its weights are missing.")
print(f"lexical answers at http://127.0.0.1:1. Ctrl-C stops it.x answers at "
      f"http://127.0.0.1:{server.server_port}. Ctrl-C stops it.", flush=True)
server.serve_forever()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with two finished studies: tiny has labels, questions has questions."""
    folder = tmp_path_factory.mktemp("page")
    run_recorded(small_recipe(folder, [], ["majority", "lexical"], out="tiny"))
    run_recorded(question_recipe(folder, [], ["majority", "lexical"], out="questions"))
    return folder


@pytest.fixture(scope="module")
def client(folder):
    with client_of(page_of(folder)) as client:
        yield client


@pytest.fixture(scope="module")
def upload(client) -> str:
    """The path of a dropped file of three texts."""
    body = "review,mine\nvery good film,1\nit was bad,2\n=1+1 very good,3\n"
    answer = client.post("api/files?name=new%20one.csv", content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["path"]


class CommandsHere(Commands):
    """Runs the command line in this process, which has imported everything already."""

    async def output(self, purpose: str, words: Sequence[str], program: Sequence[str] = PROGRAM) -> Any:
        if program != PROGRAM:
            return await super().output(purpose, words, program)

        def run() -> str:
            with redirect_stdout(io.StringIO()) as printed:
                main(words)
            return printed.getvalue()

        value = json.loads(await asyncio.to_thread(run))
        if "error" in value:
            raise CommandError(value["error"])
        return value


def page_of(folder: Path) -> Page:
    return Page(folder, "token", LOOPBACK, max_upload_bytes=1 << 20, commands=CommandsHere())


def client_of(page: Page) -> TestClient:
    return TestClient(application(page, ROUTES), base_url="http://127.0.0.1/token/")


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, " ".join(response.json()["error"].values())


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def ends(pid: int) -> bool:
    until = time.monotonic() + PATIENCE_S
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


def test_the_recommended_arm_comes_first_and_each_has_its_score(client):
    value = client.get("api/studies/tiny/trying").json()
    assert [arm["folder"] for arm in value["arms"]] == ["lexical", "majority"]
    assert [arm["recommended"] for arm in value["arms"]] == [True, False]
    assert value["arms"][0]["score"]["value"] > value["arms"][1]["score"]["value"]
    assert (value["kind"], value["why_not_correctable"]) == ("labels", "")


def test_a_served_arm_gives_the_page_what_the_loaded_arm_predicts_and_is_reused(client, folder):
    texts = read_items(folder / "tiny", "test").texts[:3]
    values = [
        client.post("api/studies/tiny/arms/lexical/predict", json={"texts": texts}).json() for _ in "ab"
    ]
    assert values[0] == values[1]
    expected = tuneproof.load(folder / "tiny" / "arms" / "lexical").predict(texts)
    rows = values[0]["predictions"]
    assert [row["label"] for row in rows] == expected.predicted_labels
    assert [list(row["probabilities"].values()) for row in rows] == expected.probabilities_NC.tolist()
    body = {"texts": ["good"], "abstain": 0.0001}
    refused = client.post("api/studies/tiny/arms/lexical/predict", json=body)
    assert problem(refused)[0] == 422
    assert "cannot show an error" in problem(refused)[1]


BAD_BODIES = [
    (b"{", 422, "must be a JSON object"),
    (b"[]", 422, "must be a JSON object"),
    (b'{"text": ["a"]}', 422, "allowed keys: texts, abstain"),
    (b'{"questions": ["a"], "contexts": ["b"]}', 422, "allowed keys: texts, abstain"),
    (b'{"texts": "a"}', 422, "must be a list"),
    (b'{"texts": []}', 422, "holds no text"),
    (b'{"texts": [1]}', 422, "not a text"),
    (b'{"texts": [" "]}', 422, "the text is empty"),
    (b'{"texts": ["\\ud83d"]}', 422, "half of a character"),
    (json.dumps({"texts": ["a"] * 257}).encode(), 422, "257 items, of at most 256"),
    (json.dumps({"texts": ["a" * (1 << 20)]}).encode(), 413, "larger than 1,048,576 bytes"),
    (b'{"texts": ["a"], "abstain": 2}', 422, "between 0 and 1"),
]


@pytest.mark.parametrize(("body", "status", "message"), BAD_BODIES)
def test_a_bad_body_is_refused_before_a_server_starts(folder, body, status, message):
    page = page_of(folder)
    with client_of(page) as client:
        code, sentence = problem(client.post("api/studies/tiny/arms/majority/predict", content=body))
    assert (code, message in sentence, "arm_servers" in page.own) == (status, True, False), sentence


@pytest.mark.parametrize("name", ["nowhere", "..", "%2e%2e", "..%2f..%2ftiny", "lexical%00", "-h", "a" * 200])
def test_names_that_are_no_arm_or_no_study_lead_nowhere(client, name):
    for path in (f"tiny/arms/{name}/predict", f"{name}/arms/lexical/predict", f"tiny/arms/{name}/export"):
        response = client.post(f"api/studies/{path}", json={"texts": ["a"], "format": "merged"})
        assert response.status_code == 404, response.text


def test_a_link_and_an_unfinished_arm_are_not_tried(folder, client):
    arms = folder / "tiny" / "arms"
    (arms / "link").symlink_to(arms / "lexical")
    (arms / "undone").mkdir()
    (arms / "undone" / "arm.json").write_text('{"arm": "undone", "status": "failed", "labels": []}')
    try:
        for name, status in (("link", 404), ("undone", 409)):
            response = client.post(f"api/studies/tiny/arms/{name}/predict", json={"texts": ["a"]})
            assert response.status_code == status, response.text
    finally:
        (arms / "link").unlink()
        (arms / "undone" / "arm.json").unlink()
        (arms / "undone").rmdir()


@pytest.fixture
def stub_arms(tmp_path, monkeypatch) -> list[Path]:
    """Three arms whose servers echo, start at once and end at the text `end`; the last cannot be served."""
    (tmp_path / "stub_server.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(arm_servers, "PROGRAM", (sys.executable, "-m", "stub_server"))
    folders = [tmp_path / name for name in ("a", "b", "broken")]
    for folder in folders:
        folder.mkdir()
        (folder / "arm.json").write_text("{}")
    return folders


def body_of(text: str) -> bytes:
    return json.dumps({"texts": [text]}).encode()


def test_of_more_arms_than_may_be_served_the_least_recently_used_ends(stub_arms):
    async def scenario() -> None:
        servers = ArmServers(at_once=1)
        first, second, broken = stub_arms
        assert (await servers.predict(first, body_of("x")))["predictions"] == ["x"]
        pid = servers.pids["a"]
        await servers.predict(first, body_of("y"))
        assert servers.pids == {"a": pid}
        await asyncio.gather(*(servers.predict(second, body_of("z")) for _ in range(5)))
        assert (list(servers.pids), is_alive(pid)) == (["b"], False)
        with pytest.raises(CommandError, match="its weights are missing"):
            await servers.predict(broken, body_of("x"))
        await servers.predict(second, body_of("x"))
        pid = servers.pids["b"]
        await servers.close()
        assert not is_alive(pid)

    asyncio.run(scenario())


def test_an_arm_that_was_run_again_is_served_anew(stub_arms):
    async def scenario() -> None:
        servers = ArmServers()
        await servers.predict(stub_arms[0], body_of("x"))
        pid = servers.pids["a"]
        os.utime(stub_arms[0] / "arm.json", ns=(1, 1))
        await servers.predict(stub_arms[0], body_of("x"))
        assert servers.pids["a"] != pid
        assert not is_alive(pid)
        await servers.close()

    asyncio.run(scenario())


def test_a_server_ends_when_idle_and_one_that_died_is_started_again(stub_arms):
    async def scenario() -> None:
        servers = ArmServers(idle_s=0.2)
        with pytest.raises(HttpError, match="too many") as refused:
            await servers.predict(stub_arms[0], body_of("refuse"))
        assert refused.value.status == 422
        pid = servers.pids["a"]
        with pytest.raises(HttpError, match="ended before it answered") as ended:
            await servers.predict(stub_arms[0], body_of("end"))
        assert ended.value.status == 503
        await servers.predict(stub_arms[0], body_of("x"))
        again = servers.pids["a"]
        assert again != pid
        await asyncio.sleep(1)
        assert servers.pids == {}
        assert ends(again)
        await servers.close()

    asyncio.run(scenario())


def test_the_page_leaves_no_server_behind(folder, stub_arms):
    page = page_of(folder)
    with client_of(page) as client:
        assert client.post("api/studies/tiny/arms/lexical/predict", json={"texts": ["a"]}).status_code == 200
        pid = page.own["arm_servers"].pids["lexical"]
        assert is_alive(pid)
    assert ends(pid)


def test_a_page_that_is_killed_leaves_no_server_behind(folder, stub_arms):
    program = (
        "import asyncio, sys, time\nfrom pathlib import Path\n"
        "from tuneproof.ui import arm_servers\n"
        "arm_servers.PROGRAM = (sys.executable, '-m', 'stub_server')\n"
        "async def main():\n"
        "    servers = arm_servers.ArmServers()\n"
        '    await servers.predict(Path(sys.argv[1]), b\'{"texts": ["a"]}\')\n'
        "    print(servers.pids['majority'], flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())"
    )
    arm = folder / "tiny" / "arms" / "majority"
    parent = subprocess.Popen([sys.executable, "-c", program, str(arm)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert ends(pid)


def test_the_nearest_training_items_come_first(client, folder):
    items = read_items(folder / "tiny", "train")
    value = client.post("api/studies/tiny/nearest", json={"text": items.texts[7].upper()}).json()
    assert (value["compared"], value["of"]) == (len(items.ids), len(items.ids))
    nearest = value["items"]
    assert (nearest[0]["id"], nearest[0]["label"]) == (items.ids[7], items.golds[7])
    assert nearest[0]["similarity"] == pytest.approx(1, abs=1e-3)
    similarities = [item["similarity"] for item in nearest]
    assert (len(nearest), similarities) == (5, sorted(similarities, reverse=True))
    assert client.post("api/studies/tiny/nearest", json={"text": "xyzzy"}).json()["items"] == []
    for body in ({}, {"text": " "}, {"text": ["a"]}):
        assert client.post("api/studies/tiny/nearest", json=body).status_code == 422


def test_of_many_train_items_a_sample_is_compared_and_its_size_is_in_the_answer(folder):
    value = NearestItems(folder / "tiny", max_items=10).nearest("film")
    assert (value["compared"], value["of"]) == (10, len(read_items(folder / "tiny", "train").ids))


def test_train_items_without_words_are_compared_by_their_characters(folder, monkeypatch):
    items = Items(["a", "b"], ["!!! ???", ":-) :-)"], ["x", "y"], ["a", "b"])
    monkeypatch.setattr("tuneproof.ui.nearest_items.read_items", lambda study, part: items)
    value = NearestItems(folder / "tiny").nearest("well :-)")
    assert [item["id"] for item in value["items"]] == ["b"]


def test_a_dropped_file_is_labelled_and_downloaded(client, folder, upload):
    body = {"path": upload, "text": "review"}
    value = client.post("api/studies/tiny/arms/lexical/label-file", json=body).json()
    assert (value["rows"], value["name"]) == (3, "new one.labelled.csv")
    assert sum(value["predicted"].values()) == 3
    response = client.get(value["download"])
    assert response.headers["content-disposition"].startswith("attachment; filename")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    texts = ["very good film", "it was bad", "=1+1 very good"]
    expected = tuneproof.load(folder / "tiny" / "arms" / "lexical").predict(texts)
    assert [row["predicted"] for row in rows] == expected.predicted_labels
    assert [row["mine"] for row in rows] == ["1", "2", "3"]


def test_a_file_without_the_column_is_refused_with_its_columns(client, folder, upload):
    body = {"path": upload, "text": "--output=x"}
    status, sentence = problem(client.post("api/studies/tiny/arms/lexical/label-file", json=body))
    assert (status, "has no column '--output=x'. Its columns: review, mine." in sentence) == (422, True)
    assert [path for path in (folder / ".ui" / "labelled").iterdir() if not any(path.iterdir())] == []


def test_only_dropped_files_are_labelled(client, folder, upload):
    link = Path(upload).parent / "link.csv"
    link.symlink_to(folder / "rows-2.csv")
    paths = ["", "/etc/passwd", str(folder / "rows-2.csv"), f"{upload}/../../../rows-2.csv", str(link)]
    for path in [*paths, str(Path(upload).parent), "a\0b", "x" * 5000, str(folder / "uploads")]:
        body = {"path": path, "text": "text"}
        status, sentence = problem(client.post("api/studies/tiny/arms/lexical/label-file", json=body))
        assert (status, "was not dropped on this page" in sentence) == (422, True), path
    link.unlink()


@pytest.mark.parametrize(
    "body", [{"path": 1}, {"text": ["review"]}, {"abstain": "0.1"}, {"abstain": True}, {"abstain": 1}]
)
def test_a_bad_request_for_a_file_is_refused(client, upload, body):
    path = "api/studies/tiny/arms/lexical/label-file"
    assert client.post(path, json={"path": upload, **body}).status_code == 422


@pytest.mark.parametrize("path", ["x/y", "0" * 16 + "/x.csv", "..%2f..%2f/rows-2.csv", "../uploads/x.csv"])
def test_only_labelled_files_are_downloaded(client, path):
    assert client.get(f"labelled/{path}").status_code == 404


def test_a_study_of_questions_answers_a_file_and_names_the_answers_of_similar_items(client):
    value = client.get("api/studies/questions/trying").json()
    assert (value["kind"], bool(value["why_not_correctable"])) == ("questions", True)
    row = next(row for row in question_rows() if row["answers"])
    text = f"{row['question']}\n{row['context']}"
    nearest = client.post("api/studies/questions/nearest", json={"text": text}).json()["items"]
    answers = {line["id"]: (line["answers"] or [""])[0] for line in question_rows()}
    assert [item["label"] for item in nearest] == [answers[item["id"]] for item in nearest]
    refused = client.post("api/studies/questions/arms/lexical/predict", json={"texts": ["a"]})
    assert "allowed keys: questions, contexts" in problem(refused)[1]
    content = "".join(json.dumps(line) + "\n" for line in question_rows(8))
    file = client.post("api/files?name=new.jsonl", content=content).json()
    address = "api/studies/questions/arms/lexical/label-file"
    answered = client.post(address, json={"path": file["path"]}).json()
    assert (answered["rows"], answered["name"]) == (8, "new.labelled.jsonl")
    lines = [json.loads(line) for line in client.get(answered["download"]).text.splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in question_rows(8)]
    for body in ({"text": "context"}, {"abstain": 0.1}):
        refused = problem(client.post(address, json={"path": file["path"], **body}))
        assert (refused[0], "is for labels, but this arm" in refused[1]) == (422, True)


def test_long_work_is_asked_for_again(client, upload, monkeypatch):
    monkeypatch.setattr(waiting, "WAIT_S", 0.0)  # however quick the work is
    body = {"path": upload, "text": "review"}
    response = client.post("api/studies/tiny/arms/majority/label-file", json=body)
    assert response.status_code == 202
    monkeypatch.setattr(waiting, "WAIT_S", PATIENCE_S)
    address = f"api/waiting/{response.json()['waiting']}"
    assert client.get(address).json()["rows"] == 3
    assert client.get(address).status_code == 404


def test_suspected_label_errors_come_with_the_labels_to_choose_from(client):
    value = client.post("api/studies/tiny/label-errors").json()
    assert value["labels"] == ["negative", "positive"]
    assert value["total"] == len(value["rows"])
    assert value["sentences"]
    assert not any("label_errors.csv) " in text for text in value["sentences"])


def test_a_corrected_study_starts_with_the_labels_and_is_linked_to_the_old_one(client, folder, monkeypatch):
    started: list[Any] = []
    monkeypatch.setattr(studies, "start_study", lambda page, name, words: started.append((name, words)))
    items = read_items(folder / "tiny", "train")
    wrong = items.ids[0]
    other = {"negative": "positive", "positive": "negative"}[items.golds[0]]
    corrections = {wrong: other, items.ids[1]: items.golds[1]}
    value = client.post("api/studies/tiny/corrected", json={"corrections": corrections}).json()
    assert value == {"study": "tiny-corrected", "corrects": "tiny", "items": 1}
    (name, (command, recipe)) = started[0]
    assert (name, command) == ("tiny-corrected", "run")
    run_recorded(read_recipe(Path(recipe)))
    new = read_items(folder / "tiny-corrected", "train")
    assert new.ids == items.ids
    assert [a != b for a, b in zip(new.golds, items.golds, strict=True)] == [id == wrong for id in items.ids]
    assert client.get("api/studies/tiny/trying").json()["corrected_in"] == ["tiny-corrected"]
    assert client.get("api/studies/tiny-corrected/trying").json()["corrects"]["study"] == "tiny"


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        (None, "must be {id: label}"),
        (["a"], "must be {id: label}"),
        ({"a": 1}, "must be {id: label}"),
        ({}, "change no label"),
        ({"nobody": "positive"}, "is the id of no item"),
        ("unknown label", "is not a label"),
    ],
)
def test_corrections_of_no_item_or_to_no_label_are_refused(client, folder, corrections, message):
    if corrections == "unknown label":
        corrections = {read_items(folder / "tiny", "dev").ids[0]: "<b>"}
    response = client.post("api/studies/tiny/corrected", json={"corrections": corrections})
    assert (response.status_code, message in problem(response)[1]) == (422, True), response.text


def test_labels_of_a_public_task_cannot_be_corrected_on_the_page():
    own = {"task": {"labels": {"path": "a.csv"}}}
    assert correcting.why_not_correctable(own) == ""
    for task in (
        "sst2",
        {"sst2": {}},
        {"labels": {"hub": "a/b", "path": None}},
        {"questions": {"path": "a"}},
    ):
        assert correcting.why_not_correctable({"task": task})


def test_an_export_that_is_refused_says_why(client):
    body = {"format": "merged", "margin": 2}
    status, sentence = problem(client.post("api/studies/tiny/arms/lexical/export", json=body))
    assert (status, "lexical is a baseline of scikit-learn." in sentence) == (422, True)
    for wrong in ({"format": 1}, {"format": "onnx", "margin": "1"}, {"format": "--to"}):
        assert client.post("api/studies/tiny/arms/lexical/export", json=wrong).status_code == 422


def test_the_gate_s_outcome_is_the_answer_and_a_publication_that_passed_names_the_upload(
    client, folder, monkeypatch
):
    refusal = RunError("the written files", "do not reproduce the study's predictions.")
    outcomes: list[Any] = [refusal, GateResult(12, 1e-7, 1e-6, "of a probability")]

    def run_gate(*parts: Any) -> GateResult:
        outcome = outcomes.pop(0)
        if isinstance(outcome, RunError):
            raise outcome
        return outcome

    monkeypatch.setattr("tuneproof.publish.publish_arm.run_gate", run_gate)
    address = "api/studies/tiny/arms/lexical/publish"
    body = {"repo": "owner/name", "report": True, "licence": "mit"}
    status, sentence = problem(client.post(address, json=body))
    assert (status, "do not reproduce the study's predictions" in sentence) == (422, True)
    assert not list((folder / ".ui" / "published").iterdir())
    value = client.post(address, json=body).json()
    assert (value["items"], value["difference"], value["tolerance"]) == (12, 1e-7, 1e-6)
    to = Path(value["folder"])
    assert to.is_relative_to(folder / ".ui" / "published")
    assert (to / "README.md").is_file()
    arm = folder / "tiny" / "arms" / "lexical"
    assert value["upload_command"] == f"tuneproof publish {arm} owner/name --report --licence=mit"


@pytest.mark.parametrize("repo", ["", "--public", "no slash", None, 3])
def test_a_repository_that_is_no_name_is_refused(client, repo):
    response = client.post("api/studies/tiny/arms/lexical/publish", json={"repo": repo})
    assert response.status_code == 422, response.text
