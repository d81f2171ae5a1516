"""The memory of a training run does not grow with its steps."""

from __future__ import annotations

import gc
import tracemalloc

from helpers.training_runs import Recorder, small_approach

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.learner import train
from tasks.arcade.progress import Progress
from tasks.arcade.settings.run import RunSettings

EARLY, LATE = 100, 200
"""Rollouts after which memory is measured; 10 million steps of ppo-tuned have 2,442 of them."""
MAX_BYTES_PER_ROLLOUT = 500
"""Caches of Python and torch still change a little; what is kept of a rollout would be more."""


class MemoryRecorder(Recorder):
    """Records what Python objects take, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts = 0
        self.traced: dict[int, int] = {}

    def on_metrics(self, values: object, step: int) -> None:
        pass

    def on_progress(self, progress: Progress) -> None:
        self.rollouts += 1
        if self.rollouts == EARLY // 2:
            tracemalloc.start()
        elif self.rollouts in (EARLY, LATE):
            gc.collect()
            self.traced[self.rollouts] = tracemalloc.get_traced_memory()[0]


def test_memory_does_not_grow_with_rollouts() -> None:
    settings = small_approach("ppo-embeddings", n_envs=2)
    algorithm = settings.algorithm.model_copy(update={"n_steps": 4, "batch_size": 8, "n_epochs": 1})
    # Episodes of 4 steps: the last 100, whose returns are kept, are full before memory is measured.
    game = resolve("ALE/Pong-v5").model_copy(update={"max_episode_frames": 16})
    steps = 8 * (LATE + 1)
    run = RunSettings(
        game=game,
        approach=settings.model_copy(update={"algorithm": algorithm}),
        seed=0,
        steps=steps,
        checkpoint_every=steps,
    )
    recorder = MemoryRecorder()
    try:
        train(run, 1, recorder)
    finally:
        tracemalloc.stop()
    assert recorder.traced[LATE] - recorder.traced[EARLY] < MAX_BYTES_PER_ROLLOUT * (LATE - EARLY)
