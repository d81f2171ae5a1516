"""Champions in MLflow's model registry: one registered model a game, one version a contender, the alias `champion`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from tasks.store import queries as finding
from tasks.store.connection import Address, connect, is_fresh
from tasks.store.models import StoredCheckpoint, told_in_one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"
DROPPED = "ramreel.dropped"
"""Tag of a version that plays worse than it did: why."""
_GAME = "ramreel.env_id"
_STEP, _DIGEST, _MODEL = "ramreel.step", "ramreel.digest", "ramreel.model_id"
_MEAN = "eval/mean_reward"


class Champion(BaseModel):
    """A registered checkpoint.

    Attributes:
        env_id: environment id of its game.
        version: MLflow's number of the model version.
        checkpoint: the checkpoint.
        words: what MLflow's UI says of it.
        tags: of the version.
    """

    model_config = ConfigDict(frozen=True)

    env_id: str
    version: int
    checkpoint: StoredCheckpoint
    words: str
    tags: Mapping[str, str]

    @property
    def run_id(self) -> str:
        return self.checkpoint.run_id

    @property
    def step(self) -> int:
        return self.checkpoint.step

    @property
    def dropped(self) -> str | None:
        """Why it plays worse than when it was crowned; none if nobody has found that it does."""
        return self.tags.get(DROPPED)


class Registry:
    """The best of a store, and its champions; every method raises `StoreError` when MLflow refuses or is away."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @property
    def _client(self) -> MlflowClient:
        return connect(self._address)

    @told_in_one_line
    def champions(self) -> tuple[Champion, ...]:
        """The champion of each game that has one, by environment id; a version that we did not register is none."""
        if is_fresh(self._address):
            return ()
        models = finding.pages(
            lambda token: self._client.search_registered_models(max_results=finding.PAGE, page_token=token)
        )
        crowned = {
            model.tags[_GAME]: self._client.get_model_version(model.name, str(model.aliases[ALIAS]))
            for model in models
            if _GAME in model.tags and ALIAS in model.aliases
        }
        return tuple(_champion(env_id, version) for env_id, version in sorted(crowned.items()) if _is_ours(version))

    def champion(self, env_id: str) -> Champion | None:
        """The champion of a game; none if there is none."""
        return next((champion for champion in self.champions() if champion.env_id == env_id), None)

    @told_in_one_line
    def register(self, env_id: str, checkpoint: StoredCheckpoint, words: str) -> Champion:
        """Register a checkpoint as a contender; one that is registered already stays the version that it is.

        Args:
            env_id: environment id of its game.
            checkpoint: the checkpoint.
            words: what to say of it.
        """
        for champion in self._versions(env_id):
            if champion.checkpoint == checkpoint:
                return champion
        if not self._exists(env_id):
            self._client.create_registered_model(_name(env_id), tags={_GAME: env_id})
        made = self._client.create_model_version(
            _name(env_id),
            source=self._source(checkpoint),
            run_id=checkpoint.run_id,
            tags={_STEP: str(checkpoint.step), _DIGEST: checkpoint.digest, _MODEL: checkpoint.model_id},
            description=words,
        )
        return _champion(env_id, made)

    @told_in_one_line
    def crown(self, champion: Champion) -> None:
        """Let it be the champion of its game."""
        self._client.set_registered_model_alias(_name(champion.env_id), ALIAS, str(champion.version))

    @told_in_one_line
    def note(self, champion: Champion, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(_name(champion.env_id), str(champion.version), key, value)

    @told_in_one_line
    def take_back(self, champion: Champion, key: str) -> None:
        """Delete a tag of a version."""
        self._client.delete_model_version_tag(_name(champion.env_id), str(champion.version), key)

    @told_in_one_line
    def is_kept(self, champion: Champion) -> bool:
        """Whether its checkpoint is still in the store; false only where somebody has deleted it."""
        from mlflow.exceptions import MlflowException

        model_id = champion.checkpoint.model_id
        try:
            # Asked for by itself: where its files are, MLflow's client remembers.
            self._client.get_logged_model(model_id)
            return bool(self._client.list_logged_model_artifacts(model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    @told_in_one_line
    def describe(self, champion: Champion, words: str) -> None:
        """Say in MLflow's UI what a version is."""
        self._client.update_model_version(_name(champion.env_id), str(champion.version), words)

    @told_in_one_line
    def best_mean(self, run_id: str, but: int) -> float | None:
        """The best mean return of any evaluated checkpoint of a run's game, in the run's experiment.

        Args:
            run_id: the run.
            but: step of the checkpoint of the run that does not count.

        Returns:
            The return; none if no other checkpoint has been evaluated.
        """
        run = self._client.get_run(run_id)
        models = finding.pages(
            lambda token: self._client.search_logged_models(
                [run.info.experiment_id],
                max_results=finding.PAGE,
                order_by=[{"field_name": f"metrics.{_MEAN}", "ascending": False}],
                page_token=token,
            )
        )
        for model in models:
            mean = next((metric.value for metric in model.metrics or () if metric.key == _MEAN), None)
            this_one = (model.source_run_id, model.tags.get(_STEP)) == (run_id, str(but))
            if mean is not None and not this_one and self._game(model.source_run_id) == run.data.tags.get(_GAME):
                return float(mean)
        return None

    def _game(self, run_id: str | None) -> str | None:
        return self._client.get_run(run_id).data.tags.get(_GAME) if run_id else None

    def _exists(self, env_id: str) -> bool:
        return bool(self._client.search_registered_models(f"name = '{_name(env_id)}'"))

    def _versions(self, env_id: str) -> list[Champion]:
        found = finding.pages(
            lambda token: self._client.search_model_versions(
                f"name = '{_name(env_id)}'", max_results=finding.PAGE, page_token=token
            )
        )
        return [_champion(env_id, version) for version in found if _is_ours(version)]

    def _source(self, checkpoint: StoredCheckpoint) -> str:
        # Within this process MLflow looks `models:/` up wherever its global address points, which need not be here.
        if self._address.database is None:
            return f"models:/{checkpoint.model_id}"
        return str(self._client.get_logged_model(checkpoint.model_id).artifact_location)


def _name(env_id: str) -> str:
    # MLflow's names bear neither slash nor colon.
    return env_id.replace("/", "-").replace(":", "-")


def _is_ours(version: ModelVersion) -> bool:
    """Whether it is a checkpoint: a person may register anything in MLflow's UI, and call it champion."""
    return {_STEP, _DIGEST, _MODEL} <= version.tags.keys()


def _champion(env_id: str, version: ModelVersion) -> Champion:
    tags = version.tags
    return Champion(
        env_id=env_id,
        version=int(version.version),
        checkpoint=StoredCheckpoint(
            run_id=version.run_id,
            step=int(tags[_STEP]),
            model_id=tags[_MODEL],
            digest=tags[_DIGEST],
        ),
        words=version.description or "",
        tags=tags,
    )
