"""Whether a trace is what really happens, and what its player decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.arcade.emulator.emulator import ale_version, make_env
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.playing import Player, Step, difference, emulator_of, extend_digest, how_it_ended, replay
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.settings.base import Settings


class Verification(Settings):
    """Whether a trace is what really happens.

    `first_difference` is the step at which something differs first, 0 being the reset; none if nothing differs or if
    the trace could not be played at all. `what` says it in words.
    """

    ok: bool
    steps_checked: int
    first_difference: int | None
    what: str
    ale_py: str = Field(description="that the trace was made with")
    ale_py_here: str = Field(description="that it was checked with")


def _drawn(trace: Trace) -> Iterator[Step]:
    emulator = emulator_of(trace)
    picture = emulator.screen()
    return replay(trace, emulator=emulator, each_frame=lambda: emulator.screen(picture))


def _gymnasium(trace: Trace) -> Iterator[Step]:
    with closing(make_env(trace.game)) as env:
        ram, info = env.reset(seed=trace.seed)
        chain = extend_digest(b"", ram)
        yield Step(0, ram, 0, None, info["episode_frame_number"], chain.hex())
        for number, action in enumerate(trace.actions, 1):
            ram, reward, terminated, truncated, info = env.step(action)
            chain = extend_digest(chain, ram)
            ended = how_it_ended(terminated, truncated)
            yield Step(number, ram, int(float(reward)), ended, info["episode_frame_number"], chain.hex())


_WITNESSES: dict[str, Callable[[Trace], Iterator[Step]]] = {
    "the emulator as training builds it": replay,
    "the emulator as recording builds it": _drawn,
    "Gymnasium's own environment": _gymnasium,
}


def verify(trace: Trace) -> Verification:
    """Play a trace three times, as training, recording (every frame drawn) and Gymnasium do, and compare every step.

    RAM digests, rewards, the number of frames and the end have to be the trace's in all three.
    """
    try:
        witnesses = [play_again(trace) for play_again in _WITNESSES.values()]
    except TraceError as error:
        return _verification(trace, 0, None, str(error))
    for steps in zip(*witnesses, strict=True):
        found = dict(zip(_WITNESSES, (difference(step, trace) for step in steps), strict=True))
        if any(found.values()):
            number = steps[0].number
            return _verification(trace, number, number, _in_words(found, number))
    return _verification(trace, trace.length, None, "")


def _in_words(found: dict[str, str], number: int) -> str:
    what = next(filter(None, found.values()))
    if all(found.values()):
        return f"{what} at step {number} is not the trace's"
    return f"{what} at step {number} is not the trace's in {' and in '.join(name for name in found if found[name])}"


def verify_decisions(trace: Trace, player: Player) -> Verification:
    """Play a trace again and ask its player for every action; `verify` says whether the RAM is right.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
    """
    uniforms, emulator = np.random.default_rng(trace.action_seed), emulator_of(trace)
    senses, decide = ObservationBuilder(player, emulator), player.begin()
    # On as many threads as when it was played: how products are shared out changes their last bits.
    with threadpool_limits(1):
        for step, action in zip(replay(trace, emulator=emulator), trace.actions, strict=False):
            uniform = None if trace.deterministic else float(uniforms.random())
            decided = decide(*senses(step.ram, starts=step.number == 0), uniform)
            if decided != action:
                at, what = step.number + 1, f"action {decided} is decided at step {step.number + 1}, not {action}"
                return _verification(trace, at, at, what)
    return _verification(trace, trace.length, None, "")


def _verification(trace: Trace, steps: int, first_difference: int | None, wrong: str) -> Verification:
    here = ale_version()
    other = f"; the trace was made with ale-py {trace.ale_py}, this is {here}" if trace.ale_py != here else ""
    return Verification(
        ok=not wrong,
        steps_checked=steps,
        first_difference=first_difference,
        what=(wrong or f"all {steps} steps agree") + other,
        ale_py=trace.ale_py,
        ale_py_here=here,
    )
