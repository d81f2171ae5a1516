"""Conversion of what a wrapped environment counts into steps of the agent.

Stable-Baselines3's Monitor and CleanRL's RecordEpisodeStatistics wrap the environment below the wrapper that skips
frames, so they count steps of the environment, which are frames if its id skips none. Every length of an episode in
their files has that unit, and so have the lengths in `evaluations.npz`; timesteps are steps of the agent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor

from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, resolve
from tasks.arcade.external_runs.runs import Declared, ExternalRunError
from tasks.arcade.settings.game import GameSettings

_WRAPPER_SKIP = 4
"""Frames that AtariWrapper, AtariPreprocessing and CleanRL's scripts skip by default, in every game."""
_TOLERANCE = 0.1
"""Relative difference of two counts of the same steps: no-op starts are counted by the environment only, and episodes
that did not end by neither."""


@dataclass(frozen=True)
class StepUnit:
    """Steps of the environment per step of the agent.

    Attributes:
        env_steps: steps of the environment per step of the agent.
        frame_skip: frames per step of the agent; None if unknown, or that of the game.
        notes: assumptions and contradictions.
    """

    env_steps: int
    frame_skip: int | None = None
    notes: tuple[str, ...] = ()


def differ(one: float, other: float) -> bool:
    """Return whether two counts of the same steps contradict each other."""
    return abs(one - other) > _TOLERANCE * max(one, other)


def wrapped_environment(declared: Iterable[Declared], game: GameSettings) -> GameSettings | None:
    """Return the environment that counts steps and episodes, as the files name it; None if they do not.

    Raises:
        ExternalRunError: it is not of this game, or the files name several.
    """
    found: dict[str, GameSettings] = {}
    for one in declared:
        try:
            settings = resolve(one.env_id) if one.env_id else None
        except UnknownEnvironmentError:
            continue
        if settings is None:
            continue
        if settings.rom != game.rom:
            raise ExternalRunError(f"{one.source} is of {one.env_id}, not of {game.env_id}")
        found[settings.env_id] = settings
    if len({settings.frame_skip for settings in found.values()}) > 1:
        raise ExternalRunError(f"the files are of several environments: {', '.join(found)}. Import each on its own")
    wrapped = next(iter(found.values()), None)
    kwargs = next((one.frame_skip for one in declared if one.frame_skip), None)
    return wrapped.model_copy(update={"frame_skip": kwargs}) if wrapped and kwargs else wrapped


def find_step_unit(
    game: GameSettings,
    wrapped: GameSettings | None,
    declared: Iterable[Declared],
    measured: tuple[float, float] | None,
    frame_skip: int | None,
) -> StepUnit:
    """Return the unit: as the user says, as the settings of the run say, as its steps say, or as is usual.

    Args:
        game: the game that was played.
        wrapped: the environment that counts steps; None if unknown.
        declared: facts that the files state.
        measured: bounds of the steps of the environments per step of the agent, over the run; None if unknown.
        frame_skip: frames per step of the agent, as the user says.

    Raises:
        ExternalRunError: the frame skip that the user says is not a multiple of the environment's.
    """
    stated = next(((one.wrapper_skip, one.source) for one in declared if one.wrapper_skip), None)
    notes = []
    if frame_skip is not None:
        env_steps = _asked(wrapped or game, frame_skip)
        if stated and stated[0] != env_steps:
            notes.append(f"--frame-skip {frame_skip} contradicts {stated[1]}, whose wrapper skips {stated[0]}")
    else:
        env_steps = stated[0] if stated else _measured_or_usual(measured, _usual(game, wrapped))
    if measured and env_steps not in (possible := _possible(measured)):
        cause = (
            "files of parallel environments may be missing" if env_steps >= possible.stop else "--frame-skip sets it"
        )
        notes.append(
            f"the lengths of all episodes add up to {measured[0]:.3g} times the steps of the run, which contradicts "
            f"{env_steps} steps of the environment per step of the agent: {cause}"
        )
    skip = _frame_skip(game, wrapped, env_steps) if frame_skip is None else frame_skip
    if skip is None or skip == game.frame_skip:
        return StepUnit(env_steps, None, tuple(notes))
    if frame_skip is None:
        notes.append(f"the files are of frame skip {skip}, {game.env_id} has {game.frame_skip}: {skip} is assumed")
    return StepUnit(env_steps, skip, tuple(notes))


def _possible(measured: tuple[float, float]) -> range:
    low, high = measured
    return range(max(ceil(low * (1 - _TOLERANCE)), 1), max(floor(high * (1 + _TOLERANCE)), 1) + 1)


def _measured_or_usual(measured: tuple[float, float] | None, usual: int) -> int:
    possible = _possible(measured) if measured else range(0)
    # Fewer steps than usual more likely mean that files of parallel environments are missing.
    if not possible or usual in possible or possible.start < usual:
        return usual
    return _WRAPPER_SKIP if _WRAPPER_SKIP in possible else possible.start


def _usual(game: GameSettings, wrapped: GameSettings | None) -> int:
    if wrapped is None or not isinstance(wrapped.frame_skip, int) or not isinstance(game.frame_skip, int):
        return 1
    # SpaceInvadersDeterministic skips 3 frames by itself; a wrapper skips as many as in any other game.
    return _WRAPPER_SKIP if wrapped.frame_skip == 1 < game.frame_skip else max(game.frame_skip // wrapped.frame_skip, 1)


def _asked(counting: GameSettings, frame_skip: int) -> int:
    base, name = counting.frame_skip, counting.env_id
    if not isinstance(base, int):
        raise ExternalRunError(
            f"--frame-skip {frame_skip}: {name} itself skips a random number of frames; leave it out"
        )
    if frame_skip % base:
        raise ExternalRunError(f"--frame-skip {frame_skip}: a step of {name} is {base} frames; use a multiple")
    return frame_skip // base


def _frame_skip(game: GameSettings, wrapped: GameSettings | None, env_steps: int) -> int | None:
    if wrapped is not None:
        return wrapped.frame_skip * env_steps if isinstance(wrapped.frame_skip, int) else None
    if not isinstance(game.frame_skip, int) or game.frame_skip % env_steps == 0:
        return None
    return game.frame_skip * env_steps
