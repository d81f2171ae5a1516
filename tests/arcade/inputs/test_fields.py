"""Numbers of steps are accepted as people type them."""

import pytest
from pydantic import ValidationError

from tasks.arcade.inputs.commands import ExportSettings, TrainingBenchmarkSettings
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings


@pytest.mark.parametrize(
    ("text", "steps"),
    [("1e6", 1_000_000), ("1_000_000", 1_000_000), ("2.5E5", 250_000), (" 250000 ", 250_000), ("4096.0", 4096)],
)
def test_steps_as_they_are_typed(text: str, steps: int) -> None:
    trained = TrainSettings.model_validate({"env_id": "ALE/Pong-v5", "steps": text, "checkpoint_every": text})
    assert (trained.steps, trained.checkpoint_every) == (steps, steps)
    assert RecordSettings.model_validate({"run": "latest", "steps": [text]}).steps == (steps,)
    assert ExportSettings.model_validate({"run": "latest", "to": "x.zip", "checkpoint": text}).checkpoint == steps
    assert TrainingBenchmarkSettings.model_validate({"steps": text}).steps == steps


@pytest.mark.parametrize("text", ["1.5", "1e-3", "1e400", "1e999999999", "nan", "inf", "1e6 steps", "", "0", "-1e3"])
def test_other_steps_are_rejected(text: str) -> None:
    with pytest.raises(ValidationError, match="steps"):
        TrainSettings.model_validate({"env_id": "ALE/Pong-v5", "steps": text})
