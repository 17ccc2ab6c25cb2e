"""What is learned from: finds, downloads, checks, splits and scales arrays, and knows what each kind of task is.

Imports `core`; NumPy, scikit-learn (digits), pandas for formats.
"""
