"""A decoder is trained by a flow, and its model in MLflow decodes pictures."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest

from flows.cli.app import run
from flows.decode import decode
from flows.train import train
from tasks.arcade.decoding.decoder import read_decoder
from tasks.arcade.decoding.report import DecodingReport
from tasks.arcade.decoding.served_decoder import decode_screens, example_batch
from tasks.arcade.inputs.forms import DecodeSettings, TrainSettings
from tasks.store import Store, StoreError, fetch_decoder, newest_decoder_run


def test_decoder_is_trained_logged_and_loaded(
    small: TrainSettings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train(small).run_id
    made = decode(DecodeSettings(env_id="ALE/Breakout-v5", pairs=2000, epochs=1, episodes=1, followed_steps=500))
    digests = [checkpoint.digest for checkpoint in store.list_checkpoints(trained)]
    assert made.players == ("random", *digests), "the newest training run of the game plays"
    assert store.run(made.run_id).status == "FINISHED"
    assert newest_decoder_run(store, "breakout") == made.run_id
    assert newest_decoder_run(store, "pong") is None
    for path in (made.page, made.table, made.poster):
        assert store.fetch_artifact(made.run_id, path, tmp_path).stat().st_size > 1000
    assert not Path("mlflow.db").exists(), "MLflow's client looked for them at its default address"
    report = DecodingReport.model_validate_json(store.fetch_artifact(made.run_id, made.figures, tmp_path).read_bytes())
    assert store.run(made.run_id).metrics["decoder/varying"] == len(report.varying) > 20
    assert report.following is not None
    assert report.following.steps == 500
    assert report.following.exact > 0.8
    assert report.following.lost == 0
    assert set(report.returns) == {"true", "followed", "decoded", "random"}
    assert all(len(returns) == 1 for returns in report.returns.values())
    decoder = read_decoder(fetch_decoder(store, made.run_id, tmp_path / "decoder"), made.digest)
    screens = example_batch(decoder.description.game)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address.uri)
    model = mlflow.pyfunc.load_model(f"models:/{made.model_id}")
    found = model.predict(screens)
    ram, confidence = decode_screens(decoder, screens)
    np.testing.assert_array_equal(found["ram"], ram)
    np.testing.assert_array_equal(found["confidence"], confidence)
    with pytest.raises(StoreError, match="has no decoder"):
        fetch_decoder(store, trained, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ALE/Pnog-v5"], "Did you mean 'ALE/Pong-v5'"),
        (["ALE/Pong-v5", "--pairs", "10"], "--pairs: Input should be greater than or equal to 2000"),
        (["ALE/Pong-v5", "--run", "nosuch"], "nosuch"),
    ],
)
def test_invalid_input_is_rejected(
    arguments: list[str], message: str, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["decode", *arguments]) == 2
    assert message in capfd.readouterr().err
