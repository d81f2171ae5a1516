"""`ramreel open`."""

from __future__ import annotations

from flows.cli.browser import open_in_browser
from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import InvalidInputError, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import OpenSettings


@options_of(OpenSettings)
def open_page(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Open a page of a running `ramreel up` in the browser, and print its address."""
    settings = validated(OpenSettings, given)
    from tasks.execution.endpoints import running_servers
    from tasks.execution.links import GALLERY_ENVIRONMENT, gallery_address
    from tasks.web.addresses import page_path

    store = open_checked_store(tracking_uri)
    servers, gallery = running_servers(store.address), gallery_address(store)
    elsewhere = {"prefect": servers.prefect, "mlflow": servers.mlflow} if servers else {}
    if gallery is None:
        raise InvalidInputError(
            f"No `ramreel up` is running over {store.address.redacted_uri}: start it, or set {GALLERY_ENVIRONMENT} to "
            "the address of its gallery"
        )
    if settings.target in ("prefect", "mlflow") and settings.target not in elsewhere:
        raise InvalidInputError(f"The address of {settings.target}'s UI is not known here: it is linked from {gallery}")
    with validating():
        url = elsewhere.get(settings.target) or gallery + page_path(store, settings.target)
    with open_terminal(as_json) as terminal:
        opened = open_in_browser(url)
        terminal.results([url], {"url": url, "opened": opened})
