"""Trials in Optuna's database: sqlite by one driver, PostgreSQL by several."""
