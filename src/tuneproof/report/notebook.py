"""A study in a notebook's cell: its verdict, its table and its charts.

In: a study's directory. Out: one HTML element that stands alone. Knows nothing of: notebooks, the whole page.
"""

from pathlib import Path

from markupsafe import Markup, escape

from tuneproof.record.study_folder import REPORT_HTML, read_study
from tuneproof.report.charts.learning_curves import panels
from tuneproof.report.page import environment, styles
from tuneproof.report.results import forest
from tuneproof.report.sections import question
from tuneproof.report.tables import arm_table, headline, main_metric, pooled_rows

ROW_PX, PANELS_PX, REST_PX, MOST_PX = 78, 270, 330, 1400


def study_cell(folder: Path) -> str:
    """An `iframe` with a page of its own, so that neither style touches the other; no script runs in it.

    Raises: RunError where the folder holds no study.
    """
    study = read_study(Path(folder))
    rows = pooled_rows(study)
    drawn = panels(rows)
    page = (
        environment()
        .get_template("cell.html")
        .render(
            question=question(study),
            said=headline(study),
            css=styles(),
            forest=forest(study, rows, main_metric(study)),
            arms=arm_table(study),
            panels=drawn,
            report=str(Path(folder) / REPORT_HTML),
        )
    )
    height = min(MOST_PX, REST_PX + ROW_PX * len(rows) + (PANELS_PX * 2 if drawn else 0))
    return (
        f'<iframe sandbox="" title="tuneproof" style="width:100%;height:{height}px;border:0" '
        f'srcdoc="{escape(str(Markup(page)))}"></iframe>'
    )
