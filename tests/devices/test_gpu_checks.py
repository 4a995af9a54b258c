"""`python -m benchmarks gpu`: its parts, and their forms without a card, from beginning to end."""

import json

import pytest
import torch
from benchmarks import gpu
from benchmarks.__main__ import main as benchmarks_main
from benchmarks.gpu_bench import FAILED, PASSED, SKIPPED, Bench, ProcessError
from benchmarks.gpu_models import SHAPES, config_of, model_folder, write_questions, write_reviews

ENOUGH_S = 3000.0


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench("cpu", True, tmp_path, ENOUGH_S)


def test_the_command_lists_its_parts_and_every_check_exists(capsys):
    assert benchmarks_main(["gpu"]) == 0
    listed = capsys.readouterr().out
    assert list(gpu.PARTS) == ["A", "B", "C", "D"]
    for part in gpu.PARTS:
        checks = gpu.checks_of(part)
        assert checks
        for name, check in checks.items():
            assert check.__doc__
            assert name in listed


def test_what_cannot_run_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = tmp_path / "checks"
    for words, sentence in (
        (["--device", "cuda"], "cuda is requested, but torch sees no CUDA device."),
        (["--only", "paritty"], "paritty is not a check of part A: environment, parity, "),
    ):
        assert gpu.main(["--part", "A", "--folder", str(folder), *words]) == 2
        assert capsys.readouterr().err.startswith(sentence)
    assert not folder.exists()


def test_a_check_that_cannot_end_costs_one_row_and_the_exit_code(tmp_path, capsys, monkeypatch):
    def ends_badly(bench: Bench) -> None:
        raise ProcessError("exit code 1: no room")

    def is_wrong(bench: Bench) -> None:
        raise ZeroDivisionError

    def holds(bench: Bench) -> None:
        """Nothing."""
        bench.report("holds", True, "as it should; ", far=0.5)

    checks = {"ends_badly": ends_badly, "is_wrong": is_wrong, "holds": holds}
    monkeypatch.setattr(gpu, "checks_of", lambda part: checks)
    words = ["--part", "A", "--device", "cpu", "--folder", str(tmp_path)]
    assert gpu.main(words) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(gpu.NO_CARD)
    assert "2 FAIL, 1 pass" in printed
    about = json.loads((tmp_path / "part-A.json").read_text())
    assert [(row["check"], row["outcome"]) for row in about["rows"]] == [
        ("ends_badly", FAILED),
        ("is_wrong", FAILED),
        ("holds", PASSED),
    ]
    assert about["rows"][2]["figures"] == {"far": 0.5}
    checks["is_wrong"] = holds
    assert gpu.main([*words, "--only", "is_wrong"]) == 0, "rows of the other checks stay in the file alone"
    about = json.loads((tmp_path / "part-A.json").read_text())
    assert [row["outcome"] for row in about["rows"]] == [FAILED, PASSED, PASSED]
    table = (tmp_path / "table.md").read_text()
    assert table.startswith("### no card (CPU forms)\n")
    assert "| A | ends_badly | FAIL | exit code 1: no room |" in table
    assert table.count("| pass |") == 2


def test_no_check_starts_when_the_time_is_spent(tmp_path):
    bench = Bench("cpu", True, tmp_path, 0.0)
    gpu.run_checks(bench, gpu.checks_of("A"))
    assert {row.outcome for row in bench.rows} == {SKIPPED}
    assert len(bench.rows) == len(gpu.checks_of("A"))
    assert "--only parity" in bench.rows[1].text


def test_a_process_that_ends_badly_is_named_by_its_last_line(bench):
    with pytest.raises(ProcessError, match=r"exit code 1 \(.*process-1.log\): TypeError: "):
        bench.call("json:dumps", strange=1)


@pytest.mark.parametrize(("name", "weights"), [("distilbert", 66_985_530), ("llama-1b", 1_235_814_400)])
def test_models_of_true_shape_have_the_published_number_of_weights(name, weights):
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    auto = AutoModelForMaskedLM if name == "distilbert" else AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(config_of(name, small=False))
    assert sum(weight.numel() for weight in model.parameters()) == weights


@pytest.mark.parametrize("name", SHAPES)
def test_a_small_form_is_written_once_and_its_tokenizer_knows_its_words(name, tmp_path):
    from transformers import AutoTokenizer

    reviews = write_reviews(tmp_path / "rows.csv", 40, 8, 20).read_text().splitlines()[1:]
    folder = model_folder(name, tmp_path, small=True)
    written = (folder / "model.safetensors").stat()
    assert written.st_size < 8 * 2**20
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == config_of(name, small=True).vocab_size
    for text in ("Is the review negative or positive ?", *(row.rpartition(",")[0] for row in reviews)):
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"], text
    assert model_folder(name, tmp_path, small=True) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written.st_mtime_ns


def test_reviews_are_balanced_and_answers_stand_where_they_are_said_to(tmp_path):
    lines = write_reviews(tmp_path / "rows.csv", 40, 8, 20).read_text().splitlines()[1:]
    assert len(set(lines)) == 40
    assert sum(line.endswith(",positive") for line in lines) == 20
    rows = [
        json.loads(line) for line in write_questions(tmp_path / "q.jsonl", 30, 40).read_text().splitlines()
    ]
    answered = [row for row in rows if row["answers"]["text"]]
    assert len(answered) == 20
    for row in answered:
        (start,), (text,) = row["answers"]["answer_start"], row["answers"]["text"]
        assert row["context"][start:].startswith(text)


@pytest.mark.slow
@pytest.mark.parametrize("part", gpu.PARTS)
def test_every_part_ends_well_without_a_card(part, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["--part", part, "--device", "cpu", "--folder", str(tmp_path), "--budget", str(ENOUGH_S)]
    code = gpu.main(words)
    rows = json.loads((tmp_path / f"part-{part}.json").read_text())["rows"]
    assert code == 0, [row for row in rows if row["outcome"] == FAILED]
    assert {row["function"] for row in rows} == set(gpu.checks_of(part))
