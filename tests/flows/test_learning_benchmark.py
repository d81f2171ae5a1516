"""The learning benchmark trains the missing runs, scores them, and lists them with published scores."""

from datetime import UTC, datetime

from flows.learning_benchmark import learning
from tasks.arcade.inputs.forms import LearningBenchmarkSettings
from tasks.arcade.report.learning_table import learning_table, steps_to_milestones
from tasks.execution.machine import machine
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.runs.lookup import evaluation_of
from tasks.store import Store


class Lines(ProgressSink):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[str] = []

    def log(self, line: str) -> None:
        self.logged.append(line)


def test_benchmark_scores_last_checkpoints_and_continues(store: Store) -> None:
    settings = LearningBenchmarkSettings(
        env_ids=("ALE/Breakout-v5",), approaches=("random",), seeds=(1, 2), steps=2048, checkpoint_every=10_000,
        episodes=3,
    )  # fmt: skip
    first = learning(settings.model_copy(update={"seeds": (1,)}))
    lines = Lines()
    with use_sink(lines):
        both = learning(settings)
    assert "1 of 2 runs to train" in lines.logged
    assert "1 of 1 run, about 0 s left" in lines.logged
    assert both[0] == first[0], "an existing run is not trained again"
    assert [score.seed for score in both] == [1, 2]
    assert both[0].episodes == 3
    assert both[0].machine == machine()
    assert both[0].date == datetime.now(UTC).date()
    assert evaluation_of(store.run(both[0].run_id)).episodes == 3, "every later recording evaluates alike"
    evaluation = store.fetch_evaluation(both[0].run_id, both[0].steps)
    assert both[0].final == sum(evaluation.returns) / 3
    assert both[0].reached == {"10": None, "100": None, "400": None}
    heads, rows = learning_table(both)
    assert len(rows) == 1
    row = dict(zip(heads, rows[0], strict=True))
    assert row["game"] == "ALE/Breakout-v5"
    assert row["random"] == "1.7"
    assert row["human"] == "30.5"
    assert row["human-normalized"] == f"{(float(row['mean']) - 1.7) / 28.8:.2f}"
    assert (row["published, equal frames"], row["ahead of"]) == ("-", "-"), "no score after 8,192 frames"
    assert row["first reached"] == "10: -, -; 100: -, -; 400: -, -"
    assert len(row["final return by seed"].split(", ")) == 2


def test_milestones_are_those_of_the_game() -> None:
    curve = [(1000, -20.0), (2000, 0.0), (3000, -1.0), (4000, 5.0)]
    assert steps_to_milestones("pong", curve) == {"0": 2000, "18": None}
    assert steps_to_milestones("freeway", curve) == {"20": None, "30": None}
    assert steps_to_milestones("tetris", curve) == {}
