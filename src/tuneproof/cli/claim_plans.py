"""What the terminal shows of plans for claims: a table for each.

In: planned claims. Out: text, or JSON. Knows nothing of: how anything is planned.
"""

from collections.abc import Iterable

from tuneproof.cli.json_output import print_json
from tuneproof.cli.terminal import clean, open_console, print_table
from tuneproof.record.plan import ClaimPlan


def print_plans(plans: Iterable[ClaimPlan], as_json: bool) -> None:
    """Print what more items and seeds would do for each claim, as tables or as JSON."""
    if as_json:
        values = [
            {"claim": plan.claim.as_json(), "rows": [vars(row) for row in plan.rows], "note": plan.note}
            for plan in plans
        ]
        print_json({"plans": values})
        return
    console = open_console()
    for plan in plans:
        claim = plan.claim
        scale, unit = (100, " points") if claim.in_points else (1, "")
        console.print(clean(claim.sentence), highlight=False)
        rows = [
            (
                f"{row.items:,}",
                str(row.seeds),
                f"± {scale * row.half_width:.2g}{unit}",
                f"{scale * row.mde:.2g}{unit}",
                "yes" if row.mde <= abs(claim.difference) else "no",
            )
            for row in plan.rows
        ]
        detects = f"Detects {scale * abs(claim.difference):.2g}{unit}"
        header = ("Items", "Seeds", f"{100 * claim.level:g} % CI", "Detectable", detects)
        print_table(console, (header, *rows), texts=0)
        if plan.note:
            console.print(plan.note, highlight=False)
