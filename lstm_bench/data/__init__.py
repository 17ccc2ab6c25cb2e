"""What is learned from: finds, downloads, reads, checks, splits and scales arrays, makes ids of texts.

Says what speaks against a dataset, and knows what each kind of task is and what a study on it may aim at. Imports `core`; NumPy,
SciPy, scikit-learn; pandas and pyarrow (extra) for tables.
"""
