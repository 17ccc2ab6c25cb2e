"""A study on paper: search space, columns, reading records, which configuration is picked, what the search is worth, archives.

Rows in, facts out. Imports `core`, `data` and `model` (signatures); no Optuna, MLflow, Keras or pandas.
"""
