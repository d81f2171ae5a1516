"""The store's error, and the texts of other libraries' errors made fit to log."""

from __future__ import annotations

import functools
import re
import sys
import textwrap
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tasks.arcade.errors import RamreelError

_P = ParamSpec("_P")
_R = TypeVar("_R")
_PASSWORDS = re.compile(r"(?<=//)[^/\s]*@|(?<=[?&])password=[^&\s]*&?", re.IGNORECASE)
_DELETED_RUN = re.compile(r"[Rr]un (\w{32}) must be in the 'active' state")
_UNKNOWN_RUN = re.compile(r"Run with id=(\w{32}) not found")


class StoreError(RamreelError):
    """A request to the store failed; the message is one line: what is wrong, then what would be right."""


def one_line(error: BaseException) -> str:
    """Return an error's message on one line, shortened to 400 characters, without passwords in URIs."""
    text = _deleted_run(str(error)) or without_passwords(str(error) or type(error).__name__)
    return textwrap.shorten(text, width=400, placeholder=" ...")


def _deleted_run(text: str) -> str:
    """Return what is wrong with the run that MLflow's message names; empty if the message is another one."""
    if found := _DELETED_RUN.search(text):
        return f"run {found[1]} is deleted: restore it in MLflow, or choose another one"
    if found := _UNKNOWN_RUN.search(text):
        return unknown_run(found[1])
    return ""


def unknown_run(run_id: str) -> str:
    """Return the message for a run that the store does not have."""
    return f"run {run_id} is not in the store: it was deleted for good, or it is in another store"


def without_passwords(text: str) -> str:
    """Return a text with the credentials removed from the URIs in it."""
    return _PASSWORDS.sub("", text)


def raises_store_error(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function to raise `StoreError`, one line, for errors of MLflow and of the operating system."""

    @functools.wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except StoreError:
            raise
        except Exception as error:
            if isinstance(error, OSError) or _is_mlflow_error(error):
                # Prefect logs an error's cause too, and MLflow's own message holds the URI with its password.
                raise StoreError(_deleted_run(str(error)) or f"the store failed: {one_line(error)}") from None
            raise

    return wrapper


def _is_mlflow_error(error: Exception) -> bool:
    # An error of MLflow's exists only after its import, and this module must not import it first.
    exceptions = sys.modules.get("mlflow.exceptions")
    return exceptions is not None and isinstance(error, exceptions.MlflowException)
