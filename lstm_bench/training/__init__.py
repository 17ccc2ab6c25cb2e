"""How one task is done: engines per backend, packs, the training loop, metrics, the timer, what a worker does with a task.

Besides `model`, `kernels` and `cuda` the only wing that touches a framework. Imports `core`, `data`, `model`, `study` (columns)
and `launcher` (how a task is written).
"""
