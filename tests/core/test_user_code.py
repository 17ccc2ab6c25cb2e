"""`lstm_bench.core.user_code`: which files a user's family is, and what of them counts."""

from __future__ import annotations

import sys
from pathlib import Path

import fake
import pytest

from lstm_bench.core import user_code
from lstm_bench.core.errors import ConfigError
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep.store.trials import opened

NET = "import mine_parts\n\ndef net(shape, *, units=16):\n    return mine_parts.made(units)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_comments_docstrings_and_layout_do_not_count_and_a_number_does(folder: Path) -> None:
    write(folder, mine_net=NET, mine_parts="def made(n):\n    return n\n")
    before = user_code.of("mine_net.net")
    write(
        folder,
        mine_net='"""Said."""\nimport mine_parts  # why\n\n\ndef net(\n    shape,\n    *,\n    units=0x10,\n):\n'
        '    """Said."""\n    return (mine_parts.made(units))\n',
    )
    assert user_code.of("mine_net.net") == before
    write(folder, mine_net=NET.replace("16", "17"))
    assert user_code.changed(before.files, user_code.of("mine_net.net").files) == ["mine_net.py has changed"]


def test_imports_are_followed_wherever_they_are_and_nothing_is_run(folder: Path) -> None:
    (folder / "mine_pkg" / "deep").mkdir(parents=True)
    for path, text in {
        "mine_pkg/__init__.py": "raise RuntimeError('run')\n",
        "mine_pkg/net.py": "from . import layers\nfrom .deep.more import x\nimport numpy, keras, json\n"
        "def net():\n    import mine_late\n    from mine_star import *\n    __import__('mine_named')\n",
        "mine_pkg/layers.py": "from ..nowhere import x\n",
        "mine_pkg/deep/more.py": "from .. import deep\nfrom mine_pkg import other\n",
        "mine_pkg/other.py": "import mine_pkg.net\n",
        "mine_pkg/unused.py": "",
        "mine_late.py": "import lstm_bench.study\n",
        "mine_star.py": "",
        "mine_named.py": "x = (",
    }.items():
        (folder / path).write_text(text)
    code = user_code.of("mine_pkg.net.net")
    wanted = ("__init__", "deep/more", "layers", "net", "other")
    assert sorted(code.files) == [
        "mine_late.py",
        "mine_named.py",
        *(f"mine_pkg/{n}.py" for n in wanted),
        "mine_star.py",
    ]
    assert "mine_pkg" not in sys.modules


def test_what_is_installed_is_not_the_users_and_what_has_no_source_is_said(folder: Path) -> None:
    assert user_code.of("keras.Model") == user_code.Code({})
    (folder / "mine_compiled.pyc").write_bytes(b"")
    assert user_code.of("mine_compiled.net") == user_code.Code({}, ("mine_compiled",))
    assert user_code.of("mine_compiled.net").record() is None


def test_a_worker_ends_the_sweep_when_the_code_is_edited_under_it(folder: Path) -> None:
    write(folder, mine_guarded="def net():\n    return 1\n")
    guard = user_code.Guard("mine_guarded.net", user_code.of("mine_guarded.net").files)
    guard.check()
    write(folder, mine_guarded="def net():\n    return 2\n")
    with pytest.raises(ConfigError, match=r"mine_guarded\.py has changed since this session began\. Put it back"):
        guard.check()


def test_a_resume_over_edited_code_or_other_variables_is_refused(tmp_path: Path) -> None:
    def learned(code: str | None, **variables: str) -> list[str]:
        made = {"code": {"digest": "-", "files": {"net.py": code}}, "variables": variables} if code else None
        study = opened(fake.config(), spaces.parse(fake.config()), tmp_path, fake.SHA256, made=made)
        study.close()
        return study.learned

    assert learned(None) == []  # by an older version
    assert learned("a", XLA_FLAGS="--x") == ["code", "variables"]
    assert learned("a", XLA_FLAGS="--x") == []
    with pytest.raises(ConfigError, match=r"was created with other code: net\.py has changed\. Put it back"):
        learned("b", XLA_FLAGS="--x")
    with pytest.raises(ConfigError, match="variable XLA_FLAGS was --x, is not set"):
        learned("a")
