"""Settings of the web pages: addresses of both UIs, who may ask, and under which names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

PASSWORD_ENVIRONMENT = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - the name of a variable
"""Environment variable with the user and the password, separated by a colon, that Prefect's UI asks for, too."""
HOSTS_ENVIRONMENT = "RAMREEL_WEB_ALLOWED_HOSTS"
"""Environment variable with further names of the server, separated by commas, such as that of a proxy."""


@dataclass(frozen=True)
class WebSettings:
    """Settings of the web pages.

    Attributes:
        prefect: address of Prefect's UI without a trailing slash; None if there is none to link to.
        mlflow: address of MLflow's UI, likewise.
        login: user and password, separated by a colon; None if nobody is asked for them.
        hosts: names and addresses under which the server may be asked without a password; empty allows any.
    """

    prefect: str | None = None
    mlflow: str | None = None
    login: str | None = field(default=None, repr=False)
    hosts: Sequence[str] = ()

    def flow_run_page(self, flow_run_id: str | None) -> str | None:
        """Return the page of a flow run in Prefect's UI."""
        return f"{self.prefect}/runs/flow-run/{flow_run_id}" if self.prefect and flow_run_id else None

    def mlflow_page(self, path: str) -> str | None:
        """Return a page of MLflow's UI, given its path."""
        return f"{self.mlflow}{path}" if self.mlflow else None


def from_environment(prefect: str | None, mlflow: str | None, hosts: Sequence[str]) -> WebSettings:
    """Return settings with the login, and the further names of the server, of the environment."""
    further = [name.strip() for name in os.environ.get(HOSTS_ENVIRONMENT, "").split(",")]
    return WebSettings(
        prefect=prefect,
        mlflow=mlflow,
        login=os.environ.get(PASSWORD_ENVIRONMENT) or None,
        hosts=tuple(filter(None, (*hosts, *further))) if hosts else (),
    )
