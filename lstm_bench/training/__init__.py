"""How one task is done: engines per backend, packs, the training loop, metrics, the timer, what a worker does with a task.

The only wing besides `model` and `kernels` that touches a framework. Imports `core`, `data`, `model` and `study` (columns).
"""
