"""`python -m lstm_bench.report`."""

import sys

from lstm_bench.report.command import main

if __name__ == "__main__":
    sys.exit(main())
