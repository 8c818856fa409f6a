"""`python -m crossfeed`: the command line, where its script is not on PATH."""

import sys

from crossfeed.cli import main

sys.exit(main())
