"""`ramreel verify`."""

from __future__ import annotations

from pathlib import Path

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import announce, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import VerifySettings


@options_of(VerifySettings)
def verify(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> int:
    """Verify videos: replay their traces, and compare RAM, rewards and every frame with the recording."""
    target = validated(VerifySettings, given).target
    from tasks.arcade.emulator.environment_ids import rom_path
    from tasks.runs.verify import verify_file, verify_run

    with validating():
        if is_file := Path(target).is_file() or Path(target).suffix in (".json", ".mp4"):
            proofs = [verify_file(Path(target))]
        else:
            announce(f"verify {target}", quiet=quiet)
            store = open_checked_store(tracking_uri)
            run_id = store.resolve_run(target)
            if run := store.run(run_id).settings:
                rom_path(run.game.rom)
    with open_terminal(as_json, quiet) as terminal:
        if not is_file:
            proofs = verify_run(store, run_id)
        failed = next((proof for proof in proofs if not proof.ok), None)
        terminal.results(
            [proof.line for proof in proofs],
            {
                "ok": failed is None,
                "steps_checked": sum(proof.steps_checked for proof in proofs),
                "first_difference": failed.first_difference if failed else None,
                "videos": [proof.model_dump() for proof in proofs],
            },
        )
    return 1 if failed else 0
