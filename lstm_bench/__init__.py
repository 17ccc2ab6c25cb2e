"""Hyperparameter sweeps and kernel benchmarks for recurrent networks in Keras 3."""

__version__ = "0.2.0"
