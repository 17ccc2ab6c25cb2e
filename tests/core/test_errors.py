"""`lstm_bench.core.errors`: exit codes, one line per fault, no passwords."""

import pytest

from lstm_bench.core import errors
from lstm_bench.core.errors import LstmBenchError, nearest, redact


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("LstmBenchError", 1),
        ("ConfigError", 2),
        ("KernelError", 2),
        ("DataError", 3),
        ("StorageError", 4),
        ("TooManyFailedError", 5),
        ("NothingCameOutError", 5),
        ("CheckFailedError", 6),
        ("InterruptedByUser", 130),
    ],
)
def test_every_fault_has_its_exit_code(name, code):
    assert getattr(errors, name).exit_code == code


def test_a_fault_is_one_line_what_expected_received_remedy():
    error = LstmBenchError("train.epochs", expected="at least 1", received=0, remedy="give more.")
    assert str(error) == "train.epochs: expected at least 1, received 0. Give more."
    assert error.what == "train.epochs"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "x.gz"),
        ({"expected": "gzip"}, "x.gz: expected gzip"),
        ({"received": "<html>"}, "x.gz: received '<html>'"),
        ({"remedy": "delete it\n  and go on"}, "x.gz. Delete it and go on"),
        ({"received": ""}, "x.gz: received ''"),
    ],
)
def test_a_fault_says_only_what_is_known(given, line):
    assert str(LstmBenchError("x.gz", **given)) == line


@pytest.mark.parametrize(
    ("name", "valid", "words"),
    [
        ("stcked", ["stacked", "single", "cnn_lstm"], "did you mean stacked?"),
        ("lst", ["lstm", "lst2"], "did you mean lstm or lst2?"),
        ("zzz", ["b", "a"], "valid: a, b"),
        ("zzz", [str(i) for i in range(20)], "valid: 0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, ..."),
        ("zzz", [], "there is none to choose from"),
    ],
)
def test_nearest_names(name, valid, words):
    assert nearest(name, valid) == words


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
