"""Deployments are registered in a work pool for Kubernetes if Prefect's worker has created it."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.processes import ROOT
from helpers.servers import prefect_server, running
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate

from tasks.services import deployments as deploy


def test_deployments_use_the_pool_of_the_worker(tmp_path: Path) -> None:
    template = json.loads((ROOT / "deployments/kubernetes/base-job-template.json").read_text("utf-8"))
    with running(prefect_server(tmp_path / "prefect")) as server, SyncPrefectClient(server.address) as client:
        # As the worker of the Helm chart does when it starts.
        client.create_work_pool(WorkPoolCreate(name=deploy.POOL, type="kubernetes", base_job_template=template))
        assert deploy.register(server.address).changed
        pool = client.read_work_pool(deploy.POOL)
        assert (pool.type, pool.base_job_template) == ("kubernetes", template)
        assert {queue.name for queue in client.read_work_queues(work_pool_name=deploy.POOL)} >= set(deploy.QUEUES)
        registered = deploy.deployments(client).values()
        assert {one.work_pool_name for one in registered} == {deploy.POOL}
        assert all(one.job_variables["command"] == "python -m flows.runtime.flow_process" for one in registered)
