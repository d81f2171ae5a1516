"""Reader of `args.yml` and `config.yml`, in which rl-baselines3-zoo keeps arguments and hyperparameters of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tasks.arcade.external_runs.runs import Declared, ExternalRunError, RawLog, Source, printable_path
from tasks.arcade.text_files import decode_text

_WRAPPERS = {"AtariWrapper": ("frame_skip", 4), "AtariPreprocessing": ("frame_skip", 4), "MaxAndSkipEnv": ("skip", 4)}
"""Class of a wrapper that skips frames → its argument, and the argument's default."""
_MAX_BYTES = 1_000_000


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Loader that constructs no Python objects: rl-baselines3-zoo's ordered dictionaries become lists of pairs."""


_PlainLoader.add_constructor(
    "tag:yaml.org,2002:python/object/apply:collections.OrderedDict",
    lambda loader, node: dict(loader.construct_sequence(node, deep=True)[0]),
)
_PlainLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node, deep=True)
)
_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, tag, node: None)


def read_zoo_config(files: list[Path]) -> RawLog:
    """Read the files of a run.

    Raises:
        ExternalRunError: a file is not valid YAML.
    """
    return RawLog(
        tuple(Source(file=printable_path(file), kind="rl-baselines3-zoo config", taken="settings") for file in files),
        declared=tuple(_declared(file, _read(file)) for file in files),
    )


def _read(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ExternalRunError(f"{file} is not a file of rl-baselines3-zoo: it is larger than {_MAX_BYTES:,} bytes")
        fields = _PlainLoader(decode_text(file.read_bytes())).get_single_data()
    except OSError as error:
        raise ExternalRunError(f"{file} cannot be read: {error.strerror}") from None
    # Constructors raise ValueError, TypeError and IndexError for fields of unexpected types.
    except (yaml.YAMLError, ValueError, TypeError, IndexError, RecursionError) as error:
        if isinstance(error, ExternalRunError):
            raise
        raise ExternalRunError(f"{file} is not valid YAML: {' '.join(str(error).split())[:200]}") from None
    return fields if isinstance(fields, Mapping) else {}


def _declared(file: Path, fields: Mapping[str, Any]) -> Declared:
    env_kwargs = fields.get("env_kwargs")
    env_id = fields.get("env")
    return Declared(
        source=file.name,
        env_id=env_id if isinstance(env_id, str) else None,
        frame_skip=_positive(env_kwargs.get("frameskip")) if isinstance(env_kwargs, Mapping) else None,
        wrapper_skip=_wrapper_skip(fields["env_wrapper"]) if "env_wrapper" in fields else None,
        steps=_positive(fields.get("n_timesteps")),
        seed=_whole(fields.get("seed"), at_least=0),
        n_envs=_positive(fields.get("n_envs")),
    )


def _wrapper_skip(wrappers: object) -> int | None:
    """Return the steps of the environment per step of the agent; None if no known wrapper says so."""
    skip = None
    for wrapper in wrappers if isinstance(wrappers, list) else [wrappers]:
        name, arguments = next(iter(wrapper.items()), (None, {})) if isinstance(wrapper, Mapping) else (wrapper, {})
        if known := _WRAPPERS.get(str(name).rpartition(".")[2]):
            argument, default = known
            given = arguments.get(argument, default) if isinstance(arguments, Mapping) else default
            skip = (skip or 1) * (_positive(given) or default)
    return skip


def _positive(value: object) -> int | None:
    return _whole(value, at_least=1)


def _whole(value: object, at_least: int) -> int | None:
    """Return a whole number; the zoo writes 1e7 as a float, and -1 for its default."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < 2**53 or value % 1:
        return None
    return int(value)
