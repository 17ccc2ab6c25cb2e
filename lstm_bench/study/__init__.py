"""A study on paper: search space, columns, reading records, which configuration is picked, what the search is worth, archives.

Which network or control to take, and what a way of splitting is worth, follows from rows too. Rows in, facts out. Imports `core`,
`data` and `model` (signatures, controls); SciPy; pandas where a table is asked for (`StudyRecord.frame`); no Optuna, MLflow or
Keras.
"""
