"""Which handler answers which address of the page.

In: the handlers of every part. Out: one table. Knows nothing of: what a handler does.
"""

import tuneproof.ui.new_study as new_study
import tuneproof.ui.studies as studies
import tuneproof.ui.trying as trying
from tuneproof.ui.app import Routes

ROUTES: Routes = {**studies.ROUTES, **new_study.ROUTES, **trying.ROUTES}
