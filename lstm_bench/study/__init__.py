"""A study on paper: search space, columns, reading records, which configuration is picked, what the search is worth, archives.

Rows in, facts out. Imports `core`, `data` and `model` (signatures); pandas where a table is asked
for (`StudyRecord.frame`); no Optuna, MLflow or Keras.
"""
