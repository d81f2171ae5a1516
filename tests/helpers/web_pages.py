"""The web pages in a real server of this process, and a run whose checkpoint can be watched live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from starlette.routing import BaseRoute

from helpers.episodes import network_checkpoint
from helpers.web_server import web_address
from tasks.arcade.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tasks.store import Store
from tasks.web.app import create_app
from tasks.web.settings import WebSettings


@contextmanager
def serving_pages(store: Store, routes: Sequence[BaseRoute]) -> Iterator[str]:
    """Serve the pages with further routes, and yield host and port."""
    with web_address(create_app(store, WebSettings(hosts=("127.0.0.1",)), routes)) as address:
        yield address


def live_run(store: Store, folder: Path, checkpoint: Checkpoint | None = None) -> str:
    """Store a run with one checkpoint, of Breakout unless another one is given, and return its run id."""
    checkpoint = checkpoint or network_checkpoint()
    digest = write_checkpoint(checkpoint, folder / "played")
    run_id = store.start_run(checkpoint.settings, name="played", command="ramreel train", versions={}, commit=None)
    store.save_checkpoint(run_id, checkpoint.step, folder / "played", digest)
    store.finish_run(run_id, "FINISHED")
    return run_id
