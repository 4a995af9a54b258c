"""What a study says about where it was made."""

import json
import subprocess

from tuneproof.record.provenance import PACKAGES, git_state, hardware, provenance, versions


def test_versions_are_those_that_are_installed() -> None:
    import torch

    found = versions()
    assert set(found) == {"python", *PACKAGES}
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_it_is_json_and_names_no_secret(monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    text = json.dumps(provenance("tuneproof run recipe.yaml"))
    assert "hf_very_secret" not in text
    assert json.loads(text)["command"] == "tuneproof run recipe.yaml"
    assert json.loads(text)["made_at"].endswith("+00:00")
    assert hardware()["memory_bytes"] > 0


def test_a_checkout_has_a_commit_and_says_whether_it_was_changed(tmp_path) -> None:
    assert git_state(tmp_path) is None

    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *words],
            check=True,
            capture_output=True,
        )

    git("init")
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "-m", "a")
    state = git_state(tmp_path)
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["changed"] is False
    (tmp_path / "a").write_text("b")
    assert git_state(tmp_path)["changed"] is True
