"""Returns of a policy that was trained on RAM when it plays from true, followed and decoded RAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.scores.estimates import Estimate, estimate, mean
from tasks.arcade.settings.evaluation import PixelMethod

RamSource = Literal["true", "followed", "decoded", "random"]
SOURCES: tuple[RamSource, ...] = ("true", "followed", "decoded", "random")
"""What the policy observes; `random` plays random actions instead."""
SOURCE_OF: Mapping[PixelMethod, RamSource] = {"follow": "followed", "decode": "decoded"}
METHOD_OF: Mapping[RamSource, PixelMethod] = {source: method for method, source in SOURCE_OF.items()}

Returns = Mapping[RamSource, tuple[float, ...]]
"""Returns, one per episode, by what the policy observes; the same seeds each."""


def return_kept(returns: Returns) -> dict[RamSource, float]:
    """Return the share of the policy's mean return over random play that followed and decoded RAM keep."""
    means = {source: float(np.mean(values)) for source, values in returns.items()}
    if not {"true", "random"} <= means.keys() or (gain := means["true"] - means["random"]) <= 0:
        return {}
    return {source: (means[source] - means["random"]) / gain for source in METHOD_OF if source in means}


def describe_returns(returns: Returns) -> tuple[str, ...]:
    """Return the mean returns with their intervals, and what followed and decoded RAM keep, as lines for a terminal."""
    if not returns:
        return ()
    shown = ", ".join(f"{source} {_format(estimate(returns[source], mean))}" for source in SOURCES if source in returns)
    episodes = pluralize(len(next(iter(returns.values()))), "episode")
    lines = [f"mean return of {episodes} by the RAM that the policy observes: {shown}"]
    if kept := return_kept(returns):
        shares = ", ".join(f"{share:.0%} by {source} RAM" for source, share in kept.items())
        lines.append(f"of the return over random play are kept: {shares}")
    return tuple(lines)


def return_metrics(returns: Returns) -> dict[str, float]:
    """Return the mean returns and what is kept of them as metrics: `return_true`, `return_kept_followed`, ..."""
    found = {f"return_{source}": float(np.mean(values)) for source, values in returns.items()}
    return found | {f"return_kept_{source}": share for source, share in return_kept(returns).items()}


def _format(one: Estimate) -> str:
    interval = "" if one.low is None or one.high is None else f" [{one.low:.1f}, {one.high:.1f}]"
    return f"{one.value:.1f}{interval}"
