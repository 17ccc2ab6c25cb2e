"""Files of translations as gettext has them, which Python can read and not write."""

from __future__ import annotations

import struct
from collections.abc import Mapping

HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"


def catalogue(strings: Mapping[str, str]) -> bytes:
    """An `.mo` file; forms of a plural are parted by a zero, a context comes before its string and `\\x04`."""
    pairs = sorted((key.encode(), value.encode()) for key, value in {"": HEADER, **strings}.items())
    at, body = 28 + 16 * len(pairs), b""
    tables: list[list[int]] = [[], []]
    for which in (0, 1):
        for pair in pairs:
            tables[which] += [len(pair[which]), at + len(body)]
            body += pair[which] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return head + struct.pack(f"<{4 * len(pairs)}I", *tables[0], *tables[1]) + body
