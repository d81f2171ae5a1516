"""`ramreel backup` and `ramreel restore`."""

from __future__ import annotations

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import InvalidInputError, open_checked_store, open_terminal, validated, validating, writable
from tasks.arcade.inputs.commands import BackupSettings, RestoreSettings


@options_of(BackupSettings)
def backup(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Back up the store of this machine, also while it is in use, to one file."""
    target = writable(validated(BackupSettings, given).file, "backup")
    from tasks.execution.provenance import versions
    from tasks.store import write_backup

    store = open_checked_store(tracking_uri)
    with open_terminal(as_json) as terminal:
        terminal.log("copying databases and artifacts")
        with validating():
            written = write_backup(store.address, target.absolute(), versions())
        terminal.results(
            [f"{target}: {written.size / 10**6:,.1f} MB, as of {written.created.astimezone():%Y-%m-%d %H:%M:%S}"],
            {"path": str(target), **written.model_dump(mode="json")},
        )


@options_of(RestoreSettings)
def restore(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Restore a backup into a place without a store."""
    source = validated(RestoreSettings, given).file
    if not source.is_file():
        raise InvalidInputError(f"{source} is not a file: name one that `ramreel backup` wrote")
    from tasks.store import open_store, restore_backup
    from tasks.store.address import find_address

    address = find_address(tracking_uri)
    with open_terminal(as_json) as terminal:
        terminal.log("restoring databases and artifacts")
        with validating():
            restored = restore_backup(source, address)
            open_store(address.uri)
        terminal.results(
            [
                f"{address.uri}: the store of {restored.created.astimezone():%Y-%m-%d %H:%M:%S}",
                "`ramreel verify RUN` verifies the videos of a run in it",
            ],
            {"tracking_uri": address.uri, **restored.model_dump(mode="json")},
        )
