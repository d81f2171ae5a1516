"""A small store as version 0.1 wrote it: `tests/data/store-0.1.tar.xz`.

It has three training runs of Breakout with small networks and an atlas of the game. `plain` (PPO) is recorded: every
episode as plain video at step 256, one with a panel and outlines at step 512. `tuned` (PPO on standardized RAM)
and `dqn` have a checkpoint at step 1,024. `expected.json` holds the SHA-256 of `policy.safetensors` to which version
0.1 itself trained these two by resuming, and the versions and CPU features that it computed with.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from threadpoolctl import threadpool_info

ARCHIVE = Path(__file__).parents[1] / "data" / "store-0.1.tar.xz"


@dataclass(frozen=True)
class Continuation:
    """The result of resuming a run in version 0.1.

    Attributes:
        steps: steps up to which both runs were resumed.
        policy_sha256: SHA-256 of `policy.safetensors`, by run name.
        computed_with: versions and CPU features that decide the last bits of floating-point results.
    """

    steps: int
    policy_sha256: Mapping[str, str]
    computed_with: Mapping[str, Any]


def unpack(home: Path) -> Continuation:
    """Unpack the store into a home with an empty store of the installed MLflow version.

    Runs and models get new ids: MLflow caches the artifact location of an id for the lifetime of the process.
    """
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home / "mlruns", filter="data")
    statements = (home / "mlruns" / "mlflow.sql").read_text("utf-8").replace("@HOME@", str(home))
    for folder in sorted((home / "mlruns" / "artifacts").rglob("artifacts")):
        former_id = folder.parent.name
        new_id = former_id[:-32] + uuid4().hex
        folder.parent.rename(folder.parent.with_name(new_id))
        statements = statements.replace(former_id, new_id)
    connection = sqlite3.connect(home / "mlruns" / "mlflow.db")
    with connection:
        connection.executescript(statements)
    connection.close()
    return Continuation(**json.loads((home / "mlruns" / "expected.json").read_text("utf-8")))


def installed() -> dict[str, Any]:
    """Return the versions and CPU features of this machine, as in `Continuation.computed_with`."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {
        "torch": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "numpy": np.__version__,
        "blas": sorted(f"{library['internal_api']} {library.get('architecture', '')}".strip() for library in blas),
    }
