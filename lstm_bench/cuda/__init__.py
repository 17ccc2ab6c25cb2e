"""Which kernel an NVIDIA GPU would run, found where there is none: the very program that trains is built for one and read.

Nothing is executed for a GPU, and no speed is said. Imports what trains; only `bench.py` and what it imports need a framework.
"""
