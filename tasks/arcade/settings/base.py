"""The base class of all settings, and parsing of JSON files of one schema version."""

from __future__ import annotations

import re
from typing import TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.legacy import current_names
from tasks.arcade.text_files import decode_text

SCHEMA = 1
"""Schema version of the files written; files of a newer one are refused."""


class Settings(BaseModel):
    """Frozen pydantic model that forbids unknown fields."""

    # Deferred, because every process imports all settings and uses few of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of a form: titles as a person writes them, and no null beside a plain type.

        Prefect's form shows a field that may be null as "None", with a menu to choose its type; a field that is left
        out has its default all the same.
        """
        schema = handler(core_schema)
        resolved = handler.resolve_ref_schema(schema)
        resolved["title"] = _words(re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Settings")))
        for name, declared in resolved.get("properties", {}).items():
            info = cls.model_fields.get(name)
            if info is None or info.title is None:
                declared["title"] = _words(name)
            _leave_out_null(declared, handler)
        return schema


def _words(name: str) -> str:
    """Return an identifier as words, the first of them capitalized."""
    return name.strip("_").replace("_", " ").lower().capitalize()


def _leave_out_null(declared: JsonSchemaValue, handler: GetJsonSchemaHandler) -> None:
    """Describe a field that is of one type or null as that type, without a default.

    Prefect still accepts null for it, because its type is declared in place instead of by a reference, and without a
    default.
    """
    options = declared.get("anyOf", [])
    plain = [option for option in options if option.get("type") != "null"]
    if len(plain) != 1 or len(options) != 2 or "enum" in plain[0]:
        return
    described = handler.resolve_ref_schema(plain[0])
    if "anyOf" in described:
        (kind,) = {option["type"] for option in described["anyOf"]}
        described = {**described, "type": kind}
    own = {key: value for key, value in declared.items() if key != "anyOf" and value is not None}
    if "properties" in described and own.pop("default", None) is None:
        described = {**described, "properties": {k: _left_empty(v) for k, v in described["properties"].items()}}
    declared.clear()
    declared.update({**described, **own})


def _left_empty(declared: JsonSchemaValue) -> JsonSchemaValue:
    """Describe a field of a group that is null by default: a form leaves it empty, and sends only what is entered."""
    empty = {key: value for key, value in declared.items() if key != "default"}
    if empty.get("type") == "boolean":
        # A switch is off or on; a menu can be empty.
        del empty["type"]
        empty["enum"] = [True, False]
    return empty


class NewerSchemaError(RamreelError, ValueError):
    """A file has a newer schema than this version of ramreel reads."""


class NotJsonError(RamreelError, ValueError):
    """A file is not valid JSON."""


S = TypeVar("S", bound=Settings)


def parse_json(kind: type[S], raw: bytes, newest: int = SCHEMA) -> S:
    """Parse the JSON of a file, of this version or of an earlier one.

    Args:
        kind: Model of the file.
        raw: Content of the file.
        newest: Newest schema version of such files.

    Raises:
        NotJsonError: If it is not valid JSON.
        NewerSchemaError: If its `schema` is newer than `newest`.
        ValueError: If validation fails; the message names the first invalid field.
    """
    try:
        fields = pydantic_core.from_json(decode_text(raw), allow_inf_nan=False)
    except ValueError as error:
        raise NotJsonError(f"it is not valid JSON ({error})") from None
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(schema, int) and schema > newest:
        raise NewerSchemaError(f"schema {schema}; this version of ramreel reads up to {newest}: update ramreel")
    try:
        return kind.model_validate(current_names(fields))
    except ValidationError as error:
        raise ValueError(first_error(error)) from None


def first_error(error: ValidationError) -> str:
    """Return the first validation error as one line: location and message."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"
