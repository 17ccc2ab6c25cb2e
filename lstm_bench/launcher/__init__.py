"""Where tasks run: worker processes here, or actors on Ray.

Submit, events, result; a loop that heeds signals and time limits. Knows how a task
is written (`protocol.py`), not what is done with it: the runner is named as `module:function`.
Imports `core` and `data`; subprocess, Ray (extra).
"""
