"""A chat template in its own process says what transformers makes of it, and nothing else runs on."""

import os
import subprocess

import pytest

from tests.tiny_models import GEMMA_CHAT, LLAMA_CHAT, tiny_tokenizer
from tuneproof.data import chat
from tuneproof.data.chat import render_chat
from tuneproof.errors import ModelError

TURNS = [
    {"role": "user", "content": "  Is {{ this }} a <b>'good'</b> \"film\"? é \u2028 \U0001f3ac "},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "and\n\nthis?"},
]
TEMPLATES = {
    "llama": LLAMA_CHAT,
    "gemma": GEMMA_CHAT,
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m.content }}\n"
    "{% endfor %}",
    "json": "{{ messages | tojson }}{{ messages | tojson(indent=2) }}",
    "namespace": "{% set n = namespace(last='', i=0) %}{% for m in messages %}{% set n.last = m.role %}"
    "{% set n.i = n.i + 1 %}{% endfor %}{{ n.last }}{{ n.i }}",
    "dict": "{% set d = dict(a=1, **{'b': 2}) %}{{ d.items() | list }}{{ dict.fromkeys('ab', 1) }}",
    "blocks": "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n  U: {{ m.content }}\n"
    "    {% else %}\n  A: {{ m.content }}\n    {% endif %}\n{%- endfor %}\n"
    "{% if add_generation_prompt %}A:{% endif %}",
    "tools": "{% if tools is not none %}x{% endif %}{% if documents %}y{% endif %}{{ bos_token }}"
    "{{ eos_token }}"
    "{% if system is defined %}z{% endif %}{{ strftime_now('%Y') }}",
    "macro": "{% macro turn(m) %}<{{ m['role'] }}>{{ m['content'] | trim }}</{{ m['role'] }}>{% endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{% endfor %}",
}


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_is_what_transformers_makes(name, follows):
    tokenizer = tiny_tokenizer("llama", chat=True)
    tokenizer.chat_template = TEMPLATES[name]
    wanted = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=follows)
    assert render_chat(tokenizer, TURNS, follows) == wanted


def test_one_process_fills_in_a_template_as_often_as_it_is_asked(monkeypatch):
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a) or real(*a, **k))
    chat._process.cache_clear()
    tokenizer = tiny_tokenizer("llama", chat=True)
    first = [render_chat(tokenizer, TURNS, True) for _ in range(50)]
    assert len(set(first)) == 1
    assert len(started) == 1


def test_the_process_has_no_environment_and_no_module_of_ours(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    asked = {}
    real = subprocess.Popen

    def popen(words, **more):
        asked.update(words=words, **more)
        return real(words, **more)

    monkeypatch.setattr(subprocess, "Popen", popen)
    chat._process.cache_clear()
    render_chat(tiny_tokenizer("llama", chat=True), TURNS, True)
    assert set(asked["env"]) <= {"TZ", "SYSTEMROOT"}
    assert "-I" in asked["words"]
    assert "hf_" not in str(asked)
    assert os.path.basename(asked["words"][-1]) == "chat_sandbox.py"
    assert "tuneproof" not in chat.CHILD.read_text("utf-8").split('"""')[2]


def test_after_a_template_was_stopped_the_next_is_filled_in(monkeypatch):
    monkeypatch.setattr(chat, "TIME_S", 0.5)
    tokenizer = tiny_tokenizer("llama", chat=True)
    good = tokenizer.chat_template
    tokenizer.chat_template = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    for _ in range(2):
        with pytest.raises(ModelError, match=r"ran for more than 0\.5 seconds"):
            render_chat(tokenizer, TURNS, True)
    monkeypatch.undo()
    tokenizer.chat_template = good
    assert "and\n\nthis?" in render_chat(tokenizer, TURNS, True)


def test_a_long_text_may_be_long():
    tokenizer = tiny_tokenizer("llama", chat=True)
    turns = [{"role": "user", "content": "é" * 3_000_000}]
    assert render_chat(tokenizer, turns, True).count("é") == 3_000_000


def test_several_templates_without_a_default_are_refused():
    tokenizer = tiny_tokenizer("llama", chat=True)
    tokenizer.chat_template = {"a": "x", "b": "y"}
    with pytest.raises(ModelError, match="multiple chat templates"):
        render_chat(tokenizer, TURNS, True)
