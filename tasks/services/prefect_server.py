"""The Prefect server that the environment names, checked before it is used."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from tasks.services.errors import ServiceConfigurationError
from tasks.store import one_line, without_passwords

_PREFECT_PORT = 4200


class PrefectServerError(ServiceConfigurationError):
    """A Prefect server is not named or cannot be used; the message is one line."""


def prefect_api(server: str) -> str:
    """Return the URL of Prefect's API on a machine: `host`, `host:port`, or a URL.

    Raises:
        PrefectServerError: it is none of them, or holds a password.
    """
    url = server if "://" in server else f"http://{server}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise PrefectServerError(
            f"--server {without_passwords(server)!r} is not an address: use one such as lab-server:4200"
        )
    if parts.password:
        raise PrefectServerError(
            "--server must not hold a password: set PREFECT_API_AUTH_STRING to user:password instead"
        )
    if port is None and parts.scheme == "http":
        parts = parts._replace(netloc=f"{parts.netloc}:{_PREFECT_PORT}")
    path = parts.path.rstrip("/").removesuffix("/api")
    return parts._replace(path=f"{path}/api").geturl()


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
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    try:
        # The health check needs no credentials.
        with (
            temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True) as client,
        ):
            client.read_work_pools(limit=1)
    except Exception as error:
        if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in (401, 403):
            raise PrefectServerError(
                f"the Prefect server at {without_passwords(api)} refuses the credentials: set PREFECT_API_AUTH_STRING "
                "to its user:password"
            ) from None
        # Whatever answers at the address may not be a Prefect server.
        raise PrefectServerError(
            f"no Prefect server responds at {without_passwords(api)}: start it, or set PREFECT_API_URL to one that "
            f"does ({one_line(error)})"
        ) from None
