"""`ramreel up` gives links of artifacts that commands made the address of MLflow's UI."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.settings import PREFECT_API_URL

from tasks.execution.links import page_url
from tasks.services.artifact_links import complete_links
from tasks.store import Store


@flow
def make_artifacts(url: str) -> tuple[object, object]:
    """Create artifacts as a command does, and return their ids."""
    text = f"[Report]({url}) and [elsewhere](https://example.org)"
    return create_link_artifact(url, key="link-of-a-command"), create_markdown_artifact(text, key="text-of-a-command")


def test_links_are_completed_at_another_port(prefect_server: None, store: Store, run_id: str) -> None:
    api = PREFECT_API_URL.value()
    assert api
    url = page_url(store, run_id)
    assert url.startswith("http://127.0.0.1:5000/#/experiments/")
    linked, written = make_artifacts(url)
    assert complete_links(api, "http://127.0.0.1:5000") == 0, "the address is right"
    complete_links(api, "http://127.0.0.1:5123")
    with get_client(sync_client=True) as client:
        ours = ArtifactFilter.model_validate({"id": {"any_": [linked, written]}})
        data: dict[object, str] = {one.id: str(one.data) for one in client.read_artifacts(artifact_filter=ours)}
    completed = url.replace(":5000", ":5123")
    assert completed in data[linked]
    assert data[written] == f"[Report]({completed}) and [elsewhere](https://example.org)"
