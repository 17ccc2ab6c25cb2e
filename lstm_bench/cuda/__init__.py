"""Which kernel an NVIDIA GPU would run, found where there is none: the very program that trains, built for a GPU and read.

Nothing is executed for a GPU here, and no speed is said. Imports what trains; only `bench.py` and what it imports need a framework.
"""
