"""Uploads: private, complete, resumable; refusals say what to do."""

import logging
import os
from pathlib import Path

import pytest

from tests.publish.upload_stub import READS, WRITES, Repository
from tuneproof.cli.main import main
from tuneproof.publish import hub as hub_module
from tuneproof.publish.publish_arm import PUBLISHED, publish_arm

pytestmark = pytest.mark.usefixtures("quick")
ARM = "llama.full.seed0"


def send(decoder: Path, *options: str, arm: str = ARM) -> int:
    return main(["publish", str(decoder / "arms" / arm), "me/it", *options])


def writes(hub) -> list[str]:
    """The requests that change the hub."""
    return [r for r in hub.requests if not r.startswith("GET") and "validate" not in r]


def test_the_repository_is_the_folder_and_private(decoder, hub, tmp_path, capsys):
    assert send(decoder) == 0
    assert "uploaded and verified" in capsys.readouterr().out
    publish_arm(decoder / "arms" / ARM, "me/it", tmp_path / "to")
    repository = hub.repositories["me/it"]
    ours = {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()}
    assert {n: b for n, b in repository.files.items() if n != ".gitattributes"} == ours
    assert "model.safetensors" in repository.large
    assert repository.private
    assert list((decoder / PUBLISHED).iterdir()) == []


def test_public_makes_a_public_repository(decoder, hub):
    assert send(decoder, "--public") == 0
    assert not hub.repositories["me/it"].private


def test_the_token_is_in_no_file_and_no_message(decoder, hub, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    assert send(decoder) == 0
    hub.spoil["commit"] = "403"
    assert send(decoder, "--update", "--licence", "mit") == 1
    output = capsys.readouterr()
    assert caplog.records
    assert WRITES not in output.out + output.err + caplog.text
    for body in hub.repositories["me/it"].files.values():
        assert WRITES.encode() not in body
    for file in decoder.rglob("*"):
        assert not file.is_file() or WRITES.encode() not in file.read_bytes(), file


def test_a_report_with_the_token_is_not_uploaded(decoder, hub, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tuneproof.publish.publish_arm.make_card", lambda *_: f"it is {WRITES}")
    assert send(decoder) == 1
    output = capsys.readouterr()
    assert "README.md: holds the hub's token. Nothing is uploaded." in output.err
    assert WRITES not in output.out + output.err
    assert writes(hub) == []


def test_publishing_again_uploads_nothing(decoder, hub, capsys):
    assert send(decoder) == 0
    before = len(writes(hub))
    assert send(decoder) == 0
    assert len(writes(hub)) == before
    assert "0 files uploaded and verified" in capsys.readouterr().out


def test_another_arm_replaces_it_only_with_update(decoder, hub, capsys):
    assert send(decoder) == 0
    assert send(decoder, "--merged", arm="llama.head") == 2
    assert "add --update" in capsys.readouterr().err
    assert "head.safetensors" not in hub.repositories["me/it"].files
    assert send(decoder, "--base", "someone/base", "--update", arm="llama.head") == 0
    files = set(hub.repositories["me/it"].files)
    assert "head.safetensors" in files
    assert "model.safetensors" not in files


def test_an_interrupted_upload_continues(decoder, hub, capsys):
    hub.spoil["commit"] = "500"
    assert send(decoder) == 1
    assert "the hub answered 500. Nothing more is uploaded. Uploaded files are kept" in (
        capsys.readouterr().err
    )
    assert len(hub.blobs) == 1
    hub.spoil.clear()
    hub.requests.clear()
    assert send(decoder) == 0
    assert "PUT /blobs/" not in hub.requests  # the weights were there
    assert "model.safetensors" in hub.repositories["me/it"].files


def test_a_difference_after_the_upload_is_an_error(decoder, hub, capsys):
    hub.spoil["commit"] = "change"
    assert send(decoder) == 1
    assert "me/it: The repository differs from what was uploaded: README.md." in capsys.readouterr().err


def test_nothing_is_created_if_the_gate_fails(decoder, hub, monkeypatch, capsys):
    from tuneproof.publish import gate

    monkeypatch.setattr(gate, "predict_in_fresh_process", lambda *_, **__: [[0.0, 1.0]] * 12)
    assert send(decoder) == 1
    assert "do not reproduce the study" in capsys.readouterr().err
    assert writes(hub) == []
    assert "me/it" not in hub.repositories


def test_without_a_token_the_hub_is_not_queried(decoder, hub, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert send(decoder) == 2
    assert capsys.readouterr().err == (
        "tuneproof: publish: there is no token for the hub. Log in with `hf auth login`, set HF_TOKEN, "
        "or write a folder with --to.\n"
    )
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (READS, "the token may not write there (403): it is read-only, or me is not yours."),
        ("hf_" + "z" * 34, "the hub does not accept the token (401)."),
    ],
)
def test_a_token_without_write_access_is_refused(token, sentence, decoder, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", token)
    assert send(decoder) == 1
    output = capsys.readouterr().err
    assert sentence in output
    assert token not in output
    assert "me/it" not in hub.repositories


def test_another_repository_of_that_name_is_left_alone(decoder, hub, capsys):
    hub.repositories["me/it"] = Repository(True, {"README.md": b"mine"})
    assert send(decoder) == 2
    assert "me/it: The repository exists and holds 1 files. Name another repository, or add --update" in (
        capsys.readouterr().err
    )
    assert writes(hub) == []


@pytest.mark.parametrize(
    ("private", "options", "sentence"),
    [
        (False, [], "The repository exists and is public."),
        (True, ["--public"], "--public applies only to a new repository."),
    ],
)
def test_an_existing_repository_keeps_its_visibility(private, options, sentence, decoder, hub, capsys):
    hub.repositories["me/it"] = Repository(private)
    assert send(decoder, *options) == 2
    assert sentence in capsys.readouterr().err


def test_a_change_by_someone_else_meanwhile_is_not_overwritten(decoder, hub, monkeypatch, capsys):
    read_repository = hub_module.read_repository

    def read_before_another_commit(repo):
        remote = read_repository(repo)
        if remote is not None:
            hub.repositories[repo].commits += 1
        return remote

    monkeypatch.setattr(hub_module, "read_repository", read_before_another_commit)
    assert send(decoder) == 1
    assert "someone else changed the repository meanwhile (412)." in capsys.readouterr().err


def test_an_unreachable_hub_is_an_error(decoder, hub, monkeypatch, capsys):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert send(decoder) == 1
    assert "the hub could not be reached" in capsys.readouterr().err


def test_without_a_local_licence_the_hubs_is_used(decoder, hub):
    assert send(decoder, "--base", "someone/base", arm="llama.lora.seed0") == 0
    card = hub.repositories["me/it"].files["README.md"].decode()
    assert "\nlicense: cc-by-4.0\n" in card
    assert "licence is not known" not in card
    options = ["--base", "someone/base", "--licence", "mit", "--update"]
    assert send(decoder, *options, arm="llama.lora.seed0") == 0
    assert "\nlicense: mit\n" in hub.repositories["me/it"].files["README.md"].decode()


def test_a_base_that_is_not_on_the_hub_is_refused(decoder, hub, capsys):
    assert send(decoder, "--base", "no/where", arm="llama.lora.seed0") == 2
    assert capsys.readouterr().err == (
        "tuneproof: no/where: the hub has no such base model, or the token cannot see it. Name the base's "
        "repository with --base, or use --merged instead of --base.\n"
    )
    assert writes(hub) == []


@pytest.mark.parametrize("name", ["it", "me/it/that", "me/..", "--x/y", "me/a b", ""])
def test_an_invalid_name_is_refused(name, decoder, hub, capsys):
    options = ["publish", str(decoder / "arms" / ARM), "--", name]
    assert main(options) == 2
    assert "is not a name of a repository." in capsys.readouterr().err
    assert hub.requests == []


def test_writing_a_folder_does_not_query_the_hub(decoder, hub, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert send(decoder, "--to", str(tmp_path / "to")) == 0
    assert hub.requests == []
    assert os.stat(tmp_path / "to" / "README.md").st_mode & 0o77 == 0
