"""Verification of traces: against three emulators, and against the decisions of the player."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.arcade.emulator.environment_ids import ale_version
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.observed_ram import ObservationError, ObservedRam, ReadRam
from tasks.arcade.episodes.playing import (
    Player,
    Step,
    emulator_for_trace,
    episode_end,
    extend_digest,
    replay,
    trace_difference,
)
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.settings.base import Settings


class Verification(Settings):
    """Result of verifying a trace.

    `first_difference` is the first step that differs, 0 being the reset; None if no step differs or if the trace could
    not be replayed at all.
    """

    ok: bool
    steps_checked: int
    first_difference: int | None
    message: str
    ale_py: str = Field(description="Version of ale-py the trace was made with")
    ale_py_installed: str = Field(description="Version of ale-py it was verified with")


def _replay_rendered(trace: Trace) -> Iterator[Step]:
    emulator = emulator_for_trace(trace)
    screen = emulator.screen()
    return replay(trace, emulator=emulator, on_frame=lambda: emulator.screen(screen))


def _replay_in_gymnasium(trace: Trace) -> Iterator[Step]:
    with closing(make_env(trace.game)) as env:
        ram, info = env.reset(seed=trace.seed)
        chain = extend_digest(b"", ram)
        yield Step(0, ram, 0, None, info["episode_frame_number"], chain.hex())
        for number, action in enumerate(trace.actions, 1):
            ram, reward, terminated, truncated, info = env.step(action)
            chain = extend_digest(chain, ram)
            ended = episode_end(terminated, truncated)
            yield Step(number, ram, int(float(reward)), ended, info["episode_frame_number"], chain.hex())


_REPLAYS: dict[str, Callable[[Trace], Iterator[Step]]] = {
    "the training emulator": replay,
    "the recording emulator": _replay_rendered,
    "Gymnasium's environment": _replay_in_gymnasium,
}


def verify(trace: Trace) -> Verification:
    """Replay a trace in the training emulator, the recording emulator (every frame rendered) and Gymnasium.

    RAM digests, rewards, the number of frames and the end of the episode must equal the trace's in all three.
    """
    try:
        replays = [start(trace) for start in _REPLAYS.values()]
    except TraceError as error:
        return _verification(trace, 0, None, str(error))
    for steps in zip(*replays, strict=True):
        differences = dict(zip(_REPLAYS, (trace_difference(step, trace) for step in steps), strict=True))
        if any(differences.values()):
            number = steps[0].number
            return _verification(trace, number, number, _difference_message(differences, number))
    return _verification(trace, trace.length, None, "")


def _difference_message(differences: dict[str, str], number: int) -> str:
    first = next(filter(None, differences.values()))
    message = f"{first} at step {number} differs from the trace"
    if all(differences.values()):
        return message
    return f"{message} in {' and in '.join(name for name in differences if differences[name])}"


def verify_decisions(trace: Trace, player: Player, read_ram: ReadRam | None = None) -> Verification:
    """Replay a trace and compare every action with the player's decision; `verify` checks the RAM.

    Actions that a person chose, by the trace, are not compared.

    Args:
        trace: The trace.
        player: The player.
        read_ram: Reads the RAM that the player observed from the screens; required if the trace says so. What is read
            is compared, too.

    Raises:
        TraceError: The trace cannot be replayed with the installed ale-py, or `read_ram` is missing.
    """
    uniforms, emulator = np.random.default_rng(trace.action_seed), emulator_for_trace(trace)
    observe, decide = ObservationBuilder(player, emulator), player.start_episode()
    observed, by_human = ObservedRam(emulator, read_ram), set(trace.human_steps)
    # The same number of threads as in play: how a product is split changes its last bits.
    with threadpool_limits(1):
        for step, action in zip(replay(trace, emulator=emulator), trace.actions, strict=False):
            try:
                ram = observed(step, trace)
            except ObservationError as error:
                return _verification(trace, step.number, step.number, str(error))
            uniform = None if trace.deterministic else float(uniforms.random())
            decided = decide(*observe(ram, episode_start=step.number == 0), uniform)
            number = step.number + 1
            if decided != action and number not in by_human:
                problem = f"the policy decides action {decided} at step {number}, the trace has {action}"
                return _verification(trace, number, number, problem)
    return _verification(trace, trace.length, None, "")


def _verification(trace: Trace, steps: int, first_difference: int | None, problem: str) -> Verification:
    installed = ale_version()
    other = (
        f"; the trace was made with ale-py {trace.ale_py}, the installed version is {installed}"
        if trace.ale_py != installed
        else ""
    )
    return Verification(
        ok=not problem,
        steps_checked=steps,
        first_difference=first_difference,
        message=(problem or f"all {steps} steps agree") + other,
        ale_py=trace.ale_py,
        ale_py_installed=installed,
    )
