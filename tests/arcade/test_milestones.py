"""Milestones are reached when they should be, and once."""

from __future__ import annotations

import pytest

from tasks.arcade.milestones import Reached, reached
from tasks.arcade.scores import Estimate


def at(mean: float, step: int = 10, spread: float = 1, rom: str = "pong", best: float | None = None) -> Reached:
    estimate = Estimate(value=mean, low=mean - spread, high=mean + spread, n=10)
    return Reached(step=step, mean=estimate, rom=rom, best_before=best)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        (at(-20.5), []),
        (at(-15), ["above-random"]),
        (at(1), ["above-random", "return-0", "human-0.25", "human-0.5"]),
        (
            at(19, step=2_500_000),
            ["above-random", "return-0", "return-18", "human-0.25", "human-0.5", "human-1", "steps-2000000"],
        ),
        (at(1, rom="a_game_without_figures"), []),
        (at(5, best=3, rom="a_game_without_figures"), ["best-10"]),
        (at(5, best=4.5, rom="a_game_without_figures"), []),
    ],
)
def test_what_is_reached(what: Reached, names: list[str]) -> None:
    found = reached(what, ())
    assert [milestone.name for milestone in found] == names
    assert all(milestone.words for milestone in found)
    assert reached(what, names) == (), "each of them once"
