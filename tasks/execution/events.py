"""What Prefect's event feed hears, and automations wait for. The README's table of events is this file in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event

from tasks.arcade.episodes.milestones import Milestone
from tasks.arcade.inputs.forms import Cause
from tasks.arcade.settings.run import RunSettings
from tasks.store import Champion

CHECKPOINT_SAVED = "ramreel.checkpoint.saved"
TRAINING_FINISHED = "ramreel.training.finished"
VIDEO_RECORDED = "ramreel.video.recorded"
MILESTONE_REACHED = "ramreel.milestone.reached"
CHAMPION_CROWNED = "ramreel.champion.crowned"
PERFORMANCE_DROPPED = "ramreel.performance.dropped"


def checkpoint_saved(run_id: str, name: str, run: RunSettings, step: int, digest: str) -> None:
    """A checkpoint is safely stored."""
    said = {"step": step, "digest": digest}
    _emit(CHECKPOINT_SAVED, f"checkpoint.{run_id}.{step}", f"{name}, step {step:,}", run_id, run, said)


def training_finished(run_id: str, name: str, run: RunSettings, steps: int, mean_return: float | None) -> None:
    """A training is at its end."""
    said = {"steps": steps, "mean_return": mean_return}
    _emit(TRAINING_FINISHED, f"run.{run_id}", name, run_id, run, said)


def video_recorded(run_id: str, name: str, run: RunSettings, step: int, video: str, mean_return: float) -> None:
    """A checkpoint was played, evaluated and recorded."""
    said = {"step": step, "video": video, "mean_return": mean_return}
    _emit(VIDEO_RECORDED, f"video.{run_id}.{step}", f"{name}, step {step:,}", run_id, run, said)


def milestone_reached(
    run_id: str, name: str, run: RunSettings, step: int, mean_return: float, milestone: Milestone
) -> None:
    """A run reached a milestone, for the first time."""
    said = {"step": step, "mean_return": mean_return, "milestone": milestone.name, "words": milestone.words}
    _emit(MILESTONE_REACHED, f"milestone.{run_id}.{milestone.name}", f"{name} {milestone.words}", run_id, run, said)


def champion_crowned(champion: Champion, run: RunSettings, words: str) -> None:
    """A checkpoint is the champion of its game from now on."""
    said = {"step": champion.step, "version": champion.version, "words": words}
    _emit(CHAMPION_CROWNED, _of(champion), f"champion of {champion.env_id}", champion.run_id, run, said)


def performance_dropped(champion: Champion, run: RunSettings, cause: Cause, words: str) -> None:
    """A champion plays worse than it did, or a training of its game has collapsed."""
    said = {"step": champion.step, "version": champion.version, "cause": cause, "words": words}
    _emit(PERFORMANCE_DROPPED, _of(champion), f"champion of {champion.env_id}", champion.run_id, run, said)


def _of(champion: Champion) -> str:
    return f"champion.{champion.env_id}"


def _emit(event: str, resource: str, name: str, run_id: str, run: RunSettings, said: Mapping[str, Any]) -> None:
    about = {"run_id": run_id, "env_id": run.game.env_id, "approach": run.approach.name, "seed": run.seed}
    emit_event(
        event,
        resource={"prefect.resource.id": f"ramreel.{resource}", "prefect.resource.name": name},
        related=[
            {"prefect.resource.id": f"ramreel.run.{run_id}", "prefect.resource.role": "training"},
            {"prefect.resource.id": f"ramreel.game.{run.game.env_id}", "prefect.resource.role": "game"},
        ],
        payload={**about, **said},
    )
