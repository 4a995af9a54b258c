"""What publishing and exporting an arm print.

In: their results. Out: text, or JSON. Knows nothing of: how an arm is written or compared.
"""

from typing import Any

from tuneproof.cli.json_output import print_json
from tuneproof.redact import printable


def print_exported(result: Any, as_json: bool) -> None:
    """Print how the export compares with its arm, where it is, and how to evaluate it as an arm."""
    folder = str(result.folder)
    if as_json:
        values = {**vars(result), "folder": folder, "parity": result.parity.as_json()}
        print_json({**values, "sentence": result.sentence})
        return
    print(printable(result.sentence))
    speed = ""
    if result.single_s is not None:
        own = f" (the arm: {1000 * result.arm_single_s:.3g} ms)" if result.arm_single_s else ""
        speed = f"; one item takes {1000 * result.single_s:.3g} ms{own}"
    print(f"{result.size_bytes / 1e6:,.1f} MB{speed}.")
    print(printable(folder))
    entry = (
        f"tuned-model: {{model: {folder}}}"
        if result.format == "merged"
        else f"exported: {{folder: {folder}}}"
    )
    print(printable(f"Evaluate it as an arm of the study: add to its arms - {entry}"))


def print_published(result: Any, as_json: bool) -> None:
    """Print the result of the check in a fresh process, and where the arm is now."""
    gate, upload = result.gate, result.upload
    if as_json:
        folder = {"folder": None if result.folder is None else str(result.folder)}
        print_json({**vars(gate), **folder, **(vars(upload) if upload else {})})
        return
    merged = "" if gate.merged is None else f"; merged against adapter {gate.merged:.0e}"
    print(
        f"Loaded in a fresh process: {gate.items} test items give the same predictions as in the study "
        f"(largest difference {gate.difference:.0e} {gate.unit}{merged})."
    )
    if upload is None:
        print(printable(str(result.folder)))
        return
    removed = f", {upload.removed} removed" if upload.removed else ""
    print(
        printable(
            f"{upload.url}: {upload.uploaded} files uploaded{removed} and verified; commit {upload.commit}."
        )
    )
