"""A checkpoint's figures are those of its episodes, and its film is the median one."""

from pathlib import Path

from tasks.arcade.approaches import approach
from tasks.arcade.checkpoint import Checkpoint, read, write
from tasks.arcade.episode import read_trace, verify, verify_decisions
from tasks.arcade.evaluation import evaluate_and_film
from tasks.arcade.features import Statistics
from tasks.arcade.game import Emulator, resolve
from tasks.arcade.settings import EvaluationSettings, RunSettings


def random_checkpoint(env_id: str, directory: Path) -> str:
    game = resolve(env_id).model_copy(update={"max_episode_frames": 600})
    settings = RunSettings(game=game, approach=approach("random"), seed=0, steps=10, checkpoint_every=10)
    names = Emulator(game).action_names
    return write(Checkpoint(settings, 10, names, {}, Statistics.empty()), directory)


def test_the_median_episode_is_filmed_and_every_one_counted(tmp_path: Path) -> None:
    digest = random_checkpoint("ALE/Breakout-v5", tmp_path / "checkpoint")
    mp4, trace_path = tmp_path / "film.mp4", tmp_path / "trace.json"
    evaluation = evaluate_and_film(
        tmp_path / "checkpoint", digest, EvaluationSettings(episodes=5, seed=3), mp4, trace_path
    )
    returns = sorted(evaluation.returns)
    trace = read_trace(trace_path)
    assert trace.checkpoint == digest == evaluation.checkpoint
    assert trace.episode_return == returns[2]
    assert trace.seed == evaluation.episodes[evaluation.filmed].seed
    assert evaluation.film_frames == trace.frames + 1
    assert mp4.stat().st_size > 1000
    assert evaluation.metrics()["eval/mean_reward"] == sum(returns) / 5
    assert evaluation.metrics()["eval/iqm_reward"] == sum(returns[1:4]) / 3
    assert evaluation.metrics()["eval/distinct_episodes"] == 5
    assert verify(trace).ok
    assert verify_decisions(trace, read(tmp_path / "checkpoint", digest).agent()).ok


def test_copies_of_an_episode_are_counted_as_copies(tmp_path: Path) -> None:
    """The likeliest actions on a deterministic game: the seed changes nothing, and the figures say so."""
    digest = random_checkpoint("BreakoutDeterministic-v4", tmp_path / "checkpoint")
    settings = EvaluationSettings(episodes=4, deterministic=True)
    evaluation = evaluate_and_film(
        tmp_path / "checkpoint", digest, settings, tmp_path / "film.mp4", tmp_path / "trace.json"
    )
    assert evaluation.metrics()["eval/episodes"] == 4
    assert evaluation.metrics()["eval/distinct_episodes"] == 1
