"""Sending: the repository is the folder, private, made once, gone on with; refusals say what to do."""

import logging
import os
from pathlib import Path

import pytest

from tests.publish.upload_stub import READS, WRITES, Repository
from tuneproof.cli.main import main
from tuneproof.publish import hub as sending
from tuneproof.publish.publish import PUBLISHED, publish

pytestmark = pytest.mark.usefixtures("quick")
ARM = "llama.full.seed0"


def send(decoder: Path, *words: str, arm: str = ARM) -> int:
    return main(["publish", str(decoder / "arms" / arm), "me/it", *words])


def writes(hub) -> list[str]:
    """What was asked of the hub that changes it."""
    return [asked for asked in hub.asked if not asked.startswith("GET") and "validate" not in asked]


def test_the_repository_is_the_folder_and_private(decoder, hub, tmp_path, capsys):
    assert send(decoder) == 0
    assert "read back and equal" in capsys.readouterr().out
    publish(decoder / "arms" / ARM, "me/it", tmp_path / "to")
    there = hub.repositories["me/it"]
    ours = {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()}
    assert {n: b for n, b in there.files.items() if n != ".gitattributes"} == ours
    assert "model.safetensors" in there.large
    assert there.private
    assert list((decoder / PUBLISHED).iterdir()) == []


def test_public_is_said(decoder, hub):
    assert send(decoder, "--public") == 0
    assert not hub.repositories["me/it"].private


def test_the_token_is_in_no_file_and_no_word(decoder, hub, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    assert send(decoder) == 0
    hub.spoil["commit"] = "403"
    assert send(decoder, "--update", "--licence", "mit") == 1
    said = capsys.readouterr()
    assert caplog.records
    assert WRITES not in said.out + said.err + caplog.text
    for body in hub.repositories["me/it"].files.values():
        assert WRITES.encode() not in body
    for file in decoder.rglob("*"):
        assert not file.is_file() or WRITES.encode() not in file.read_bytes(), file


def test_a_report_with_the_token_is_not_sent(decoder, hub, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tuneproof.publish.publish.make_card", lambda *_: f"it is {WRITES}")
    assert send(decoder) == 1
    said = capsys.readouterr()
    assert "README.md: holds the hub's token. Nothing is uploaded." in said.err
    assert WRITES not in said.out + said.err
    assert writes(hub) == []


def test_the_same_again_sends_nothing(decoder, hub, capsys):
    assert send(decoder) == 0
    before = len(writes(hub))
    assert send(decoder) == 0
    assert len(writes(hub)) == before
    assert "0 files sent, read back and equal" in capsys.readouterr().out


def test_another_arm_replaces_it_only_where_that_is_said(decoder, hub, capsys):
    assert send(decoder) == 0
    assert send(decoder, "--merged", arm="llama.head") == 2
    assert "add --update" in capsys.readouterr().err
    assert "head.safetensors" not in hub.repositories["me/it"].files
    assert send(decoder, "--base", "someone/base", "--update", arm="llama.head") == 0
    files = set(hub.repositories["me/it"].files)
    assert "head.safetensors" in files
    assert "model.safetensors" not in files


def test_an_upload_that_broke_off_goes_on(decoder, hub, capsys):
    hub.spoil["commit"] = "500"
    assert send(decoder) == 1
    assert "the hub answered 500. Nothing more is uploaded. What was sent is kept" in (
        capsys.readouterr().err
    )
    assert len(hub.blobs) == 1
    hub.spoil.clear()
    hub.asked.clear()
    assert send(decoder) == 0
    assert "PUT /blobs/" not in hub.asked  # the weights were there
    assert "model.safetensors" in hub.repositories["me/it"].files


def test_what_the_hub_holds_otherwise_is_told(decoder, hub, capsys):
    hub.spoil["commit"] = "change"
    assert send(decoder) == 1
    assert "me/it: does not hold what was sent: README.md differs." in capsys.readouterr().err


def test_where_the_gate_does_not_open_nothing_is_made(decoder, hub, monkeypatch, capsys):
    from tuneproof.publish import gate

    monkeypatch.setattr(gate, "ask", lambda *_, **__: [[0.0, 1.0]] * 12)
    assert send(decoder) == 1
    assert "does not reproduce the study" in capsys.readouterr().err
    assert writes(hub) == []
    assert "me/it" not in hub.repositories


def test_without_a_token_nothing_is_asked(decoder, hub, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert send(decoder) == 2
    assert capsys.readouterr().err == (
        "tuneproof: publish: there is no token for the hub. Log in with `hf auth login`, set HF_TOKEN, "
        "or write a folder with --to.\n"
    )
    assert hub.asked == []


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (READS, "the token may not write there (403): it reads only, or me is not yours."),
        ("hf_" + "z" * 34, "the hub does not know the token (401)."),
    ],
)
def test_a_token_without_the_right_says_so(token, sentence, decoder, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", token)
    assert send(decoder) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert token not in said
    assert "me/it" not in hub.repositories


def test_another_repository_of_that_name_is_left_alone(decoder, hub, capsys):
    hub.repositories["me/it"] = Repository(True, {"README.md": b"mine"})
    assert send(decoder) == 2
    assert "me/it: is there and holds 1 files. Name another repository, or add --update" in (
        capsys.readouterr().err
    )
    assert writes(hub) == []


@pytest.mark.parametrize(
    ("private", "words", "sentence"),
    [
        (False, [], "is there and open to everyone."),
        (True, ["--public"], "--public is for a repository that is made."),
    ],
)
def test_what_is_there_keeps_its_door(private, words, sentence, decoder, hub, capsys):
    hub.repositories["me/it"] = Repository(private)
    assert send(decoder, *words) == 2
    assert sentence in capsys.readouterr().err


def test_a_change_by_someone_else_meanwhile_is_not_overwritten(decoder, hub, monkeypatch, capsys):
    look = sending.look

    def late(repo):
        found = look(repo)
        if found is not None:
            hub.repositories[repo].commits += 1
        return found

    monkeypatch.setattr(sending, "look", late)
    assert send(decoder) == 1
    assert "was changed by someone else meanwhile (412)." in capsys.readouterr().err


def test_a_hub_that_is_not_there_says_so(decoder, hub, monkeypatch, capsys):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert send(decoder) == 1
    assert "could not be reached or broke off" in capsys.readouterr().err


def test_the_licence_of_the_base_is_the_hubs_where_no_file_says_it(decoder, hub):
    assert send(decoder, "--base", "someone/base", arm="llama.lora.seed0") == 0
    card = hub.repositories["me/it"].files["README.md"].decode()
    assert "\nlicense: cc-by-4.0\n" in card
    assert "licence is not known" not in card
    words = ["--base", "someone/base", "--licence", "mit", "--update"]
    assert send(decoder, *words, arm="llama.lora.seed0") == 0
    assert "\nlicense: mit\n" in hub.repositories["me/it"].files["README.md"].decode()


def test_a_base_that_the_hub_has_not_is_refused(decoder, hub, capsys):
    assert send(decoder, "--base", "no/where", arm="llama.lora.seed0") == 2
    assert capsys.readouterr().err == (
        "tuneproof: no/where: is to be the base, and the hub has no such model that the token sees. "
        "Name the base's repository with --base, or leave --base out and add --merged.\n"
    )
    assert writes(hub) == []


@pytest.mark.parametrize("name", ["it", "me/it/that", "me/..", "--x/y", "me/a b", ""])
def test_a_name_that_is_none_is_refused(name, decoder, hub, capsys):
    words = ["publish", str(decoder / "arms" / ARM), "--", name]
    assert main(words) == 2
    assert "is not a name of a repository." in capsys.readouterr().err
    assert hub.asked == []


def test_into_a_folder_no_hub_is_asked(decoder, hub, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert send(decoder, "--to", str(tmp_path / "to")) == 0
    assert hub.asked == []
    assert os.stat(tmp_path / "to" / "README.md").st_mode & 0o77 == 0
