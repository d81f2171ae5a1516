"""A settings file with rl-baselines3-zoo's names becomes an approach, or an error of one line that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.settings_file import HyperparameterError, read_settings_file, with_hyperparameters
from tasks.arcade.settings.algorithms import PpoSettings, QrDqnSettings
from tasks.arcade.settings.approaches import UnknownApproachError, approach
from tasks.arcade.settings.networks import NetworkSettings, QNetworkSettings


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "My settings.toml"


@pytest.mark.parametrize(
    ("encoding", "newline"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8", "\r\r\n"), ("utf-16", "\r\n")]
)
def test_file_is_read_from_windows(encoding: str, newline: str, written: Path) -> None:
    text = 'approach = "ppo"  \n\n   \nn_steps = 64\ndescription = """Änderung,\nzwei Zeilen"""\n'
    written.write_bytes(text.replace("\n", newline).encode(encoding))
    own = read_settings_file(written).approach
    assert isinstance(own.algorithm, PpoSettings)
    assert (own.algorithm.n_steps, own.description) == (64, "Änderung,\nzwei Zeilen")


def test_file_becomes_an_approach(written: Path) -> None:
    written.write_text("""
        approach = "ppo-tuned"
        policy = "MlpPolicy"
        n_timesteps = 1e6
        n_envs = 4
        n_steps = 64
        batch_size = 32
        learning_rate = "lin_2.5e-4"
        gamma = 1
        reward = "raw"
        features.moving_bytes = 0
        policy_kwargs = { net_arch = [32, 16], activation_fn = "nn.Tanh" }
    """)
    own, base = read_settings_file(written), approach("ppo-tuned")
    assert (own.based_on, own.n_timesteps, own.approach.name) == ("ppo-tuned", 1_000_000, "my-settings")
    assert (own.approach.n_envs, own.approach.reward, own.approach.features.moving_bytes) == (4, "raw", 0)
    algorithm = own.approach.algorithm
    assert isinstance(algorithm, PpoSettings)
    given = {"n_steps": 64, "batch_size": 32, "learning_rate": "lin_2.5e-4", "gamma": 1.0}
    assert algorithm.model_dump(include=set(given)) == given
    assert algorithm.network == NetworkSettings(pi=(32, 16), vf=(32, 16), activation="tanh", layer_norm=False)
    kept = ("n_epochs", "ent_coef", "gae_lambda", "clip_range", "vf_coef")
    assert algorithm.model_dump(include=set(kept)) == base.algorithm.model_dump(include=set(kept))
    assert own.approach.features.difference_scale == base.features.difference_scale
    settings = TrainSettings(env_id="ALE/Pong-v5", approach=own.approach)
    assert TrainSettings.model_validate_json(settings.model_dump_json()) == settings, "Prefect stores it as JSON"


def test_name_and_base_are_configurable(written: Path) -> None:
    written.write_text('name = "fast"\nlearning_rate = 0.01\napproach = "ppo"')
    assert read_settings_file(written).approach.name == "fast"
    own = read_settings_file(written, "a2c")
    assert (own.based_on, own.approach.algorithm.algorithm) == ("a2c", "a2c"), "--approach overrides the file"


def test_net_arch_is_that_of_stable_baselines3() -> None:
    changed = with_hyperparameters(approach("ppo"), {"policy_kwargs": {"net_arch": {"pi": [8], "vf": [16, 16]}}})
    assert isinstance(changed.algorithm, PpoSettings)
    assert changed.algorithm.network == NetworkSettings(pi=(8,), vf=(16, 16))


def test_value_based_approach_has_the_names_of_rl_baselines3_zoo(written: Path) -> None:
    written.write_text("""
        approach = "qrdqn"
        n_timesteps = 1e7
        buffer_size = 100000
        learning_rate = "lin_1e-4"
        batch_size = 32
        learning_starts = 1000
        target_update_interval = 1000
        train_freq = 4
        gradient_steps = -1
        exploration_fraction = 0.025
        exploration_final_eps = 0.02
        policy_kwargs = { net_arch = [32, 16], n_quantiles = 25, activation_fn = "nn.Tanh" }
    """)
    algorithm = read_settings_file(written).approach.algorithm
    assert isinstance(algorithm, QrDqnSettings)
    assert (algorithm.buffer_size, algorithm.train_freq, algorithm.gradient_steps) == (100_000, 4, -1)
    assert (algorithm.exploration_fraction, algorithm.exploration_final_eps) == (0.025, 0.02)
    assert (algorithm.n_quantiles, algorithm.tau) == (25, 1.0)
    assert algorithm.network == QNetworkSettings(layers=(32, 16), activation="tanh", layer_norm=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_steps = 5", "n_steps is not a hyperparameter of dqn"),
        ("target_update = 5", "Did you mean 'target_update_interval'?"),
        ("n_quantiles = 5", "n_quantiles is not a hyperparameter of dqn"),
        ("policy_kwargs = { n_quantiles = 5 }", "policy_kwargs.n_quantiles is not a key of policy_kwargs"),
        ("policy_kwargs = { net_arch = { pi = [8] } }", "policy_kwargs.net_arch: Input should be a valid"),
        ("policy_kwargs = { net_arch = [0] }", "policy_kwargs.net_arch: widths from 1"),
        ("exploration_fraction = 0", "exploration_fraction: Input should be greater than 0"),
        # A policy that only explores has no greedy action.
        ("exploration_final_eps = 1", "exploration_final_eps: Input should be less than 1"),
        ("gradient_steps = -2", "gradient_steps"),
        ("train_freq = 'episode'", "train_freq: Input should be a valid integer"),
        ("train_freq = 1_000_000_000", "train_freq: Input should be less than or equal to 65536"),
    ],
)
def test_invalid_value_based_approach_is_rejected(written: Path, text: str, message: str) -> None:
    written.write_text(f'approach = "dqn"\n{text}')
    with pytest.raises(HyperparameterError) as refused:
        read_settings_file(written)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rte = 1", "learning_rte is not a hyperparameter of ppo. Did you mean 'learning_rate'? Available: "),
        ("n_timestep = 1", "Did you mean 'n_timesteps'?"),
        (
            "policy_kwargs = { net_rch = [8] }",
            "policy_kwargs.net_rch is not a key of policy_kwargs. Did you mean 'net_arch'",
        ),
        ("policy_kwargs = { net_arch = { q = [8] } }", "policy_kwargs.net_arch.q"),
        ("policy_kwargs = { net_arch = [1.5] }", "policy_kwargs.net_arch.pi"),
        ("policy_kwargs = { net_arch = [0] }", "widths from 1"),
        ('policy_kwargs = { activation_fn = "Swish" }', "policy_kwargs.activation_fn"),
        ('policy_kwargs = "dict(net_arch=[8])"', "policy_kwargs: a table"),
        ('learning_rate = "linear"', "learning_rate: a number, or a schedule like lin_2.5e-4"),
        ("learning_rate = -1", "learning_rate: a number"),
        ("batch_size = 1", "batch_size: Input should be greater than or equal to 2, got 1"),
        ("n_steps = 1", "n_steps: Input should be greater than or equal to 2, got 1"),
        ("n_steps = 1_000_000_000", "n_steps: Input should be less than or equal to 65536"),
        ("batch_size = true", "batch_size: Input should be a valid integer"),
        ('gamma = "0.9"', "gamma: Input should be a valid number"),
        ("gamma = nan", "gamma: Input should be a finite number"),
        ("gamma = 2020-01-01", "gamma"),
        ("n_envs = 0", "n_envs"),
        ('reward = "clip"', "reward: Input should be 'raw', 'sign', 'scaled' or 'root', got 'clip'"),
        ('features.kind = "bitz"', "features.kind"),
        ("features.kinds = 1", "Did you mean 'kind'?"),
        ('policy = "CnnPolicy"', "RAM observations need an MlpPolicy"),
        ('n_timesteps = "many"', "n_timesteps"),
        ("n_timesteps = 0.5", "n_timesteps"),
        ("n_timesteps = inf", "n_timesteps"),
        ('name = "ppo"', "ppo is a named approach"),
        ('name = "A b"', "name"),
        ("no TOML at all", "is not valid TOML"),
        ("a = " + "[" * 5000, "is not valid TOML"),
        ("#" * 200_000, "larger than"),
    ],
)
def test_invalid_file_is_rejected_in_one_line(written: Path, text: str, message: str) -> None:
    written.write_text(f'approach = "ppo"\n{text}')
    with pytest.raises(HyperparameterError) as refused:
        read_settings_file(written)
    assert str(refused.value).startswith(str(written))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_base_approach_is_required(written: Path) -> None:
    written.write_text("n_steps = 8")
    with pytest.raises(HyperparameterError, match='add approach = "ppo" to the file, or give --approach'):
        read_settings_file(written)
    written.write_text('approach = "pppo"')
    with pytest.raises(UnknownApproachError, match="Did you mean 'ppo"):
        read_settings_file(written)
    written.write_text('approach = "random"\nbatch_size = 8')
    with pytest.raises(HyperparameterError, match="batch_size is not a hyperparameter of random"):
        read_settings_file(written)
    written.write_bytes(b"\xff")
    with pytest.raises(HyperparameterError, match="is not valid TOML"):
        read_settings_file(written)
    with pytest.raises(HyperparameterError, match="cannot be read: No such file"):
        read_settings_file(written.with_name("nosuch.toml"))


def test_settings_file_in_the_manual_is_valid(written: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/approaches.md").read_text("utf-8")
    written.write_text(page.split("```toml\n")[1].split("```")[0])
    own = read_settings_file(written)
    assert (own.approach.n_envs, own.n_timesteps) == (32, 2_000_000)


def test_value_embeddings_keep_their_number_with_another_network(written: Path) -> None:
    written.write_text('approach = "ppo-embeddings"\npolicy_kwargs = { net_arch = [32] }')
    own, base = read_settings_file(written).approach, approach("ppo-embeddings")
    assert isinstance(own.algorithm, PpoSettings)
    assert own.algorithm.network.pi == (32,)
    assert own.algorithm.network.value_embeddings == base.features.value_indices > 0
    written.write_text('approach = "ppo-embeddings"\npolicy_kwargs.value_embeddings = 9\nfeatures.value_indices = 9')
    assert read_settings_file(written).approach.features.value_indices == 9
    for wrong, said in (
        ("policy_kwargs = { net_arch = [] }", "value embeddings require hidden layers"),
        ("features.value_indices = 5", "value_indices of the features is 5, value_embeddings of the network 6144"),
        ('features.kind = "bits"', "value_indices require standardized features, not bits"),
    ):
        written.write_text(f'approach = "ppo-embeddings"\n{wrong}')
        with pytest.raises(HyperparameterError, match=said):
            read_settings_file(written)
