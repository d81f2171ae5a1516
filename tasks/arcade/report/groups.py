"""Runs of one approach, taken together: a row of the report, a color of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.arcade import scores
from tasks.arcade.report.data import CheckpointRow, Comparison, RunView, best_checkpoint
from tasks.arcade.scores import Estimate, FloatArray
from tasks.arcade.scores.published import REFERENCES

# Okabe and Ito's colors, told apart by color-blind eyes, the blue lighter for dark pages; where they begin anew the
# dashes differ.
_COLORS = ("#1E86CC", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")


Played = Sequence[tuple[RunView, Sequence[float]]]
"""Runs, each with the returns of some of its episodes."""


@dataclass(frozen=True)
class Group:
    """The runs of one approach on one side.

    Attributes:
        approach: the approach, and beside it what the baseline is called, if this is it.
        runs: in the order of games and seeds.
        normalized: its figures are human-normalized scores.
    """

    approach: str
    color: str
    dash: str
    symbol: str
    runs: tuple[RunView, ...]
    normalized: bool = False

    @cached_property
    def finals(self) -> tuple[tuple[RunView, CheckpointRow], ...]:
        """Each evaluated run's last checkpoint, beside its run."""
        return tuple((run, run.last) for run in self.runs if run.last)

    @property
    def rows(self) -> tuple[CheckpointRow, ...]:
        return tuple(row for _, row in self.finals)

    @property
    def copies(self) -> bool:
        """Whether some episodes are copies of others."""
        return self.distinct_episodes < self.episodes

    @property
    def side(self) -> str:
        return self.runs[0].side

    @property
    def games(self) -> tuple[str, ...]:
        """Names of the games with an evaluated run, sorted."""
        return tuple(sorted({run.rom for run, _ in self.finals}))

    @property
    def seeds(self) -> int:
        """Evaluated ones of the game with the fewest: a seed trained twice is one seed."""
        of_games = [{run.seed for run, _ in self.finals if run.rom == game} for game in self.games]
        return min(map(len, of_games), default=0)

    @property
    def episodes(self) -> int:
        return sum(row.episodes for row in self.rows)

    @property
    def distinct_episodes(self) -> int:
        return scores.distinct(self._told)

    @property
    def distinct_returns(self) -> FloatArray:
        """Of the last checkpoints' episodes that are no copy of another one: float64, shape (distinct,)."""
        return scores.without_copies([value for row in self.rows for value in row.returns], self._told)

    @property
    def _told(self) -> list[str]:
        """What tells each episode from the others: over all runs, for what samples no actions plays the same episodes
        whatever its seed; of what was not played here no RAM is known, and what stands for it is its run's own.
        """
        return [
            f"{run.rom if run.played_here else run.run_id} {digest}"
            for run, row in self.finals
            for digest in row.digests
        ]

    @property
    def size(self) -> str:
        """`3 seeds, 30 episodes`, which stands beside every figure."""
        seeds = counted(self.seeds, "seed")
        return f"{seeds}, {counted(self.episodes, 'episode')}" if self.finals else "not evaluated"

    def returns_by_seed(self, game: str | None = None) -> list[list[float]]:
        """Of the last checkpoints, on one game or on the only one; normalized if the comparison is."""
        return self._by_seed(self._last, game)

    @property
    def _last(self) -> Played:
        return [(run, row.returns) for run, row in self.finals]

    def _by_seed(self, played: Played, game: str | None = None) -> list[list[float]]:
        by_seed: dict[int, list[float]] = {}
        for run, returns in played:
            if game in (None, run.rom):
                by_seed.setdefault(run.seed, []).extend(self.scaled(run, returns))
        return [by_seed[seed] for seed in sorted(by_seed)]

    def scaled(self, run: RunView, returns: Sequence[float]) -> list[float]:
        """Returns in the comparison's own measure."""
        if not self.normalized:
            return list(returns)
        reference = REFERENCES[run.rom]
        assert reference.random is not None
        assert reference.human is not None
        return [float(score) for score in scores.normalized(returns, reference.random, reference.human)]

    @cached_property
    def iqm(self) -> Estimate | None:
        """Of the last checkpoints: of their episodes, or of the runs' mean scores over games; none before any."""
        return self._interquartile_mean(self._last) if self.finals else None

    def _interquartile_mean(self, played: Played) -> Estimate:
        if self.normalized:
            return scores.iqm_over_games([self._by_seed(played, game) for game in self.games])
        return scores.estimate_over_seeds(self._by_seed(played), scores.interquartile_mean, copies=self.copies)

    @cached_property
    def mean(self) -> float | None:
        """Of all episodes of the last checkpoints; over games, of the games' means."""
        if not self.finals:
            return None
        return float(np.mean([np.mean(np.concatenate(self.returns_by_seed(game))) for game in self.games]))

    @cached_property
    def best(self) -> Estimate | None:
        """As `iqm`, of each run's best checkpoint, on seeds that did not choose it; none if a run has none."""
        played = [(run, best.returns) for run, _ in self.finals if (best := best_checkpoint(run))]
        return self._interquartile_mean(played) if played and len(played) == len(self.finals) else None


def counted(number: int, what: str, many: str | None = None) -> str:
    """`1 seed`, `3 seeds`, `1,000 episodes`; `many` is the plural where it takes more than an s."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def groups(comparison: Comparison) -> tuple[Group, ...]:
    """The approaches, best interquartile mean first, those without an evaluation last."""
    names = dict.fromkeys(_name(run, comparison.baseline) for run in comparison.runs)
    made = [_group(name, index, comparison) for index, name in enumerate(names)]
    return tuple(sorted(made, key=lambda group: -group.iqm.value if group.iqm else np.inf))


def _name(run: RunView, baseline: str | None) -> str:
    return f"{run.approach} ({baseline})" if run.side == "baseline" and baseline else run.approach


def _group(name: str, index: int, comparison: Comparison) -> Group:
    runs = [run for run in comparison.runs if _name(run, comparison.baseline) == name]
    runs.sort(key=lambda run: (run.rom, run.seed))
    turn, place = divmod(index, len(_COLORS))
    look = (_COLORS[place], _DASHES[turn % len(_DASHES)], _SYMBOLS[place])
    return Group(name, *look, tuple(runs), comparison.normalized)
