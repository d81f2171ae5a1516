"""The Prefect server that the environment names, checked before it is used."""

from __future__ import annotations

import os

from tasks.arcade.errors import RamreelError
from tasks.store import one_line, without_passwords


class PrefectServerError(RamreelError):
    """A Prefect server is not named or cannot be used; the message is one line."""


def configured_prefect_server() -> str:
    """Return the URL of the API of the Prefect server that `PREFECT_API_URL` names.

    Raises:
        PrefectServerError: none is named, or it cannot be used.
    """
    api = os.environ.get("PREFECT_API_URL")
    if not api:
        raise PrefectServerError(
            "PREFECT_API_URL is not set: set it to the API of a Prefect server, such as http://127.0.0.1:4200/api"
        )
    check_prefect_server(api)
    return api


def check_prefect_server(api: str) -> None:
    """Check that a Prefect server answers requests with the credentials of the environment.

    Raises:
        PrefectServerError: it does not.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    try:
        # The health check needs no credentials.
        with (
            temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True) as client,
        ):
            client.read_work_pools(limit=1)
    except Exception as error:
        # Whatever answers at the address may not be a Prefect server.
        raise PrefectServerError(
            f"no Prefect server responds at {without_passwords(api)}: start it, or set PREFECT_API_URL to one that "
            f"does ({one_line(error)})"
        ) from None
