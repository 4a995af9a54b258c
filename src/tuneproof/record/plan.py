"""What more seeds and more test items would do for the claims of a finished study.

In: a study's folder. Out: a table for each claim. Knows nothing of: terminals, how arms run.
"""

from dataclasses import dataclass
from pathlib import Path

from tuneproof.errors import RunError
from tuneproof.record.finished_study import read_finished_study
from tuneproof.record.study_folder import read_study
from tuneproof.score.planning import Projection, project
from tuneproof.score.verdict import Comparison

SEEDS = (2, 5, 10)
ITEMS = (2, 4)  # times as many


@dataclass(frozen=True)
class ClaimPlan:
    """A claim as it stands and what is planned for it; `note` says what cannot be planned."""

    claim: Comparison
    rows: list[Projection]
    note: str = ""


def plan_study(folder: Path) -> list[ClaimPlan]:
    """For each claim: as it is, with 2 and 4 times the items, and with 2, 5 and 10 seeds if there are fewer.

    Raises: RunError if the folder holds no study, or no claim of it could be compared.
    """
    claims = read_finished_study(read_study(folder)).claims_and_further()[0]
    if not claims:
        problem = "has no claim with both arms finished."
        raise RunError(str(folder), problem, do="Finish the study, or add a claim to its recipe.")
    return [_plan(claim) for claim in claims]


def _plan(claim: Comparison) -> ClaimPlan:
    planned = [project(claim), *(project(claim, items=factor) for factor in ITEMS)]
    note = ""
    if claim.single_runs:
        note = "The spread of the seeds is unknown after one run: run two or more to plan them."
    elif not claim.seed_df:
        note = "The seeds add nothing to the error: more of them would not help."
    else:
        planned += [project(claim, seeds=seeds) for seeds in SEEDS if seeds > claim.seeds]
        planned += [project(claim, items=2, seeds=seeds) for seeds in SEEDS if seeds > claim.seeds]
    return ClaimPlan(claim, [row for row in planned if row is not None], note)
