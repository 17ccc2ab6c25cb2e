"""MLflow, and nothing but MLflow.

Imports `core` and `study`.
"""
