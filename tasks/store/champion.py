"""The checkpoint that now plays best at a game: MLflow's registered model of the game, its alias `champion`."""

from __future__ import annotations

from tasks.store.address import Address, connect, is_fresh
from tasks.store.values import StoredCheckpoint, told_in_one_line

ALIAS = "champion"


@told_in_one_line
def find_champion(address: Address, env_id: str) -> StoredCheckpoint | None:
    """The champion of a game; none if there is none."""
    if is_fresh(address):
        return None
    client = connect(address)
    # MLflow's names bear neither slash nor colon.
    name = env_id.replace("/", "-").replace(":", "-")
    found = client.search_registered_models(f"name = '{name}'")
    if not found or ALIAS not in found[0].aliases:
        return None
    version = client.get_model_version(name, str(found[0].aliases[ALIAS]))
    return StoredCheckpoint(
        run_id=version.run_id,
        step=int(version.tags["ramreel.step"]),
        model_id=version.tags["ramreel.model_id"],
        digest=version.tags["ramreel.digest"],
    )
