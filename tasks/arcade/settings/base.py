"""The base of every setting, and JSON files of one schema."""

from __future__ import annotations

from typing import TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.legacy import current_names

SCHEMA = 1
"""Version of the files written: checkpoints and traces of a newer one are refused."""


class Settings(BaseModel):
    """A frozen value that refuses unknown keys."""

    # Built when first used: each process that a command begins imports all settings, and needs few of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class NewerSchemaError(RamreelError, ValueError):
    """A file is of a newer schema; the message says which."""


class NotJsonError(RamreelError, ValueError):
    """A file is not JSON; the message says where it stops being so."""


S = TypeVar("S", bound=Settings)


def parsed(kind: type[S], raw: bytes) -> S:
    """A value from the JSON of a file.

    Raises:
        NotJsonError: it is not JSON.
        NewerSchemaError: its `schema` is newer than this program's.
        ValueError: it is not such a value; the message says where and why.
    """
    try:
        fields = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise NotJsonError(f"it is not JSON ({error})") from None
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerSchemaError(f"schema {schema}; this ramreel reads up to {SCHEMA}: update ramreel")
    try:
        return kind.model_validate(current_names(fields))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first of what is wrong with a value, and where in it."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"
