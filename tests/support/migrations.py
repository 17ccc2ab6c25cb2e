"""Optuna's migrations, looked through once per process.

Each time that it opens a database Optuna imports all of them, twice: to see which is the newest. They are the same each time, and
that is most of the third of a second that a study of a test takes to open.
"""

from __future__ import annotations

import functools


@functools.cache
def keep() -> None:
    """Lets Optuna keep what it has found."""
    from optuna.storages._rdb import storage

    manager, found = storage._VersionManager, []
    script = manager._create_alembic_script

    def known(self: storage._VersionManager) -> object:
        if not found:
            found.append(script(self))
        return found[0]

    manager._create_alembic_script = known  # type: ignore[method-assign]
