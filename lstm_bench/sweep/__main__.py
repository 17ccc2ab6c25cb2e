"""`python -m lstm_bench.sweep`."""

import sys

from lstm_bench.sweep.command import main

if __name__ == "__main__":
    sys.exit(main())
