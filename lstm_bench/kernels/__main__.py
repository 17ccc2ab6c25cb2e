"""`python -m lstm_bench.kernels`."""

import sys

from lstm_bench.kernels.command import main

if __name__ == "__main__":
    sys.exit(main())
