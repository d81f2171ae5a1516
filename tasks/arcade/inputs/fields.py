"""Field types shared by several input models."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from tasks.arcade.settings.run import ApproachSettings

MAX_STEPS = 10**10
_MAX_DIGITS = 20


def _offer_games(schema: dict[str, Any]) -> None:
    """Let a form offer today's environment ids, and accept any other as text."""
    from tasks.arcade.emulator.environment_ids import environment_ids

    games = [name for name in environment_ids() if name.endswith("-v5")]
    schema["anyOf"] = [
        {"title": "game", "type": "string", "enum": games},
        {"title": "any id", "type": schema.pop("type")},
    ]


def _offer_approaches(schema: dict[str, Any]) -> None:
    """Let a form offer the named approaches."""
    from tasks.arcade.settings.approaches import APPROACHES

    schema["enum"] = list(APPROACHES)


def name_kinds_of_approach(schema: dict[str, Any]) -> None:
    """Let a form call the two kinds of an approach by different titles."""
    for option, title in zip(schema["anyOf"], ("named", "user-defined"), strict=True):
        option["title"] = title


EnvId = Annotated[
    str,
    Field(
        title="Game",
        description="Environment id, e.g. ALE/Pong-v5; ids of old Gym releases such as Pong-ram-v0 are accepted",
        json_schema_extra=_offer_games,
    ),
]

ApproachName = Annotated[
    str, Field(title="Approach", description="Named approach", json_schema_extra=_offer_approaches)
]

Approach = ApproachName | ApproachSettings
"""The name of an approach, or a user-defined approach as a value."""

RunReference = Annotated[
    str,
    Field(
        title="Run",
        description="MLflow run id, an unambiguous prefix of it, a run name, or latest (the training run started last)",
    ),
]

Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _parse_count(value: object) -> object:
    """Return a whole number typed like 1e6 or 1_000_000; any other value unchanged, for pydantic to validate."""
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        return value
    whole = number.is_finite() and number.adjusted() < _MAX_DIGITS and number == number.to_integral_value()
    return int(number) if whole else value


PARSE_COUNT = BeforeValidator(_parse_count)
"""For a number that a command line may spell 1e6 or 1_000_000; after its limits, or its JSON schema lacks them."""

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS), PARSE_COUNT]

CheckpointInterval = Annotated[
    int, Field(title="Checkpoint interval", ge=1, description="Environment steps between checkpoints"), PARSE_COUNT
]

Workers = Annotated[
    int | None, Field(title="Workers", ge=1, le=256, description="Worker processes (default: one per CPU core)")
]

_BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Unicode's bidirectional control characters, which reverse the text that follows them."""


def _validate_name(name: str) -> str:
    if not name.strip() or not is_printable(name):
        raise ValueError("a name is one line of visible text without control characters")
    return name


def is_printable(text: str) -> bool:
    """Return whether a text is one line without control, surrogate or bidirectional characters."""
    return not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or one in _BIDIRECTIONAL for one in text)


Name = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_validate_name)]
"""Name of a run or an experiment in MLflow."""

Experiment = Annotated[
    Name | None, Field(title="Experiment", description="MLflow experiment (default: the environment id)")
]


def approach_name(approach: Approach) -> str:
    """Return the name of an approach."""
    return approach if isinstance(approach, str) else approach.name


def is_run_id(reference: str) -> bool:
    """Return whether a run reference is a full MLflow run id."""
    return re.fullmatch(r"[0-9a-f]{32}", reference) is not None


def short(run: str) -> str:
    """Return the first 8 digits of a run id; any other run reference unchanged."""
    return run[:8] if is_run_id(run) else run
