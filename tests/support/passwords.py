"""Places where a password may stand, each with one that no output may show."""

PASSWORDS = {
    "TRACK": "http://me:S3CRET@127.0.0.1:9",
    "STORE": "postgresql+psycopg://me:S3CRET@127.0.0.1:9/x?password=S3CRET",
    "PGPASSWORD": "S3CRET",
    "MLFLOW_TRACKING_PASSWORD": "S3CRET",
    "UNQUOTED": 'postgresql://me:it\'s "S3CRET"@127.0.0.1:9/x',
}
