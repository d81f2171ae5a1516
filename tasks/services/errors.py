"""Base class of the errors that keep a service from starting."""

from __future__ import annotations

from tasks.arcade.errors import RamreelError


class ServiceConfigurationError(RamreelError):
    """A service was not started because of its configuration; nothing was registered."""
