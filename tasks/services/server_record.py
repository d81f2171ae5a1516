"""What a server publishes for machines that join it, and how a machine compares itself with it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable
from pydantic import ValidationError

from tasks.arcade.emulator.environment_ids import rom_set_digest
from tasks.arcade.settings.base import Settings
from tasks.execution.provenance import versions
from tasks.services.errors import ServiceConfigurationError
from tasks.store import without_passwords

_VARIABLE = "ramreel_server"
_IGNORED = ("python", "imageio-ffmpeg")
"""Neither determines what a machine stores, and both are the operating system's or the platform's choice."""


class IncompatibleServerError(ServiceConfigurationError):
    """A machine must not take work of a server; the message is one line."""


class ServerRecord(Settings):
    """What a machine needs to know of a server before it joins.

    Attributes:
        versions: versions of the packages that determine a result.
        roms: digest of all ROMs.
        mlflow_port: port of MLflow's server on the same machine; None if `ramreel up` does not run it.
        mlflow_url: URL of MLflow's server, without a password; None if `ramreel up` runs it, or it is not known.
    """

    versions: dict[str, str]
    roms: str
    mlflow_port: int | None = None
    mlflow_url: str | None = None

    def mlflow_at(self, api: str) -> str | None:
        """Return the URL of MLflow's server, for a machine that reaches Prefect at `api`."""
        if self.mlflow_port is None:
            return self.mlflow_url
        host = urlsplit(api).hostname or ""
        return f"http://{f'[{host}]' if ':' in host else host}:{self.mlflow_port}"

    def check(self, server: str) -> None:
        """Compare this machine with the server.

        Raises:
            IncompatibleServerError: they differ in what determines a result.
        """
        mine = versions()
        different = [
            f"{name} {mine.get(name, 'is missing')} (server: {theirs})"
            for name, theirs in self.versions.items()
            if name not in _IGNORED and mine.get(name) != theirs
        ]
        if different:
            raise IncompatibleServerError(
                f"this machine differs from {server}: {', '.join(different)}; install the same version of ramreel on "
                "both, with its constraints.txt"
            )
        if self.roms != rom_set_digest():
            raise IncompatibleServerError(
                f"this machine has other ROMs than {server}, whose emulators would play other games: reinstall ale-py"
            )


def publish_record(api: str, *, mlflow_port: int | None = None) -> None:
    """Publish this machine's record at a Prefect server.

    Args:
        api: URL of Prefect's API.
        mlflow_port: port of MLflow's server on this machine; None: it is that of `MLFLOW_TRACKING_URI`.
    """
    uri = without_passwords(os.environ.get("MLFLOW_TRACKING_URI", ""))
    record = ServerRecord(
        versions=versions(),
        roms=rom_set_digest(),
        mlflow_port=mlflow_port,
        mlflow_url=uri if mlflow_port is None and uri.startswith(("http://", "https://")) else None,
    )
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True):
        Variable.set(_VARIABLE, record.model_dump(mode="json"), overwrite=True)


def read_record(api: str, server: str) -> ServerRecord:
    """Return the record of a Prefect server.

    Raises:
        IncompatibleServerError: it has none, or one of another version.
    """
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True):
        found = Variable.get(_VARIABLE)
    try:
        return ServerRecord.model_validate(found)
    except ValidationError:
        raise IncompatibleServerError(
            f"the Prefect server {server} does not have the deployments of this version of ramreel: run `ramreel up` "
            "or `ramreel deploy` of this version there"
        ) from None
