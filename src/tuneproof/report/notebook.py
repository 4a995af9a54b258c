"""A study in a notebook cell: its verdict, its table and its charts.

In: a study's directory. Out: one self-contained HTML element. Knows nothing of: notebooks, the full page.
"""

from pathlib import Path

from markupsafe import Markup, escape

from tuneproof.record.study_folder import REPORT_HTML, read_study
from tuneproof.report.arm_table import arm_table
from tuneproof.report.charts.learning_curves import learning_curves
from tuneproof.report.page import fill_template
from tuneproof.report.results import forest_plot
from tuneproof.report.sections import question
from tuneproof.report.tables import headline, main_metric, pooled_rows

ROW_PX, PANELS_PX, REST_PX, MAX_PX = 78, 270, 330, 1400


def study_cell(folder: Path) -> str:
    """An `iframe` with its own page: styles stay separate, and no script runs in it.

    Raises: RunError if the folder holds no study.
    """
    study = read_study(Path(folder))
    rows = pooled_rows(study)
    drawn = learning_curves(rows)
    page = fill_template(
        "cell.html",
        question=question(study),
        verdict=headline(study),
        forest=forest_plot(study, rows, main_metric(study)),
        arms=arm_table(study),
        panels=drawn,
        report=str(Path(folder) / REPORT_HTML),
    )
    height = min(MAX_PX, REST_PX + ROW_PX * len(rows) + (PANELS_PX * 2 if drawn else 0))
    return (
        f'<iframe sandbox="" title="tuneproof" style="width:100%;height:{height}px;border:0" '
        f'srcdoc="{escape(str(Markup(page)))}"></iframe>'
    )
