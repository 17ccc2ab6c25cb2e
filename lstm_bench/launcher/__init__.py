"""Where tasks run: worker processes here, or actors on Ray.

Submit, events, result; a loop that heeds signals and time limits. Knows no task: the runner is named as `module:function`.
Imports `core` and `data`; subprocess, Ray (extra).
"""
