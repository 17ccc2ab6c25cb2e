"""`python -m lstm_bench.doctor`."""

import sys

from lstm_bench.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
