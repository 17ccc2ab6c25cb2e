"""Ground floor: what every wing needs and no wing owns.

Faults and exit codes, the schema of `conf/` and how it is loaded, words that configuration, records and reports share, atomic
files, the clock, the machine. Imports nothing of ours; OmegaConf, Hydra, PyYAML, psutil, NVML, rich; SciPy for intervals.
"""
