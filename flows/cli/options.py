"""Options of the commands, derived from the input models.

A command is a function of the values typed for one input model, and of options that exist on the command line only.
`options_of` gives it one option per field of the model: name, help and default are the field's. The tables below hold
only what the command line spells differently. Values reach the model as text, and the model's types and limits are the
only ones; `option_name` translates the location of a validation error into the option.

cyclopts derives options from a pydantic model itself, but under the dotted names of nested fields, with a negative of
every flag, and not for a field that is either a name or a model (`TrainSettings.approach`).
"""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive
from pydantic.fields import FieldInfo

from tasks.arcade.inputs import commands, forms, unattended
from tasks.arcade.settings.base import Settings

Given = dict[str, Any]
"""Values typed for the fields of an input model, nested as in the model; fields that were not typed are absent."""

Path = tuple[str, ...]
"""Names of a nested field, outermost first."""

NAMES: Mapping[str, str] = {
    "env_id": "ENV",
    "file": "FILE",
    "run": "RUN",
    "runs": "RUN...",
    "paths": "PATH...",
    "pattern": "PATTERN",
    "target": "RUN|FILE",
    "trace": "TRACE",
    "video.panel": "--panel/--plain",
    "AtlasSettings.run": "--run",
    "OpenSettings.target": "PAGE",
    "DecodeSettings.runs": "--run",
    "FollowSettings.env_id": "--env",
    "FollowSettings.path": "VIDEO",
    "ImportSettings.env_id": "--env",
    "LearningBenchmarkSettings.env_ids": "--envs",
    "RecordSettings.steps": "--checkpoint",
    "LiveBenchmarkSettings.env_id": "--env",
    "MemoryBenchmarkSettings.env_id": "--env",
    "PipelineBenchmarkSettings.env_id": "--env",
    "PruneSettings.delete": "--yes",
    "StartBenchmarkSettings.env_id": "--env",
    "TrainingBenchmarkSettings.env_id": "--env",
    "UpSettings.browser": "--browser/--no-browser",
    "WatchSettings.browser": "--browser/--no-browser",
    "VideoBenchmarkSettings.env_id": "--env",
}
"""Field, of every model or of one → its name: without dashes an argument, with dots a repeated one, after a slash the
negative of a flag. The default is the name of the field as an option."""

HIDDEN = frozenset({
    "AtlasSettings.steps",
    "LearningBenchmarkSettings.checkpoint_every",
    "LearningBenchmarkSettings.evaluation_seed",
    "PipelineSettings.evaluation.deterministic",
    "PipelineSettings.evaluation.seed",
    "RecordSettings.last",
    "TrainSettings.evaluation",
})  # fmt: skip
"""Fields that only forms and flows set."""

CHOICES: Mapping[str, Mapping[str, str]] = {
    "video.episode": {
        "best": "Record the episode with the highest return instead of the median one",
        "worst": "Record the episode with the lowest return instead of the median one",
        "all": "Record every episode",
    }
}
"""Field → values that have a flag of their own, which exclude each other, and the flag's help."""

COMMA_SEPARATED = frozenset(
    {
        "approaches",
        "env_ids",
        "parameters",
        "seeds",
        "MemoryBenchmarkSettings.n_envs",
        "MemoryBenchmarkSettings.workers",
    }
)
"""Fields that take one comma-separated list; other sequences are repeated options."""


def _approaches(_: object) -> Mapping[str, str]:
    from tasks.arcade.settings.approaches import APPROACHES

    return {name: approach.description for name, approach in APPROACHES.items()}


def _environment_ids(_: object) -> Sequence[str]:
    from tasks.arcade.emulator.environment_ids import environment_ids

    return tuple(environment_ids())


COMPLETERS: Mapping[str, Callable[[object], Mapping[str, str] | Sequence[str]]] = {
    "approach": _approaches,
    "env_id": _environment_ids,
}
"""Field → its candidates in shell completion."""

PLACEHOLDERS: Mapping[str, str] = {
    "against": "RUN",
    "approaches": "NAME",
    "artifacts": "URI",
    "database": "URI",
    "decoder": "RUN",
    "env_ids": "ENV",
    "highlight": "SECONDS",
    "hub": "FOLDER",
    "parameters": "NAME",
    "push": "USER/NAME",
    "redis": "URL",
    "server": "ADDRESS",
    "to": "FILE",
}
"""Placeholders of values, where they are neither a number's type nor the option's own name."""

OPTIONS = Group("Options", sort_key=1)
MLFLOW = Group("MLflow", sort_key=8)
OUTPUT = Group("Output", sort_key=9)
GROUPS: Mapping[str, Group] = {"name": MLFLOW, "experiment": MLFLOW, "to": OUTPUT, "hub": OUTPUT, "push": OUTPUT}

TrackingUri = Annotated[
    str | None,
    Parameter(
        metavar="URI",
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, otherwise mlruns/mlflow.db)",
        group=MLFLOW,
    ),
]
Table = Annotated[
    pathlib.Path | None,
    Parameter(
        metavar="FILE",
        help="CSV file to add the results to; a table of all results in it is written next to it as Markdown",
        group=OUTPUT,
    ),
]
Json = Annotated[
    bool, Parameter(name="--json", help="Print one JSON object as the last line of standard output", group=OUTPUT)
]
Quiet = Annotated[bool, Parameter(name="--quiet", help="Do not report progress", group=OUTPUT)]

Command = Callable[..., int | None]


@dataclass(frozen=True)
class _Field:
    """A field of an input model, however deep, without the models that hold it.

    Attributes:
        model: name of the input model.
        path: names of the field.
        info: its declaration.
        default: its default on the command line; None if it is not a constant.
        group: panel of the help; None: by kind.
    """

    model: str
    path: Path
    info: FieldInfo
    default: Any
    group: Group | None

    @property
    def type(self) -> Any:
        return _without_none(self.info.annotation)

    @property
    def help(self) -> str:
        unset = self.default is None or self.default is False or self.default in ((), "")
        return f"{self.info.description}{'' if unset else f' (default: {_shown(self.default)})'}"

    def lookup(self, table: Mapping[str, Any] | Collection[str]) -> str | None:
        """Return the key under which a table holds this field, that of this model first."""
        path = ".".join(self.path)
        return next((key for key in (f"{self.model}.{path}", path) if key in table), None)


def options_of(model: type[Settings], *, optional: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command an option for each field of an input model.

    The command's first parameter receives the typed values, as `Given`.

    Args:
        model: the input model.
        optional: fields that need not be typed, though the model requires them.
    """

    def decorate(function: Command) -> Command:
        derived = {
            name: (field, parameter) for field in _fields(model) for name, parameter in _parameters(field, optional)
        }
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        parameters = sorted((parameter for _, parameter in derived.values()), key=lambda one: one.kind)
        signature = inspect.Signature([*parameters, *own])

        def command(*args: Any, **kwargs: Any) -> int | None:
            values = signature.bind(*args, **kwargs).arguments
            given: Given = {}
            for name, (field, _) in derived.items():
                if (value := values.pop(name, None)) not in (None, ()):
                    _set(given, field.path, _parsed(field, name, value))
            return function(given, **values)

        command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
        command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
        command.__signature__ = signature  # type: ignore[attr-defined]
        return command

    return decorate


def option_name(model: str, location: tuple[int | str, ...]) -> str:
    """Return how the command line calls a field, given its location in a validation error of a model."""
    names = [str(part) for part in location if not isinstance(part, int)]
    declared = next((getattr(room, model) for room in (forms, unattended, commands) if hasattr(room, model)), None)
    for field in _fields(declared) if declared else ():
        if field.path == tuple(names[: len(field.path)]):
            return _name(field).partition("/")[0]
    # A model that the command made of its input model.
    return f"--{names[0].replace('_', '-')}" if names else ""


def _fields(model: type[Settings]) -> Iterator[_Field]:
    return _nested(model.__name__, model, (), None, None)


def _nested(root: str, model: type[Settings], path: Path, group: Group | None, default: Any) -> Iterator[_Field]:
    """Yield the fields of a model, those of the models in it included.

    Args:
        root: name of the input model.
        model: the model at `path`.
        path: where it is in the input model.
        group: panel of the help.
        default: the value of the model at `path` if it is not given; None if that is not a constant.
    """
    for name, info in model.model_fields.items():
        own = getattr(default, name, None) if path else None if info.is_required() else info.default
        field = _Field(root, (*path, name), info, own, group)
        if field.lookup(HIDDEN):
            continue
        inner = field.type
        if inspect.isclass(inner) and issubclass(inner, Settings):
            panel = Group(name.capitalize(), help=f"{info.description}\n", sort_key=2)
            yield from _nested(root, inner, field.path, panel, field.default)
        else:
            yield field


def _name(field: _Field) -> str:
    key = field.lookup(NAMES)
    return NAMES[key] if key else f"--{field.path[-1].replace('_', '-')}"


def _parameters(field: _Field, optional: Collection[str]) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the parameters of a command that set a field: one, or one per choice."""
    identifier, name = "_".join(field.path), _name(field)
    required = field.info.is_required() and field.path[-1] not in optional
    group = field.group or GROUPS.get(field.path[-1], OPTIONS)
    completer = COMPLETERS.get(field.path[-1])
    if choices := field.lookup(CHOICES):
        exclusive = Group(validator=mutually_exclusive)
        for choice, text in CHOICES[choices].items():
            shown = Parameter(name=f"--{choice}", help=text, group=(group, exclusive))
            yield f"{identifier}_{choice}", _keyword(f"{identifier}_{choice}", bool, shown)
    elif not name.startswith("-"):
        repeated = name.endswith("...")
        kind = inspect.Parameter.VAR_POSITIONAL if repeated else inspect.Parameter.POSITIONAL_ONLY
        shown = Parameter(name=name.removesuffix("..."), help=field.help, required=required, completer=completer)
        default = {} if repeated else {"default": None}
        annotation: Any = Annotated[str, shown] if repeated else Annotated[str | None, shown]
        yield identifier, inspect.Parameter(identifier, kind, annotation=annotation, **default)
    elif field.type is bool:
        positive, _, negative = name.partition("/")
        shown = Parameter(name=positive, negative=negative, help=field.help, group=group)
        yield identifier, _keyword(identifier, bool, shown)
    else:
        repeated = get_origin(field.type) is tuple and not field.lookup(COMMA_SEPARATED)
        shown = Parameter(
            name=name,
            help=field.help,
            metavar=_placeholder(field, name),
            required=required,
            group=group,
            completer=completer,
        )
        yield identifier, _keyword(identifier, tuple[str, ...] if repeated else str, shown)


def _keyword(name: str, kind: Any, shown: Parameter) -> inspect.Parameter:
    annotation = Annotated[kind | None, shown]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _placeholder(field: _Field, name: str) -> str:
    """Return the placeholder for a value: a number's type, otherwise the option's own name."""
    kind = _without_none(get_args(field.type)[0]) if get_origin(field.type) is tuple else field.type
    default = {int: "INT", float: "FLOAT"}.get(kind) or name.strip("-").upper().replace("-", "_")
    placeholder = PLACEHOLDERS.get(field.path[-1], default)
    return f"{placeholder},..." if field.lookup(COMMA_SEPARATED) else placeholder


def _without_none(annotation: Any) -> Any:
    """Return a type without `None` and without metadata."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [one for one in get_args(annotation) if one is not NoneType]
        return _without_none(members[0]) if len(members) == 1 else annotation
    return annotation


def _shown(value: Any) -> str:
    """Return a default as help prints it."""
    match value:
        case tuple():
            return ", ".join(map(_shown, value))
        case True:
            return "on"
        case int() if value >= 10_000:
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _parsed(field: _Field, name: str, value: Any) -> Any:
    """Return a typed value in the shape that the model validates."""
    if field.lookup(CHOICES):
        return name.removeprefix("_".join(field.path) + "_")
    if field.lookup(COMMA_SEPARATED):
        return [word.strip() for word in value.split(",") if word.strip()]
    return list(value) if isinstance(value, tuple) else value


def _set(given: Given, path: Path, value: Any) -> None:
    for name in path[:-1]:
        given = given.setdefault(name, {})
    given[path[-1]] = value
