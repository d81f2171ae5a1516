"""The runs of one approach as a group: one row of the report's tables and one color of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.arcade import scores
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report.data import CheckpointRow, Comparison, RunView, best_checkpoint
from tasks.arcade.scores import Estimate, FloatArray
from tasks.arcade.scores.published import REFERENCES

# Colorblind-safe palette of Okabe and Ito, with a lighter blue for dark pages; repeated colors differ in their dashes.
_COLORS = ("#1E86CC", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")


RunReturns = Sequence[tuple[RunView, Sequence[float]]]
"""Runs with the returns of some of their episodes."""


@dataclass(frozen=True)
class Group:
    """The runs of one approach on one side of a comparison.

    Attributes:
        approach: name of the approach, followed by the baseline's name in parentheses if it is the baseline.
        runs: ordered by game and seed.
        normalized: its results are human-normalized scores.
    """

    approach: str
    color: str
    dash: str
    symbol: str
    runs: tuple[RunView, ...]
    normalized: bool = False

    @cached_property
    def final_checkpoints(self) -> tuple[tuple[RunView, CheckpointRow], ...]:
        """The evaluated runs with their last checkpoints."""
        return tuple((run, run.last) for run in self.runs if run.last)

    @property
    def final_rows(self) -> tuple[CheckpointRow, ...]:
        return tuple(row for _, row in self.final_checkpoints)

    @property
    def learned(self) -> bool:
        """Whether the approach has been trained; random and noop have not."""
        return any(run.learned for run in self.runs)

    @property
    def has_duplicates(self) -> bool:
        """Whether some episodes duplicate others."""
        return self.distinct_episodes < self.episodes

    @property
    def side(self) -> str:
        return self.runs[0].side

    @property
    def games(self) -> tuple[str, ...]:
        """ROM names of the games with an evaluated run, sorted."""
        return tuple(sorted({run.rom for run, _ in self.final_checkpoints}))

    @property
    def seeds(self) -> int:
        """Number of distinct evaluated seeds of the game that has the fewest."""
        of_games = [{run.seed for run, _ in self.final_checkpoints if run.rom == game} for game in self.games]
        return min(map(len, of_games), default=0)

    @property
    def episodes(self) -> int:
        return sum(row.episodes for row in self.final_rows)

    @property
    def distinct_episodes(self) -> int:
        return scores.count_distinct(self._episode_keys)

    @property
    def distinct_returns(self) -> FloatArray:
        """Returns of the last checkpoints' distinct episodes: float64, shape (distinct,)."""
        returns = [value for row in self.final_rows for value in row.returns]
        return scores.drop_duplicates(returns, self._episode_keys)

    @property
    def _episode_keys(self) -> list[str]:
        """Keys that identify each episode.

        RAM digests identify episodes across runs, as a deterministic policy plays the same episodes with every
        training seed. Imported evaluations have no RAM digests: their episodes are identified within their run only.
        """
        return [
            f"{run.rom if run.evaluated_here else run.run_id} {digest}"
            for run, row in self.final_checkpoints
            for digest in row.digests
        ]

    @property
    def size(self) -> str:
        """Sample size: `3 seeds, 30 episodes`."""
        seeds = pluralize(self.seeds, "seed")
        return f"{seeds}, {pluralize(self.episodes, 'episode')}" if self.final_checkpoints else "not evaluated"

    def returns_by_seed(self, game: str | None = None) -> list[list[float]]:
        """Return the (normalized) returns of the last checkpoints by seed, on one game or on all."""
        return self._by_seed(self._final_returns, game)

    @property
    def _final_returns(self) -> RunReturns:
        return [(run, row.returns) for run, row in self.final_checkpoints]

    def _by_seed(self, returns_of_runs: RunReturns, game: str | None = None) -> list[list[float]]:
        by_seed: dict[int, list[float]] = {}
        for run, returns in returns_of_runs:
            if game in (None, run.rom):
                by_seed.setdefault(run.seed, []).extend(self.scaled(run, returns))
        return [by_seed[seed] for seed in sorted(by_seed)]

    def scaled(self, run: RunView, returns: Sequence[float]) -> list[float]:
        """Return the values in the comparison's measure: unchanged or human-normalized."""
        if not self.normalized:
            return list(returns)
        reference = REFERENCES[run.rom]
        assert reference.random is not None
        assert reference.human is not None
        return [float(score) for score in scores.human_normalized(returns, reference.random, reference.human)]

    @cached_property
    def iqm(self) -> Estimate | None:
        """Interquartile mean of the last checkpoints' episodes, or over games of the runs' mean scores."""
        return self._interquartile_mean(self._final_returns) if self.final_checkpoints else None

    def _interquartile_mean(self, returns_of_runs: RunReturns) -> Estimate:
        if self.normalized:
            return scores.iqm_over_games([self._by_seed(returns_of_runs, game) for game in self.games])
        by_seed = self._by_seed(returns_of_runs)
        return scores.estimate_over_seeds(by_seed, scores.interquartile_mean, has_duplicates=self.has_duplicates)

    @cached_property
    def mean(self) -> float | None:
        """Mean over all episodes of the last checkpoints, or over games of the games' means."""
        if not self.final_checkpoints:
            return None
        return float(np.mean([np.mean(np.concatenate(self.returns_by_seed(game))) for game in self.games]))

    @cached_property
    def best(self) -> Estimate | None:
        """`iqm` of each run's best checkpoint on seeds that did not select it; None if a run has none."""
        returns = [(run, best.returns) for run, _ in self.final_checkpoints if (best := best_checkpoint(run))]
        complete = returns and len(returns) == len(self.final_checkpoints)
        return self._interquartile_mean(returns) if complete else None

    @cached_property
    def constant(self) -> Estimate | None:
        """Value of the learning curve of an approach that does not learn, with its interval; None for others.

        The interquartile mean over runs of their mean returns, as in the curves of other approaches. A single run has
        its interval over episodes.
        """
        if self.learned or not self.final_checkpoints:
            return None
        if len(self.final_checkpoints) == 1:
            ((run, row),) = self.final_checkpoints
            mean, *ends = self.scaled(run, [row.mean, *(end for end in (row.low, row.high) if end is not None)])
            low, high = ends or (None, None)
            return Estimate(mean, low, high, row.distinct_episodes)
        means = [np.array(self.scaled(run, [row.mean])) for run, row in self.final_checkpoints]
        band = scores.band_over_seeds(means)
        return Estimate(float(band.value[0]), float(band.low[0]), float(band.high[0]), len(means))


def groups(comparison: Comparison) -> tuple[Group, ...]:
    """Group the runs by approach: best interquartile mean first, approaches without an evaluation last."""
    names = dict.fromkeys(_name(run, comparison.baseline) for run in comparison.runs)
    unordered = [_group(name, index, comparison) for index, name in enumerate(names)]
    return tuple(sorted(unordered, key=lambda group: -group.iqm.value if group.iqm else np.inf))


def _name(run: RunView, baseline: str | None) -> str:
    return f"{run.approach} ({baseline})" if run.side == "baseline" and baseline else run.approach


def _group(name: str, index: int, comparison: Comparison) -> Group:
    runs = [run for run in comparison.runs if _name(run, comparison.baseline) == name]
    runs.sort(key=lambda run: (run.rom, run.seed))
    repetition, color = divmod(index, len(_COLORS))
    style = (_COLORS[color], _DASHES[repetition % len(_DASHES)], _SYMBOLS[color])
    return Group(name, *style, tuple(runs), comparison.normalized)
