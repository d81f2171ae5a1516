"""The settings reference of the manual, from the pydantic models."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_MOST_CHOICES = 8
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_LENGTHS = {"minItems": "at least", "maxItems": "at most"}


def approach_table() -> str:
    """Return the named approaches with their descriptions."""
    from tasks.arcade.settings.approaches import APPROACHES

    rows = [(f"`{approach.name}`", _cell(approach.description)) for approach in APPROACHES.values()]
    return _table(("Approach", "Description"), rows)


def settings_tables(module: str) -> str:
    """Return one section per settings model of a module, base classes left out."""
    return "\n\n".join(map(settings_table, models_of(module)))


def settings_table(model: type[BaseModel]) -> str:
    """Return a model's section: the first paragraph of its docstring, and one row per field."""
    schema = model.model_json_schema(by_alias=False)
    required, definitions = set(schema.get("required", ())), schema.get("$defs", {})
    rows = [
        (
            f"`{field}`",
            _cell(type_text(declared, definitions)),
            "required" if field in required else _default(declared),
            _cell(str(declared.get("description", ""))),
        )
        for field, declared in schema.get("properties", {}).items()
    ]
    name, docstring = model.__name__, (model.__doc__ or "").strip().split("\n\n")[0]
    heading = f"### {name} {{ #{name.lower()} }}"
    return "\n\n".join((heading, " ".join(docstring.split()), _table(("Field", "Type", "Default", "Meaning"), rows)))


def models_of(module: str) -> list[type[BaseModel]]:
    """Return the public models that a module defines, without base classes that no setting has as its type."""
    from tasks.arcade.settings.run import ApproachSettings

    types = ApproachSettings.model_json_schema()["$defs"]
    found = [
        value
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module and name[0] != "_"
    ]
    bases = {base for model in found for base in model.__mro__[1:]}
    return [model for model in found if model not in bases or model.__name__ in types]


def type_text(declared: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a field's type and limits as a reader of Python and JSON expects them."""
    found = dict.fromkeys(_alternatives(declared, definitions))
    return " or ".join(name for name in found if name != "null") or "null"


def _alternatives(declared: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    for key in ("anyOf", "oneOf", "allOf"):
        if key in declared:
            for option in declared[key]:
                yield from _alternatives(option, definitions)
            return
    if "$ref" in declared:
        yield _reference(declared["$ref"].rsplit("/", 1)[-1], definitions)
    elif "enum" in declared:
        choices = declared["enum"]
        yield "string" if len(choices) > _MOST_CHOICES else " or ".join(f"`{choice}`" for choice in choices)
    elif "const" in declared:
        yield f"`{declared['const']}`"
    elif "properties" in declared:
        yield _reference(f"{declared['title']}Settings", {f"{declared['title']}Settings": declared})
    elif declared.get("type") == "array":
        yield _array(declared, definitions)
    else:
        yield _scalar(declared)


def _reference(name: str, definitions: Mapping[str, Any]) -> str:
    target = definitions.get(name, {})
    return f"[{name}](settings.md#{name.lower()})" if target.get("type") == "object" else type_text(target, definitions)


def _array(declared: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in declared:
        return f"list of {len(declared['prefixItems'])}: {type_text(declared['prefixItems'][0], definitions)}"
    if "items" not in declared:
        return "empty list"
    lengths = [f"{words} {declared[key]}" for key, words in _LENGTHS.items() if key in declared]
    return f"list of {type_text(declared['items'], definitions)}" + (f" ({', '.join(lengths)})" if lengths else "")


def _scalar(declared: Mapping[str, Any]) -> str:
    limits = [f"{sign} {_number(declared[key])}" for key, sign in _LIMITS.items() if key in declared]
    name = str(declared.get("type", "any"))
    return ", ".join((name, *limits))


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _default(declared: Mapping[str, Any]) -> str:
    value = declared.get("default")
    if value is None:
        return "not set"
    if isinstance(value, dict | list) and value:
        return "see type" if isinstance(value, dict) else _cell(f"`{value}`")
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
