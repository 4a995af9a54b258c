"""`python -m tuneproof`.

In: arguments. Out: the exit code of the command line. Knows nothing of: anything else.
"""

import sys

from tuneproof.cli.main import main

sys.exit(main())
