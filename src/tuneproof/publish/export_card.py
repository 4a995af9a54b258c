"""The card of an export: what it is, how it compares with its arm, how to run it.

In: a publication, the result of the export, the code that predicts. Out: the text of README.md.
Knows nothing of: files, formats.
"""

from typing import Any

from tuneproof.publish.files import Publication
from tuneproof.publish.parity import EXACT
from tuneproof.report.markdown import escape
from tuneproof.score.decision import decision_sentence

LARGEST = "The largest difference of a probability is {:.2g}."
RUNTIMES = {
    "merged": "pip install torch transformers",
    "onnx": "pip install onnxruntime tokenizers",
    "gguf": "pip install llama-cpp-python",
}


def make_export_card(publication: Publication, result: Any, code: str) -> str:
    """The text of README.md. Texts from data and models appear as inert Markdown."""
    about = publication.record.about
    name = " ".join(str(part) for part in (about.get("model"), about["arm"]) if part)
    parity = result.parity
    lines = [
        f"# {escape(name)}, {result.format} in {result.precision}",
        "",
        f"Exported by tuneproof from the arm {escape(publication.record.folder.name)} of the study "
        f"{escape(publication.study.folder.name)}.",
        "",
        "## Parity with the arm",
        "",
        escape(result.sentence),
        *(["", LARGEST.format(parity.difference)] if result.precision not in EXACT else []),
        *_decision(about),
        *_speed(result),
        "",
        "## Use",
        "",
        "```console",
        f"$ {RUNTIMES[result.format]}",
        "```",
        "",
        "```python",
        code,
        "```",
        "",
    ]
    return "\n".join(lines)


def _decision(about: dict[str, Any]) -> list[str]:
    sentence = decision_sentence(about["chosen"].get("decision") or {})
    return ["", f"{escape(sentence)} Parity is that of such labels."] if sentence else []


def _speed(result: Any) -> list[str]:
    size = f"The files take {result.size_bytes / 1e6:,.1f} MB."
    if result.single_s is None:
        return ["", size]
    own = f" (the arm in torch: {1000 * result.arm_single_s:.3g} ms)" if result.arm_single_s else ""
    return ["", f"{size} One item takes {1000 * result.single_s:.3g} ms, as a median{own}."]
