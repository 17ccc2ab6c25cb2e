"""Windows that divide the sequences, where those of a study do not."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_bench.sweep import windows


def settled(
    timesteps: int, *, choices: tuple[int, ...] = (4, 7), masked: bool = False, target: str = windows.TARGET
) -> Any:
    space = {windows.PATH: {"type": "categorical", "choices": list(choices)}}
    config: dict[str, Any] = {"model": {"_target_": target, "window": 4}, "study": {"space": dict(space)}}
    said = windows.settle(config, space, timesteps, masked=masked)
    assert config["study"]["space"] == space
    return config["model"]["window"], space.get(windows.PATH, {}).get("choices"), said


@pytest.mark.parametrize(
    ("timesteps", "window", "searched"),
    [
        (28, 4, [4, 7]),  # as it was
        (24, 4, None),  # the one that divides them
        (150, 5, [5, 6]),  # the divisors nearest to both
        (100, 4, None),
        (29, 1, None),  # a prime: a window for each timestep
    ],
)
def test_what_divides_the_timesteps_is_searched(timesteps: int, window: int, searched: list[int] | None) -> None:
    found, choices, said = settled(timesteps)
    assert (found, choices) == (window, searched)
    assert timesteps % found == 0 and bool(said) == (timesteps != 28)


def test_another_family_and_sequences_of_unequal_lengths_are_left_alone() -> None:
    assert settled(150, masked=True) == (4, [4, 7], "")
    assert settled(150, target="lstm_bench.model.gru") == (4, [4, 7], "")
