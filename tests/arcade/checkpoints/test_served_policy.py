"""A served policy decides what the video of the same episode shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.episodes import network_checkpoint, observed, play_checkpoint, readouts

from tasks.arcade.checkpoints.checkpoint import write_checkpoint
from tasks.arcade.checkpoints.served_policy import BatchError, ServedPolicy, example_batch, load_served_policy
from tasks.arcade.episodes.playing import play
from tasks.arcade.settings.approaches import APPROACHES


@pytest.mark.parametrize("name", APPROACHES)
def test_batch_of_an_episode_gives_the_decisions_of_its_video(name: str) -> None:
    checkpoint = network_checkpoint(name=name)
    trace = play_checkpoint(checkpoint)
    policy, batch, shown = ServedPolicy(checkpoint), observed(checkpoint, trace), readouts(checkpoint, trace)
    found = policy.predict(batch, seed=trace.action_seed)
    assert tuple(found.actions) == trace.actions
    assert found.values.tolist() == [readout.value for readout in shown]
    if found.q_values is None:
        assert found.probabilities.tolist() == [readout.bar_lengths.tolist() for readout in shown]
    else:
        labels = [[float(label.replace("\N{MINUS SIGN}", "-")) for label in readout.bar_labels] for readout in shown]
        np.testing.assert_allclose(found.q_values, labels, atol=0.05)
        assert found.probabilities.argmax(axis=1).tolist() == found.q_values.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("name", ["ppo-tuned", "ppo-pixels", "dqn"])
def test_rows_do_not_depend_on_the_batch(name: str) -> None:
    checkpoint = network_checkpoint(name=name)
    policy, batch = ServedPolicy(checkpoint), observed(checkpoint, play_checkpoint(checkpoint))
    found = policy.predict(batch, deterministic=True)
    for row in (0, 7, len(batch) - 1):
        alone = policy.predict(batch[row : row + 1], deterministic=True)
        assert alone.actions[0] == found.actions[row]
        assert alone.probabilities[0].tobytes() == found.probabilities[row].tobytes()
        assert alone.values[0].tobytes() == found.values[row].tobytes()


def test_deterministic_actions_are_those_of_greedy_play() -> None:
    checkpoint = network_checkpoint()
    trace = play(checkpoint.agent(), checkpoint.settings.game, 3, action_seed=4, deterministic=True, max_steps=24)
    found = ServedPolicy(checkpoint).predict(observed(checkpoint, trace), deterministic=True)
    assert tuple(found.actions) == trace.actions


def test_unseeded_actions_are_sampled_anew() -> None:
    policy = ServedPolicy(network_checkpoint(name="random"))
    batch = np.zeros((200, 2, 128), np.uint8)
    assert policy.predict(batch).actions.tolist() != policy.predict(batch).actions.tolist()


def test_recurrent_policy_refuses_what_is_not_an_episode() -> None:
    checkpoint = network_checkpoint(name="recurrent-ppo")
    policy, batch = ServedPolicy(checkpoint), observed(checkpoint, play_checkpoint(checkpoint))
    whole, part = policy.predict(batch, seed=0), policy.predict(batch[:9], seed=0)
    assert part.probabilities.tobytes() == whole.probabilities[:9].tobytes()
    for incomplete, row in ((batch[5:], 0), (np.delete(batch, 5, axis=0), 5)):
        with pytest.raises(BatchError, match=rf"recurrent: its batch must be all steps .* row {row} does not follow"):
            policy.predict(incomplete)


def test_invalid_batches_are_refused() -> None:
    ram, pixels = ServedPolicy(network_checkpoint()), ServedPolicy(network_checkpoint(name="ppo-pixels"))
    for policy, batch in (
        (ram, np.zeros((1, 128), np.uint8)),
        (ram, np.zeros((1, 2, 128), np.int64)),
        (ram, np.zeros((0, 2, 128), np.uint8)),
        (pixels, np.zeros((1, 2, 128), np.uint8)),
    ):
        with pytest.raises(BatchError, match="observations must be uint8 of shape"):
            policy.predict(batch)
    with pytest.raises(BatchError, match="seed must be at least 0, got -1"):
        ram.predict(np.zeros((1, 2, 128), np.uint8), seed=-1)


@pytest.mark.parametrize("name", ["ppo", "ppo-pixels", "recurrent-ppo"])
def test_example_is_the_start_of_an_episode(name: str) -> None:
    checkpoint = network_checkpoint(name=name)
    game = checkpoint.settings.game
    trace = play(checkpoint.agent(), game, 0, action_seed=0, deterministic=True, max_steps=1)
    example = example_batch(game, uses_pixels=checkpoint.agent().uses_pixels)
    assert example.tobytes() == observed(checkpoint, trace).tobytes()
    ServedPolicy(checkpoint).predict(example)


LOAD = """
import json, sys
from pathlib import Path
from tasks.arcade.checkpoints.served_policy import load_served_policy
load_served_policy(Path(sys.argv[1]))
print(json.dumps(sorted(sys.modules)))
"""


def test_serving_needs_no_training_library(tmp_path: Path) -> None:
    write_checkpoint(network_checkpoint(), tmp_path / "checkpoint")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "checkpoint")], capture_output=True, text=True, check=True
    )
    assert not {"torch", "stable_baselines3", "prefect", "mlflow", "scipy"} & set(json.loads(done.stdout))
    assert load_served_policy(tmp_path / "checkpoint")
