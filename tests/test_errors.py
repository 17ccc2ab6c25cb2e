import pytest

from lstm_bench.errors import redact


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://me:S3CRET@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql+psycopg://me:p@S3/CRET@db/x", "postgresql+psycopg://me:***@db/x"),
        ("redis://:S3CRET@db", "redis://:***@db"),
        ("at http://a:S3CRET@b, 'https://c:S3CRET@d'", "at http://a:***@b, 'https://c:***@d'"),
        ("postgresql://db/x?user=me&password=S3CRET&a=1", "postgresql://db/x?user=me&password=***&a=1"),
        ("sqlite:////var/x.db and http://127.0.0.1:5000/a", "sqlite:////var/x.db and http://127.0.0.1:5000/a"),
    ],
)
def test_redact_leaves_everything_but_passwords(text, clean):
    assert redact(text) == clean
