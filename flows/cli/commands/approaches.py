"""`ramreel approaches`."""

from __future__ import annotations

from flows.cli.options import Json
from flows.cli.session import open_terminal


def approaches(*, as_json: Json = False) -> None:
    """List the named approaches that --approach and --approaches take."""
    from tasks.arcade.settings.approaches import APPROACHES

    listed = list(APPROACHES.values())
    with open_terminal(as_json) as terminal:
        terminal.table(
            ["approach", "algorithm", "features", "environments", "description"],
            [
                [one.name, one.algorithm.algorithm, one.features.kind, str(one.n_envs), one.description]
                for one in listed
            ],
            ["a settings file changes any of their settings: `ramreel train ENV --settings FILE`"],
            {"approaches": [one.model_dump(mode="json") for one in listed]},
        )
