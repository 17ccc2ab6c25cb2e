"""Where the report reads from: the records, or MLflow."""
