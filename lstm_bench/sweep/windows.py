"""Which windows `cnn_lstm` is searched over on sequences that those of its study do not divide."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from lstm_bench.core import schema

PATH, TARGET = "model.window", "lstm_bench.model.cnn_lstm"


def settle(config: schema.Sweep, space: MutableMapping[str, Any], timesteps: int, *, masked: bool) -> str:
    """Leaves in the space the windows that divide the timesteps, or puts the divisors nearest to them there; says which and why.

    Nothing is changed where all divide, where a window was named instead of searched, and where sequences are of unequal
    lengths, whose last window is completed.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      timesteps: Of the sequences.
      masked: Whether they differ in length.
    """
    domain = space.get(PATH)
    if masked or str(config["model"].get("_target_")) != TARGET or not domain or "choices" not in domain:
        return ""
    asked = [int(choice) for choice in domain["choices"]]
    fitting = [window for window in asked if timesteps % window == 0]
    if fitting == asked:
        return ""
    divisors = [n for n in range(1, timesteps + 1) if timesteps % n == 0]
    nearest = [min(divisors, key=lambda n: (abs(n - window), n == 1, -n)) for window in asked]
    chosen = fitting or sorted(dict.fromkeys(nearest))
    config["model"]["window"] = chosen[0]
    for searched in (space, config["study"]["space"]):
        if len(chosen) > 1:
            searched[PATH] = {**domain, "choices": chosen}
        else:
            searched.pop(PATH, None)
    words = " or ".join(map(str, chosen))
    return f"{words} instead of {' or '.join(map(str, asked))}: what divides {timesteps} timesteps; {PATH}=N says otherwise"
