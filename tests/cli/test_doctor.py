"""doctor: what is installed, what is missing, and how to fix it; no token leaves the machine."""

import importlib.metadata
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuneproof.cli import doctor
from tuneproof.cli.doctor import Check, examine
from tuneproof.cli.main import main


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def check(name: str) -> Check:
    return next(check for check in examine() if check.name == name)


@pytest.fixture
def hub():
    """A hub on this machine that records the headers of every request."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *parts: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def test_everything_that_a_study_needs_has_a_check():
    names = [check.name for check in examine()]
    required = [
        "python",
        "tuneproof",
        "torch",
        "transformers",
        "peft",
        "tokenizers",
        "datasets",
        "numpy",
        "bitsandbytes",
        "cpu",
        "threads",
        "memory",
        "hub",
        "token",
        "current folder",
        "cache",
        "wordnet",
    ]
    assert [name for name in required if name not in names] == []
    assert len(names) == len(set(names))


def test_whatever_is_not_fine_has_a_fix():
    assert all(check.fix for check in examine() if check.state != "fine")


def test_a_machine_that_can_run_a_study_ends_with_0(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "✓ torch" in printed
    assert main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {"name", "detail", "state", "fix"} == set(checks[0])


@pytest.mark.parametrize("version", [None, "1.0.0"])
def test_a_missing_or_old_package_ends_with_1(version, monkeypatch, capsys):
    real = importlib.metadata.version

    def fake(name: str) -> str:
        if name != "pyarrow":
            return real(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(doctor, "version", fake)
    assert main(["doctor"]) == 1
    assert "✗ pyarrow" in (printed := capsys.readouterr().out)
    assert "pip install" in printed


def test_what_only_some_studies_need_is_no_failure(monkeypatch):
    real = importlib.metadata.version

    def fake(name: str) -> str:
        if name in ("bitsandbytes", "tensorboard"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", fake)
    monkeypatch.setattr(doctor, "wordnet_folder", lambda: None)
    checks = {check.name: check for check in examine()}
    assert checks["bitsandbytes"].state == "note"
    assert "qlora" in checks["bitsandbytes"].fix
    assert checks["wordnet"].state == "note"
    assert "METEOR" in checks["wordnet"].fix
    assert main(["doctor"]) == 0


def test_the_hub_is_not_contacted_when_offline_is_set(monkeypatch, hub):
    address, seen = hub
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert "HF_HUB_OFFLINE is set" in check("hub").detail
    assert seen == []


def test_the_hub_is_contacted_without_the_token(monkeypatch, hub):
    address, seen = hub
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert check("hub") == Check("hub", f"{address} answers")
    assert len(seen) == 1
    assert "authorization" not in seen[0]
    assert "hf_" not in str(seen)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9", "file:///etc/passwd", "http://user:pw-x@127.0.0.1:9"]
)
def test_a_hub_that_does_not_answer_is_no_failure(monkeypatch, address, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert check("hub").state in ("note", "problem")
    assert main(["doctor"]) == 0
    assert "pw-x" not in capsys.readouterr().out


def test_a_token_is_never_shown(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "set (not shown)" in printed
    assert "hf_abc" not in printed


@pytest.mark.skipif(os.name != "posix", reason="no modes here")
def test_a_token_that_others_can_read_is_a_problem(monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text("hf_abcdefghijklmnopqrstuvwxyz")
    file.chmod(0o644)
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(file))
    assert check("token").state == "problem"
    assert check("token").fix == f"chmod 600 {file}"
    file.chmod(0o600)
    assert check("token").state == "fine"


def test_a_folder_that_cannot_be_written_or_is_full_is_a_problem(monkeypatch, tmp_path):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    folder = check("current folder")
    assert folder.state == "problem"
    assert "not writable (Permission denied)" in folder.detail
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "MIN_DISK_BYTES", 2**60)
    assert doctor._folder("x", tmp_path / "not" / "there", "").state == "problem"


def test_more_threads_than_cores_are_a_problem(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert check("threads").state == "problem"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert check("threads").state == "fine"


def test_little_memory_is_a_problem(monkeypatch):
    monkeypatch.setattr("tuneproof.memory.usage.free_bytes", lambda device: 2**20)
    assert check("memory").state == "problem"


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_has_its_memory_and_precisions(monkeypatch, native):
    fake = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda index: SimpleNamespace(name="Tesla T4"),
        "is_bf16_supported": lambda including_emulation=True: native or including_emulation,
        "mem_get_info": lambda index: (14 * 2**30, 15 * 2**30),
    }
    for name, value in fake.items():
        monkeypatch.setattr(f"torch.cuda.{name}", value)
    gpu = check("cuda:0")
    assert gpu.detail.startswith("Tesla T4, 14.0 GiB of 15.0 GiB free; fp32, ")
    assert ("emulated" in gpu.detail) != native


def test_a_gpu_that_torch_does_not_see_is_a_problem(monkeypatch):
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/proc/driver/nvidia/version" or real(self))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)
    assert check("cuda").state == "problem"
    assert "built for CPUs" in check("cuda").fix


def test_nothing_is_left_behind(tmp_path):
    examine()
    assert list(Path(tmp_path).iterdir()) == []
