"""Where a `ramreel up` over this store answers, and keeps what Prefect knows."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from tasks.arcade.settings.base import Settings
from tasks.store.connection import Address


class Addresses(Settings):
    """Where both servers answer, without a slash at the end."""

    prefect: str
    mlflow: str

    @property
    def api(self) -> str:
        """Prefect's API."""
        return f"{self.prefect}/api"


@contextmanager
def told(address: Address, at: Addresses) -> Iterator[None]:
    """Say where the servers answer, beside the store, while the block lasts."""
    file = _file(address)
    assert file is not None
    file.write_text(at.model_dump_json(), "utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def addresses(address: Address) -> Addresses | None:
    """Where the servers over this store answer; none if none is running, or the store is someone else's."""
    file = _file(address)
    try:
        at = Addresses.model_validate_json(file.read_text("utf-8")) if file else None
    except (OSError, ValidationError):
        return None
    # A `ramreel up` that was killed leaves its note behind.
    return at if at and answers(f"{at.api}/health") else None


def prefect_database(home: Path) -> str:
    """Address of Prefect's database, where it is ours."""
    return f"sqlite+aiosqlite:///{home / 'mlruns' / 'prefect.db'}"


def _file(address: Address) -> Path | None:
    return address.database and address.database.with_name("up.json")


def answers(url: str) -> bool:
    """Whether a server says that it is well."""
    # Past any proxy of the environment's: this is our own machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
