"""Events that ramreel emits to Prefect; automations are triggered by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event

from tasks.arcade.episodes.milestones import Milestone
from tasks.arcade.inputs.unattended import Cause
from tasks.arcade.settings.run import RunSettings
from tasks.store import Champion

CHECKPOINT_SAVED = "ramreel.checkpoint.saved"
TRAINING_STOPPED = "ramreel.training.stopped"
TRAINING_FINISHED = "ramreel.training.finished"
VIDEO_RECORDED = "ramreel.video.recorded"
MILESTONE_REACHED = "ramreel.milestone.reached"
CHAMPION_CROWNED = "ramreel.champion.crowned"
PERFORMANCE_DROPPED = "ramreel.performance.dropped"


def checkpoint_saved(run_id: str, name: str, run: RunSettings, step: int, digest: str) -> None:
    """Emit that a checkpoint was stored."""
    details = {"step": step, "digest": digest}
    _emit(CHECKPOINT_SAVED, f"checkpoint.{run_id}.{step}", f"{name}, step {step:,}", run_id, run, details)


def training_stopped(run_id: str, name: str, run: RunSettings) -> None:
    """Emit that a training run was stopped, with its last checkpoint stored."""
    _emit(TRAINING_STOPPED, f"run.{run_id}", name, run_id, run, {})


def training_finished(run_id: str, name: str, run: RunSettings, steps: int, mean_return: float | None) -> None:
    """Emit that a training run finished."""
    details = {"steps": steps, "mean_return": mean_return}
    _emit(TRAINING_FINISHED, f"run.{run_id}", name, run_id, run, details)


def video_recorded(run_id: str, name: str, run: RunSettings, step: int, video: str, mean_return: float) -> None:
    """Emit that a checkpoint was evaluated and recorded."""
    details = {"step": step, "video": video, "mean_return": mean_return}
    _emit(VIDEO_RECORDED, f"video.{run_id}.{step}", f"{name}, step {step:,}", run_id, run, details)


def milestone_reached(
    run_id: str, name: str, run: RunSettings, step: int, mean_return: float, milestone: Milestone
) -> None:
    """Emit that a run reached a milestone for the first time."""
    details = {"step": step, "mean_return": mean_return, "milestone": milestone.name, "message": milestone.message}
    _emit(
        MILESTONE_REACHED, f"milestone.{run_id}.{milestone.name}", f"{name} {milestone.message}", run_id, run, details
    )


def champion_crowned(champion: Champion, run: RunSettings, message: str) -> None:
    """Emit that a checkpoint became the champion of its game."""
    details = {"step": champion.step, "version": champion.version, "message": message}
    _emit(CHAMPION_CROWNED, _resource(champion), f"champion of {champion.env_id}", champion.run_id, run, details)


def performance_dropped(champion: Champion, run: RunSettings, cause: Cause, message: str) -> None:
    """Emit that a champion plays worse than when it was crowned, or that a training run of its game collapsed."""
    details = {"step": champion.step, "version": champion.version, "cause": cause, "message": message}
    _emit(PERFORMANCE_DROPPED, _resource(champion), f"champion of {champion.env_id}", champion.run_id, run, details)


def _resource(champion: Champion) -> str:
    return f"champion.{champion.env_id}"


def _emit(event: str, resource: str, name: str, run_id: str, run: RunSettings, details: Mapping[str, Any]) -> None:
    common = {"run_id": run_id, "env_id": run.game.env_id, "approach": run.approach.name, "seed": run.seed}
    emit_event(
        event,
        resource={"prefect.resource.id": f"ramreel.{resource}", "prefect.resource.name": name},
        related=[
            {"prefect.resource.id": f"ramreel.run.{run_id}", "prefect.resource.role": "training"},
            {"prefect.resource.id": f"ramreel.game.{run.game.env_id}", "prefect.resource.role": "game"},
        ],
        payload={**common, **details},
    )
