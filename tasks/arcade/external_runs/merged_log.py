"""One log of all log files of a run, in one unit, with the contradictions between them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from statistics import fmean, pstdev

from tasks.arcade.external_runs.curves import downsample_curve, running_mean
from tasks.arcade.external_runs.runs import (
    WINDOW,
    Declared,
    Episodes,
    ExternalEvaluation,
    ExternalLog,
    MetricCurve,
    RawLog,
)
from tasks.arcade.external_runs.step_unit import StepUnit, differ, find_step_unit, wrapped_environment
from tasks.arcade.settings.game import GameSettings

_LENGTHS = ("rollout/ep_len_mean", "eval/mean_ep_length")
_RETURNS = "rollout/ep_rew_mean"
_STEPS_OF_THE_AGENT = {"evaluations": "the evaluations", "events": "the TensorBoard log"}


def merge(
    logs: Mapping[str, RawLog], config: RawLog | None, game: GameSettings, frame_skip: int | None = None
) -> ExternalLog:
    """Merge the logs of a run.

    Args:
        logs: the log of each format, in order of precedence.
        config: the settings files of the run; None without any.
        game: the game that was played.
        frame_skip: frames per step of the agent, as the user says.

    Raises:
        ExternalRunError: a log is of another game, or the frame skip does not fit to the environment.
    """
    every = [*logs.values(), *([config] if config else [])]
    declared = [one for log in every for one in log.declared]
    wrapped = wrapped_environment(declared, game)
    unit = find_step_unit(game, wrapped, declared, _measured(logs, declared), frame_skip)
    curves: dict[str, MetricCurve] = {}
    last: ExternalEvaluation | None = None
    ends: dict[str, int] = {}
    for name, log in logs.items():
        own = {tag: _scaled(curve, unit) if tag in _LENGTHS else curve for tag, curve in log.curves.items()}
        if log.episodes:
            episode_curves, of_episodes = _from_episodes(log.episodes, unit)
            own |= episode_curves
            last = last or of_episodes
        curves = own | curves
        if own or log.evaluations:
            ends[name] = max([*(curve[-1][0] for curve in own.values()), *(one.step for one in log.evaluations)])
    evaluations = next((log.evaluations for log in logs.values() if log.evaluations), ())
    evaluations, notes = _evaluations_in_steps(evaluations, logs, unit)
    return ExternalLog(
        tuple(source for log in every for source in log.sources),
        curves,
        evaluations,
        last,
        unit.frame_skip,
        next((one.seed for one in declared if one.seed is not None), None),
        (
            *unit.notes,
            *notes,
            *_game_notes(game, wrapped),
            *_step_notes(ends, declared),
            *_return_notes(logs),
            *_length_notes(game, unit, evaluations, curves),
        ),
    )


def _measured(logs: Mapping[str, RawLog], declared: list[Declared]) -> tuple[float, float] | None:
    """Return bounds of the steps of the environments per step of the agent.

    Episodes that did not end are missing, one per parallel environment, and training went on after the last evaluation.
    """
    episodes = next((log.episodes for log in logs.values() if log.episodes and log.episodes.lengths), None)
    if episodes is None:
        return None
    evaluated = next(([one.step for one in log.evaluations] for log in logs.values() if log.evaluations), [])
    logged = [log.curves[_RETURNS][-1][0] for log in logs.values() if _RETURNS in log.curves]
    logged += episodes.steps[-1:]
    if evaluated or logged:
        first = last = max([*evaluated, *logged])
        if not logged:
            last += evaluated[-1] - (evaluated[-2] if len(evaluated) > 1 else 0)
    else:
        first = last = max((one.steps or 0 for one in declared), default=0)
    unfinished = max([episodes.n_files, *(one.n_envs or 0 for one in declared)]) * max(episodes.lengths)
    total = sum(episodes.lengths)
    return (total / last, (total + unfinished) / first) if first else None


def _from_episodes(episodes: Episodes, unit: StepUnit) -> tuple[dict[str, MetricCurve], ExternalEvaluation]:
    lengths = [_steps(length, unit) for length in episodes.lengths]
    steps = episodes.steps or tuple(accumulate(lengths))
    curves = {_RETURNS: downsample_curve(steps, running_mean(episodes.returns))}
    if lengths:
        curves["rollout/ep_len_mean"] = downsample_curve(steps, running_mean(lengths))
    return curves, ExternalEvaluation(
        step=steps[-1], returns=episodes.returns[-WINDOW:], lengths=tuple(lengths[-WINDOW:])
    )


def _steps(length: int, unit: StepUnit) -> int:
    """Return an episode's length in steps of the agent, whose last step may skip fewer frames."""
    return -(-length // unit.env_steps)


def _scaled(curve: MetricCurve, unit: StepUnit) -> MetricCurve:
    return tuple((step, value / unit.env_steps) for step, value in curve)


def _evaluations_in_steps(
    evaluations: tuple[ExternalEvaluation, ...], logs: Mapping[str, RawLog], unit: StepUnit
) -> tuple[tuple[ExternalEvaluation, ...], list[str]]:
    """Convert the evaluations, unless their lengths are a whole unit smaller than those of the training episodes.

    An evaluation environment without a monitor counts steps of the agent.
    """
    trained = next((log.episodes.lengths for log in logs.values() if log.episodes and log.episodes.lengths), ())
    lengths = [length for one in evaluations for length in one.lengths]
    notes: list[str] = []
    if trained and lengths and unit.env_steps > 1 and not differ(fmean(trained) / fmean(lengths), unit.env_steps):
        notes.append(
            f"the evaluations' lengths are steps, while the training episodes' are {unit.env_steps} times as long: "
            "taken as steps of the agent"
        )
        return evaluations, notes
    converted = tuple(
        one.model_copy(update={"lengths": tuple(_steps(length, unit) for length in one.lengths)}) for one in evaluations
    )
    return converted, notes


def _game_notes(game: GameSettings, wrapped: GameSettings | None) -> list[str]:
    if wrapped is None or wrapped.repeat_action_probability == game.repeat_action_probability:
        return []
    return [
        f"the files are of {wrapped.env_id}, with sticky actions of {wrapped.repeat_action_probability:g}; "
        f"{game.env_id} has {game.repeat_action_probability:g}"
    ]


def _step_notes(ends: Mapping[str, int], declared: list[Declared]) -> list[str]:
    known = {title: ends[name] for name, title in _STEPS_OF_THE_AGENT.items() if name in ends}
    for one in declared:
        if one.steps:
            known.setdefault(one.source, one.steps)
    if not known or not differ(min(known.values()), max(known.values())):
        return []
    return ["the sources differ in the steps of the run: " + ", ".join(f"{key} {end:,}" for key, end in known.items())]


def _return_notes(logs: Mapping[str, RawLog]) -> list[str]:
    """Compare the final mean return of the training episodes with the one that was logged."""
    episodes = next((log.episodes for log in logs.values() if log.episodes), None)
    logged = next((log.curves[_RETURNS] for log in logs.values() if _RETURNS in log.curves), ())
    if episodes is None or not logged:
        return []
    last = episodes.returns[-WINDOW:]
    # The log may end some episodes earlier.
    if abs(fmean(last) - logged[-1][1]) <= max(pstdev(last) / 2, 1e-3 * abs(fmean(last))):
        return []
    return [
        f"the last {len(last)} training episodes have a mean return of {fmean(last):g}, the TensorBoard log says "
        f"{logged[-1][1]:g}: are they of one run?"
    ]


def _length_notes(
    game: GameSettings,
    unit: StepUnit,
    evaluations: tuple[ExternalEvaluation, ...],
    curves: Mapping[str, MetricCurve],
) -> list[str]:
    skip = unit.frame_skip or game.frame_skip
    limit = game.max_episode_frames // (skip if isinstance(skip, int) else skip[0])
    means = [value for tag in _LENGTHS for _, value in curves.get(tag, ())]
    longest = max([*means, *(length for one in evaluations for length in one.lengths)], default=0)
    if longest <= limit:
        return []
    found = f"episodes of up to {longest:,.0f} steps are longer than the {limit:,} steps of {game.env_id}"
    if unit.env_steps > 1:
        return [f"{found}: they had another time limit; that of former Gym releases was 400,000 frames"]
    return [
        f"{found}: their lengths may be frames. If so, import with the id of the environment that counted them, such "
        "as PongNoFrameskip-v4, and --frame-skip"
    ]
