"""`python -m tuneproof`.

In: words. Out: the command line's exit code. Knows nothing of: anything else.
"""

import sys

from tuneproof.cli.main import main

sys.exit(main())
