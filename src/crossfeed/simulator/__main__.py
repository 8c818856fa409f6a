"""`python -m crossfeed.simulator`."""

import sys

from crossfeed.simulator.process import main

if __name__ == "__main__":
    sys.exit(main())
