"""Search and confirm: composes (Hydra), checks, asks and tells (Optuna), resumes, confirms over seeds, writes records.

Imports everything below but `kernels`.
"""
