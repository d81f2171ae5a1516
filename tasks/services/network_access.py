"""Who may reach the servers: the address that they listen on, and the passwords that it needs."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from tasks.services.backends import check_packages
from tasks.services.errors import ServiceConfigurationError

LOOPBACK = "127.0.0.1"
_PREFECT_PASSWORD, _MLFLOW_PASSWORD = "PREFECT_SERVER_API_AUTH_STRING", "MLFLOW_AUTH_ADMIN_PASSWORD"
_USERS_FILE = """\
[mlflow]
default_permission = READ
database_uri = {uri}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
auth_cache_ttl_seconds = 60
"""
"""Settings of MLflow's basic authentication; the password is in the environment."""


class AccessError(ServiceConfigurationError):
    """The servers would be reachable without a password, or under an invalid address."""


@dataclass(frozen=True)
class Access:
    """The address that the servers listen on.

    Attributes:
        host: IP address or name of this machine.
    """

    host: str = LOOPBACK

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine reach the servers."""
        return _ip(self.host).is_loopback

    @property
    def name(self) -> str:
        """Host in the URLs of the servers."""
        address = _ip(self.host)
        if address.is_unspecified:
            return socket.gethostname()
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def local(self) -> str:
        """Host by which this machine reaches the servers."""
        address = _ip(self.host)
        return (LOOPBACK if address.version == 4 else "[::1]") if address.is_unspecified else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which this machine is reached; numeric addresses are not among them."""
        names = [self.host, self.name, "localhost"]
        if not self.is_loopback:
            names += [socket.gethostname(), socket.getfqdn()]
        return tuple(dict.fromkeys(name.lower() for name in names))

    @property
    def mlflow_has_password(self) -> bool:
        """Whether MLflow's server asks for a user and a password."""
        return bool(os.environ.get(_MLFLOW_PASSWORD))

    def check(self, *, insecure: bool) -> None:
        """Check the address, and that passwords are set where other machines can reach it.

        Args:
            insecure: passwords need not be set.

        Raises:
            ServiceConfigurationError: it is not an address of this machine, or a password is missing.
        """
        exposed = not self.is_loopback
        unset = [name for name in (_PREFECT_PASSWORD, _MLFLOW_PASSWORD) if not os.environ.get(name)]
        if exposed and unset and not insecure:
            raise AccessError(
                f"everyone who reaches {self.host} could use the servers: set {' and '.join(unset)}, or say --insecure "
                "on a network that you trust"
            )
        if _PREFECT_PASSWORD not in unset and ":" not in os.environ[_PREFECT_PASSWORD]:
            raise AccessError(f"{_PREFECT_PASSWORD} must be a user and a password, separated by a colon")
        if self.mlflow_has_password:
            check_packages({"flask_wtf": "flask-wtf"})

    def mlflow_environment(self, port: int, users_uri: str, folder: Path) -> dict[str, str]:
        """Return the variables of MLflow's server that the user has not set.

        Args:
            port: its port.
            users_uri: URI of the database of its users, without a password.
            folder: folder for a file of settings.
        """
        names = [self.name, self.local, socket.gethostname(), socket.getfqdn()]
        hosts = [f"{name}:{port}" for name in names]
        environment = {}
        if not self.is_loopback:
            # Against DNS rebinding MLflow answers 403 to all names of hosts, and to requests from other origins.
            private = ["localhost:*", "127.0.0.1:*", "10.*", "192.168.*", *(f"172.{part}.*" for part in range(16, 32))]
            environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(dict.fromkeys([*names, *hosts, *private]))
            environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(
                dict.fromkeys(f"http://{one}" for one in hosts)
            )
        if self.mlflow_has_password:
            settings = folder / "mlflow-users.ini"
            # ConfigParser expands %.
            settings.write_text(_USERS_FILE.format(uri=users_uri.replace("%", "%%")), "utf-8")
            environment |= {
                "MLFLOW_AUTH_CONFIG_PATH": str(settings),
                "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(),
            }
        return {name: value for name, value in environment.items() if name not in os.environ}


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IP address of a name.

    Raises:
        AccessError: it has none.
    """
    try:
        return ipaddress.ip_address(socket.getaddrinfo(host, None)[0][4][0])
    except (OSError, UnicodeError):
        raise AccessError(f"--host {host!r} is not an address of this machine: use one such as 0.0.0.0") from None
