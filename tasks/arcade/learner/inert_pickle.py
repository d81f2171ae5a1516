"""Reads a pickle without importing or calling anything that it names.

Stable-Baselines3 pickles what JSON cannot hold: classes, spaces, schedules. A pickle names each class and function by
module and name; here every name becomes a stand-in, which records what it is called with. So a pickle of another
Python, or of packages that are not installed (`gym`), can be read as well, and none can run code.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

_MAX_BYTES = 10_000_000
_MAX_MEMO = 1_000_000


class InertPickleError(ValueError):
    """A pickle is damaged or too large."""


class StandIn:
    """What a pickle makes of a class or a function of another module: an instance, or the result of a call.

    Subclasses stand for one name each; the class itself stands for the class or the function.

    Attributes:
        path: module and name.
        arguments: arguments of the call.
        state: attributes that the pickle sets.
        parts: what the pickle sets instead of attributes, such as the dtype and the bytes of an array.
    """

    path: ClassVar[str] = ""

    arguments: tuple[Any, ...]
    state: dict[str, Any]
    parts: tuple[Any, ...]

    # Some pickles create an instance without calling the class.
    def __new__(cls, *arguments: Any, **_: Any) -> Self:
        self = super().__new__(cls)
        self.arguments, self.state, self.parts = arguments, {}, ()
        # cloudpickle sets the state of a function, its second argument, by a call.
        if cls.path.endswith("_function_setstate") and len(arguments) == 2 and isinstance(arguments[0], StandIn):
            arguments[0].__setstate__(arguments[1])
        return self

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    # cloudpickle calls what another call returns: the type of functions.
    def __call__(self, *arguments: Any, **_: Any) -> StandIn:
        return type(self)(*arguments)

    def __setstate__(self, state: Any) -> None:
        self.parts = state if isinstance(state, tuple) else (state,)
        for part in self.parts:
            self.state |= part if isinstance(part, Mapping) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Ignore an item of a stand-in for a list."""

    def extend(self, values: Any) -> None:
        """Ignore items of a stand-in for a list."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw))
        self._classes: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> type[StandIn]:
        path = f"{module}.{name}"
        return self._classes.setdefault(path, type(name.rpartition(".")[2], (StandIn,), {"path": path}))


def read_inert(raw: bytes) -> Any:
    """Return the value of a pickle, with stand-ins for all classes and functions.

    Raises:
        InertPickleError: it is damaged or too large.
    """
    if len(raw) > _MAX_BYTES:
        raise InertPickleError(f"it is larger than {_MAX_BYTES:,} bytes")
    try:
        # The index of a memo entry is the only number in a pickle that reserves memory beyond its own size.
        for operation, argument, _ in pickletools.genops(raw):
            if "PUT" in operation.name and isinstance(argument, int) and argument > _MAX_MEMO:
                raise InertPickleError("its memo is too large")
        return _Unpickler(raw).load()
    except InertPickleError:
        raise
    # A damaged pickle can raise any exception.
    except Exception as error:
        raise InertPickleError(f"{type(error).__name__} {error}") from None


def class_path(value: Any) -> str | None:
    """Return module and name of a pickled class or function, or the name of one that is pickled by value.

    None if the value is something else.
    """
    if isinstance(value, type) and issubclass(value, StandIn):
        return value.path
    if isinstance(value, StandIn) and value.path.endswith("_make_skeleton_class") and len(value.arguments) > 1:
        return str(value.arguments[1])
    return None
