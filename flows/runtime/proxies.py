"""Proxies of the environment: never for servers on loopback, and checked before anything is started."""

from __future__ import annotations

import os

from tasks.arcade.errors import RamreelError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERY_HOST = "*"
_EXEMPTIONS = ("no_proxy", "NO_PROXY")
_USED = ("http_proxy", "https_proxy", "all_proxy")


class ProxyError(RamreelError):
    """A proxy of the environment cannot be used; the message is one line."""


def exempt_loopback() -> None:
    """Add loopback to `NO_PROXY`, if proxies are configured: Prefect's temporary server and those of `up` are there.

    Child processes inherit it. Every HTTP client reads the variable, though each in its own spelling.
    """
    if not _configured():
        return
    spelled = {name: os.environ.get(name, "") for name in _EXEMPTIONS}
    for name, value in spelled.items():
        hosts = [host.strip() for host in (value or "".join(spelled.values())).split(",") if host.strip()]
        # Only alone it exempts every host.
        os.environ[name] = _EVERY_HOST if _EVERY_HOST in hosts else ",".join(dict.fromkeys((*hosts, *_LOOPBACK)))


def check_proxies() -> None:
    """Check that HTTP clients can be created with the proxies of the environment; none of them is contacted.

    Raises:
        ProxyError: the address of a proxy is invalid.
    """
    # Imported here: every process of a flow run imports this module first.
    import httpx

    for name, address in _configured().items():
        try:
            httpx.Client(proxy=address if "://" in address else f"http://{address}", trust_env=False).close()
        except (ValueError, httpx.InvalidURL):
            # The address may contain a password.
            raise ProxyError(
                f"{name} is not the address of a proxy: set it to an address such as http://proxy.example.org:3128 or "
                "socks5://127.0.0.1:1080, or unset it"
            ) from None


def describe_proxies() -> str:
    """Check the proxies of the environment, and return which variables name one, without their addresses.

    Raises:
        ProxyError: the address of a proxy is invalid.
    """
    check_proxies()
    if not (names := _configured()):
        return "none"
    return f"{', '.join(names)}; not for {os.environ.get('NO_PROXY') or os.environ.get('no_proxy') or 'any host'}"


def _configured() -> dict[str, str]:
    """Return the proxies of the environment by the names of their variables."""
    return {name: value for name, value in os.environ.items() if name.lower() in _USED and value}
