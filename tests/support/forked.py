"""Scripts of this folder, each in a fork of one process that has imported Keras: several pay for one import of a framework.

`python tests/support/forked.py BACKEND` reads lines of JSON, `[SCRIPT, OUT, ERR, ARGUMENT, ...]`: file names of the script and of
what it prints; and answers each with the script's exit code.
"""

from __future__ import annotations

import json
import os
import runpy
import sys

if sys.argv[1] != "tensorflow":
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]  # as a worker does: see backend.py

import keras  # noqa: F401

for line in sys.stdin:
    script, out, err, *arguments = json.loads(line)
    child = os.fork()
    if not child:
        for stream, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = [script, *arguments]
        runpy.run_path(script, run_name="__main__")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
