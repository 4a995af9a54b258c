"""What the terminal shows of the checks of this machine.

In: checks. Out: text, or JSON. Knows nothing of: how anything is checked.
"""

from typing import Any

from tuneproof.cli.console import open_console
from tuneproof.cli.json_output import print_json
from tuneproof.cli.terminal import clean

STATES = {"fine": ("✓", "green"), "note": ("–", "dim"), "problem": ("!", "yellow"), "broken": ("✗", "red")}


def print_doctor(checks: Any, as_json: bool) -> None:
    """Print one line per check, and the fix below it."""
    if as_json:
        print_json({"checks": [check.as_json() for check in checks]})
        return
    console = open_console()
    width = max(len(check.name) for check in checks)
    for check in checks:
        sign, colour = STATES[check.state]
        console.print(
            f"[{colour}]{sign}[/] {check.name.ljust(width)}  {clean(check.detail)}", highlight=False
        )
        if check.fix:
            console.print(f"  {' ' * width}  {clean(check.fix)}", style="bold", highlight=False)
