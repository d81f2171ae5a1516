"""Links in Prefect's artifacts that commands made before MLflow's UI had an address."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.execution.links import DEFAULT_UI

_PAGE = 200


def complete_links(api_url: str, mlflow: str) -> int:
    """Give the links of artifacts at a Prefect server the address of MLflow's UI, where it is not the default one.

    Args:
        api_url: URL of Prefect's API.
        mlflow: address of MLflow's UI.

    Returns:
        The number of artifacts that were changed.
    """
    if mlflow == DEFAULT_UI:
        return 0
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        return sum(_complete(client, artifact, mlflow) for artifact in _artifacts(client))


def _artifacts(client: SyncPrefectClient) -> list[Artifact]:
    found = list[Artifact]()
    while page := client.read_artifacts(limit=_PAGE, offset=len(found)):
        found += page
    return found


def _complete(client: SyncPrefectClient, artifact: Artifact, mlflow: str) -> bool:
    link = f"{DEFAULT_UI}/#/"
    if not isinstance(artifact.data, str) or link not in artifact.data:
        return False
    client.update_artifact(artifact.id, ArtifactUpdate(data=artifact.data.replace(link, f"{mlflow}/#/")))
    return True
