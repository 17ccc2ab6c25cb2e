"""What it means: a pure function of records, the same input gives the same bytes.

Imports `core`, `data`, `model` (controls), `study` and, for `source=mlflow`, `tracking`; pandas, matplotlib, and Optuna for
importances only.
"""
