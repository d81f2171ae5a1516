"""Live sessions on the real emulator: equal to play without interference, and what a person's interference does."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers.episodes import network_checkpoint

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.live.keys import Keys, action_of_keys
from tasks.arcade.live.session import LiveError, LiveSession

DIGEST = "d" * 64
PADDLE = 72
"""Byte of Breakout with the paddle's position."""
PONG = ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
BREAKOUT = ("NOOP", "FIRE", "RIGHT", "LEFT")


@pytest.fixture(scope="module")
def breakout() -> Checkpoint:
    return network_checkpoint()


def advance(session: LiveSession, steps: int) -> list[int]:
    """Play some steps and return the number of frames of each."""
    return [len(session.advance()) for _ in range(steps)]


def played(checkpoint: Checkpoint, steps: int, deterministic: bool = False) -> Trace:
    return play(
        checkpoint.agent(),
        checkpoint.settings.game,
        7,
        action_seed=7,
        deterministic=deterministic,
        max_steps=steps,
        checkpoint=DIGEST,
        checkpoint_step=checkpoint.step,
    )


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("name", ["ppo-tuned", "recurrent-ppo", "dqn", "ppo-pixels"])
def test_a_session_plays_the_same_episode_as_play(name: str, deterministic: bool) -> None:
    checkpoint = network_checkpoint(name=name)
    session = LiveSession(checkpoint, DIGEST, 7, deterministic=deterministic)
    assert set(advance(session, 25)) == {4}
    assert session.trace() == played(checkpoint, 25, deterministic)
    session.restart()
    advance(session, 25)
    assert session.trace() == played(checkpoint, 25, deterministic), "also after a restart"


def test_the_last_frame_is_that_of_an_emulator_with_the_same_actions(breakout: Checkpoint) -> None:
    session = LiveSession(breakout, DIGEST, 7)
    frames = [frame for _ in range(30) for frame in session.advance()]
    trace = session.trace()
    emulator = Emulator(trace.game, trace.seed)
    emulator.reset(trace.seed)
    screens = []
    for action in trace.actions:
        emulator.step(action, lambda: screens.append(emulator.screen_indices(np.empty((210, 160), np.uint8))))
    assert len(frames) == len(screens) == 120
    assert all((frame.screen == screen).all() for frame, screen in zip(frames, screens, strict=True))
    assert (session.palette.rgb[frames[-1].screen] == emulator.screen()).all()
    assert session.state.step.digest == trace.ram_digest
    assert (session.state.step.ram == emulator.ram).all()


def test_a_person_takes_over_from_the_very_state_and_the_agent_goes_on(breakout: Checkpoint) -> None:
    session = LiveSession(breakout, DIGEST, 7)
    advance(session, 10)
    before = session.state.step
    session.hold(Keys(right=True))
    assert session.state.human
    advance(session, 12)
    assert session.state.step.number == before.number + 12
    assert session.state.step.ram[PADDLE] > before.ram[PADDLE]
    session.hold(Keys())
    advance(session, 30)
    state, trace = session.state, session.trace()
    assert not state.human
    assert trace.human_steps == tuple(range(11, 11 + state.human_steps))
    assert 12 < state.human_steps < 30, "the agent goes on a moment after the keys are released"
    assert state.agent_return + state.human_return == trace.episode_return
    assert verify(trace).ok
    assert verify_decisions(trace, breakout.agent()).ok, "the agent chose all other actions"
    claimed = trace.model_copy(update={"human_steps": ()})
    assert verify_decisions(claimed, breakout.agent()).first_difference in trace.human_steps


@pytest.mark.parametrize("human_steps", [[0], [26], [2, 1], [1, 1]])
def test_a_trace_refuses_steps_that_it_does_not_have(breakout: Checkpoint, human_steps: list[int]) -> None:
    trace = played(breakout, 25)
    with pytest.raises(ValueError, match="human_steps"):
        Trace.model_validate(trace.model_dump() | {"human_steps": human_steps})
    assert "human_steps" not in trace.model_dump_json(), "traces without a person are as before"


def test_a_recurrent_agent_goes_on_with_what_it_observed_of_a_persons_steps() -> None:
    checkpoint = network_checkpoint(name="recurrent-ppo")
    session = LiveSession(checkpoint, DIGEST, 7)
    advance(session, 5)
    session.hold(Keys(right=True))
    advance(session, 3)
    session.hold(Keys())
    advance(session, 20)
    assert verify_decisions(session.trace(), checkpoint.agent()).ok


def test_a_modified_byte_changes_the_game_and_the_decision_and_cannot_be_kept(breakout: Checkpoint) -> None:
    session, untouched = LiveSession(breakout, DIGEST, 7), LiveSession(breakout, DIGEST, 7)
    for one in (session, untouched):
        advance(one, 10)
    session.write_byte(PADDLE, 150)
    assert session.state.tampered
    assert session.state.step.ram[PADDLE] == 150
    assert session.state.readout.value != untouched.state.readout.value
    frame, expected = session.advance()[-1], untouched.advance()[-1]
    assert (frame.screen != expected.screen).any(), "the paddle is elsewhere"
    with pytest.raises(LiveError, match=r"modified.*[Rr]estart"):
        session.trace()
    session.restart()
    advance(session, 10)
    untouched.restart()
    advance(untouched, 10)
    assert session.trace() == untouched.trace(), "a restart leaves nothing of it behind"


def test_an_ended_episode_is_kept_as_it_ended() -> None:
    checkpoint = network_checkpoint()
    game = checkpoint.settings.game.model_copy(update={"max_episode_frames": 101})
    settings = checkpoint.settings.model_copy(update={"game": game})
    session = LiveSession(
        Checkpoint(settings, 10, checkpoint.action_names, checkpoint.weights, checkpoint.statistics), DIGEST, 7
    )
    with pytest.raises(LiveError, match="Nothing was played yet"):
        session.trace()
    while not session.ended:
        session.advance()
    trace = session.trace()
    assert trace.ended == "truncated" and trace.length == 26
    for refused in (session.advance, lambda: session.write_byte(0, 1)):
        with pytest.raises(LiveError, match=r"ended.*restart"):
            refused()


@pytest.mark.parametrize(
    ("keys", "names", "action"),
    [
        ("left", BREAKOUT, "LEFT"),
        ("left fire", BREAKOUT, "LEFT"),
        ("fire", BREAKOUT, "FIRE"),
        ("left right", BREAKOUT, "NOOP"),
        ("up", PONG, "RIGHT"),
        ("down fire", PONG, "LEFTFIRE"),
        ("", PONG, "NOOP"),
        ("up right fire", ("NOOP", "UP", "RIGHT", "UPRIGHT", "UPRIGHTFIRE"), "UPRIGHTFIRE"),
        ("up right", ("NOOP", "UP", "RIGHT"), "RIGHT"),
    ],
)
def test_keys_are_the_joysticks_actions(keys: str, names: tuple[str, ...], action: str) -> None:
    held = Keys(**dict.fromkeys(re.findall(r"\w+", keys), True))
    assert names[action_of_keys(held, names)] == action
