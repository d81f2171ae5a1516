"""The search finds the states, ways and probabilities that executing every way from every state finds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tasks.arcade.decoding.picture_matcher import Comparison
from tasks.arcade.decoding.state_search import Hypothesis, StateSearch
from tasks.arcade.emulator.emulator import Emulator, Screen
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.settings.game import GameSettings

Way = tuple[Hypothesis, int, int]
"""State before the step, action of the last frame, frames for which the action before was repeated."""
Found = dict[tuple[bytes, int], dict[Way, float]]
"""By serialized state and last action: the ways that lead there, with their probabilities."""


class EqualScreens:
    def __init__(self, screen: Screen) -> None:
        self.observed = screen

    def compare(self, emulator: Emulator) -> Comparison:
        equal = np.array_equal(emulator.screen(), self.observed)
        return Comparison(equal, float(not equal))


def every_way(search: StateSearch, game: GameSettings, actions: Sequence[int], matcher: EqualScreens) -> Found:
    """Execute every way of one step from every state, frame by frame."""
    emulator, repeat, found = search.emulator, game.repeat_action_probability, Found()
    skip = game.frame_skip
    lengths = range(skip, skip + 1) if isinstance(skip, int) else range(*skip)
    for before in search.hypotheses:
        last, weight = before.moment.action, math.exp(before.log_probability) / len(actions) / len(lengths)
        for frames, action, delay in ((n, a, d) for n in lengths for a in actions for d in range(n + 1)):
            executed = [last] * delay + [action] * (frames - delay)
            emulator.restore_snapshot(before.state.snapshot)
            for one in executed:
                emulator.step(one)
            if not matcher.compare(emulator).matches:
                continue
            key = (emulator.snapshot(include_rng=False).serialized(), executed[-1])
            known = last in actions and executed == [last] * frames
            ways = found.setdefault(key, {})
            way = (before, executed[-1], 0 if known else delay)
            probability = weight * repeat**delay * (1 - repeat if delay < frames else 1)
            ways[way] = ways.get(way, 0) + probability
    return found


@pytest.mark.parametrize(
    ("env_id", "steps", "known", "frame_skip"),
    [
        ("ALE/Seaquest-v5", 2, False, 4),
        ("ALE/Pong-v5", 5, False, 4),
        ("ALE/Freeway-v5", 4, False, (2, 5)),
        ("ALE/Pong-v5", 40, True, 4),
    ],
    ids=["18 unknown actions", "6 unknown actions", "random frame skip", "known actions"],
)
def test_search_finds_what_executing_every_way_finds(
    env_id: str, steps: int, known: bool, frame_skip: int | tuple[int, int]
) -> None:
    game = resolve(env_id).model_copy(update={"frame_skip": frame_skip})
    emulator, rng = Emulator(game, 7), np.random.default_rng(1)
    emulator.reset(7)
    matcher = EqualScreens(emulator.screen())
    search = StateSearch(game, matcher, keeps_history=True)
    search.start()
    for _ in range(steps):
        action = int(rng.integers(emulator.n_actions))
        emulator.step(action)
        matcher.observed = emulator.screen()
        actions = (action,) if known else range(emulator.n_actions)
        expected, before = every_way(search, game, actions, matcher), search.hypotheses
        assert search.advance(actions)
        best = max(sum(ways.values()) for ways in expected.values())
        assert {(one.state.serialized, one.moment.action) for one in search.hypotheses} == set(expected)
        for hypothesis in search.hypotheses:
            ways = expected[hypothesis.state.serialized, hypothesis.moment.action]
            assert math.exp(hypothesis.log_probability) == pytest.approx(sum(ways.values()) / best)
            arrivals: dict[Way, float] = {}
            for one in hypothesis.moment.arrivals:
                (origin,) = (other for other in before if other.moment is one.origin)
                way = (origin, one.action, one.delay)
                arrivals[way] = arrivals.get(way, 0) + math.exp(one.log_probability)
            assert arrivals == pytest.approx(ways)


def test_no_frame_is_emulated_twice_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    game = resolve("ALE/Boxing-v5")
    emulator = Emulator(game, 7)
    emulator.reset(7)
    matcher = EqualScreens(emulator.screen())
    search = StateSearch(game, matcher)
    search.start()
    step, emulated = search.emulator.step, list[tuple[bytes, int]]()

    def counted(action: int) -> tuple[float, bool, bool]:
        emulated.append((search.emulator.snapshot(include_rng=False).serialized(), action))
        return step(action)

    monkeypatch.setattr(search.emulator, "step", counted)
    for action in (3, 3, 5):
        emulator.step(action)
        matcher.observed = emulator.screen()
        assert search.advance(range(emulator.n_actions))
    assert len(emulated) == len(set(emulated))
