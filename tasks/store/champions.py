"""Champions in MLflow's model registry: one registered model per game, one version per contender, alias `champion`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from tasks.store import queries
from tasks.store.address import Address
from tasks.store.connection import connect
from tasks.store.errors import raises_store_error
from tasks.store.values import StoredCheckpoint

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

ALIAS = "champion"
DROP_CAUSE = "ramreel.dropped"
"""Tag of a version whose performance dropped: the cause."""
_ENV_ID = "ramreel.env_id"
_STEP, _DIGEST, _MODEL = "ramreel.step", "ramreel.digest", "ramreel.model_id"
_VERSIONS = "mlflow.modelVersions"
_MEAN_RETURN = "eval/mean_reward"
_VERSIONS_PAGE = 1000


class Champion(BaseModel):
    """A registered checkpoint.

    Attributes:
        env_id: environment id of its game.
        version: number of the model version.
        checkpoint: the checkpoint.
        description: description of the version in MLflow's UI.
        tags: tags of the version.
    """

    model_config = ConfigDict(frozen=True)

    env_id: str
    version: int
    checkpoint: StoredCheckpoint
    description: str
    tags: Mapping[str, str]

    @property
    def run_id(self) -> str:
        return self.checkpoint.run_id

    @property
    def step(self) -> int:
        return self.checkpoint.step

    @property
    def drop_cause(self) -> str | None:
        """Cause of its performance drop; None if no drop was detected."""
        return self.tags.get(DROP_CAUSE)


class ChampionRegistry:
    """The champions of a store. Every method raises `StoreError` if MLflow fails or is unavailable."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @property
    def _client(self) -> MlflowClient:
        return connect(self._address)

    @raises_store_error
    def champions(self) -> tuple[Champion, ...]:
        """Return the champions of all games, by environment id.

        Versions that ramreel did not register are skipped, and so are those whose run was deleted for good.
        """
        if self._address.is_fresh:
            return ()
        crowned = self._crowned()
        # Without its run, a checkpoint cannot be checked, compared or retrained: the next challenger takes its place.
        existing = queries.existing_runs(self._client, {str(version.run_id) for version in crowned.values()})
        return tuple(
            _champion(env_id, version) for env_id, version in sorted(crowned.items()) if version.run_id in existing
        )

    @raises_store_error
    def checkpoints(self) -> dict[str, StoredCheckpoint]:
        """Return the checkpoints of the champions by environment id; their runs may be deleted."""
        if self._address.is_fresh:
            return {}
        return {env_id: _champion(env_id, version).checkpoint for env_id, version in self._crowned().items()}

    def _crowned(self) -> dict[str, ModelVersion]:
        """Return the champions' versions by environment id, from two searches."""
        models = queries.pages(
            lambda token: self._client.search_registered_models(max_results=queries.PAGE, page_token=token)
        )
        crowned = {
            (model.name, int(model.aliases[ALIAS])): model.tags[_ENV_ID]
            for model in models
            if _ENV_ID in model.tags and ALIAS in model.aliases
        }
        if not crowned:
            return {}
        versions = queries.pages(
            lambda token: self._client.search_model_versions(max_results=_VERSIONS_PAGE, page_token=token)
        )
        found = ((crowned.get((one.name, int(one.version))), one) for one in versions if _is_checkpoint(one))
        return {env_id: version for env_id, version in found if env_id}

    @raises_store_error
    def champion(self, env_id: str) -> Champion | None:
        """Return the champion of a game; None if it has none, or if the champion's run was deleted for good."""
        if self._address.is_fresh:
            return None
        found = (self._champion_of(model) for model in self._registered_models(env_id))
        return next((champion for champion in found if champion and champion.env_id == env_id), None)

    def _champion_of(self, model: RegisteredModel) -> Champion | None:
        if _ENV_ID not in model.tags or ALIAS not in model.aliases:
            return None
        version = self._client.get_model_version(model.name, str(model.aliases[ALIAS]))
        if not _is_checkpoint(version) or self._existing_run(version.run_id) is None:
            return None
        return _champion(model.tags[_ENV_ID], version)

    @raises_store_error
    def register(self, env_id: str, checkpoint: StoredCheckpoint, description: str) -> Champion:
        """Register a checkpoint as a contender; a registered checkpoint keeps its version.

        Args:
            env_id: environment id of its game.
            checkpoint: the checkpoint.
            description: description of a new version.
        """
        for champion in self._versions(env_id, checkpoint.run_id):
            if champion.checkpoint == checkpoint:
                return champion
        self._require_registered_model(env_id)
        version = self._client.create_model_version(
            _model_name(env_id),
            source=self._source(checkpoint),
            run_id=checkpoint.run_id,
            # A server accepts a logged model as the source only if the request names it.
            model_id=checkpoint.model_id,
            tags={_STEP: str(checkpoint.step), _DIGEST: checkpoint.digest, _MODEL: checkpoint.model_id},
            description=description,
        )
        if self._address.database is not None:
            self._mark_registered(checkpoint.model_id, version)
        return _champion(env_id, version)

    def _mark_registered(self, model_id: str, version: ModelVersion) -> None:
        """Tag a logged model with its version, as MLflow's server does; its page reads "Not registered" otherwise."""
        tags = self._client.get_logged_model(model_id).tags
        versions = [*json.loads(tags.get(_VERSIONS, "[]")), {"name": version.name, "version": version.version}]
        self._client.set_logged_model_tags(model_id, {_VERSIONS: json.dumps(versions)})

    @raises_store_error
    def set_champion(self, champion: Champion) -> None:
        """Set a version as the champion of its game."""
        self._client.set_registered_model_alias(_model_name(champion.env_id), ALIAS, str(champion.version))

    @raises_store_error
    def set_tag(self, champion: Champion, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(_model_name(champion.env_id), str(champion.version), key, value)

    @raises_store_error
    def delete_tag(self, champion: Champion, key: str) -> None:
        """Delete a tag of a version."""
        self._client.delete_model_version_tag(_model_name(champion.env_id), str(champion.version), key)

    @raises_store_error
    def has_checkpoint(self, champion: Champion) -> bool:
        """Whether the champion's checkpoint is still in the store; False only if it was deleted."""
        from mlflow.exceptions import MlflowException

        model_id = champion.checkpoint.model_id
        try:
            # A request of its own: MLflow's client caches the location of the files.
            self._client.get_logged_model(model_id)
            return bool(self._client.list_logged_model_artifacts(model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    @raises_store_error
    def set_description(self, champion: Champion, description: str) -> None:
        """Set the description of a version in MLflow's UI."""
        self._client.update_model_version(_model_name(champion.env_id), str(champion.version), description)

    @raises_store_error
    def best_mean_return(self, run_id: str, excluded_step: int) -> float | None:
        """Return the best mean return of the evaluated checkpoints of a run's game in the run's experiment.

        Checkpoints of deleted runs do not count.

        Args:
            run_id: MLflow's run id.
            excluded_step: step of the run's checkpoint that is left out.

        Returns:
            The mean return, or None if no other checkpoint is evaluated.
        """
        run = self._client.get_run(run_id)
        models = queries.pages(
            lambda token: self._client.search_logged_models(
                [run.info.experiment_id],
                max_results=queries.PAGE,
                order_by=[{"field_name": f"metrics.{_MEAN_RETURN}", "ascending": False}],
                page_token=token,
            )
        )
        env_id, env_id_of = run.data.tags.get(_ENV_ID), cache(self._env_id)
        for model in models:
            mean = next((metric.value for metric in model.metrics or () if metric.key == _MEAN_RETURN), None)
            excluded = (model.source_run_id, model.tags.get(_STEP)) == (run_id, str(excluded_step))
            if mean is not None and not excluded and env_id_of(model.source_run_id) == env_id:
                return float(mean)
        return None

    def _env_id(self, run_id: str | None) -> str | None:
        run = self._existing_run(run_id)
        return run.data.tags.get(_ENV_ID) if run and run.info.lifecycle_stage == "active" else None

    def _existing_run(self, run_id: str | None) -> Run | None:
        """Return a run, deleted or not; None if it was deleted for good, which leaves its checkpoints."""
        from mlflow.exceptions import MlflowException

        if not run_id:
            return None
        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _registered_models(self, env_id: str) -> list[RegisteredModel]:
        """Return the registered model of a game, if there is one."""
        return list(self._client.search_registered_models(f"name = '{_model_name(env_id)}'"))

    def _require_registered_model(self, env_id: str) -> None:
        """Create the registered model of a game, or describe one that has no description."""
        name, description = _model_name(env_id), _model_description(env_id)
        models = self._registered_models(env_id)
        if not models:
            self._client.create_registered_model(name, tags={_ENV_ID: env_id}, description=description)
        elif not models[0].description:
            self._client.update_registered_model(name, description)

    def _versions(self, env_id: str, run_id: str) -> list[Champion]:
        """Return the registered checkpoints of a run."""
        query = f"name = '{_model_name(env_id)}' AND run_id = '{run_id}'"
        versions = queries.pages(
            lambda token: self._client.search_model_versions(query, max_results=queries.PAGE, page_token=token)
        )
        return [_champion(env_id, version) for version in versions if _is_checkpoint(version)]

    def _source(self, checkpoint: StoredCheckpoint) -> str:
        # MLflow resolves `models:/` at its global tracking URI, which may be another one in this process.
        if self._address.database is None:
            return f"models:/{checkpoint.model_id}"
        return str(self._client.get_logged_model(checkpoint.model_id).artifact_location)


def delete_versions(client: MlflowClient, run_id: str) -> None:
    """Delete the registered versions of a run's checkpoints."""
    versions = queries.pages(
        lambda token: client.search_model_versions(f"run_id = '{run_id}'", max_results=queries.PAGE, page_token=token)
    )
    for version in list(versions):
        client.delete_model_version(version.name, version.version)


def _model_name(env_id: str) -> str:
    # MLflow's names may contain neither slash nor colon.
    return env_id.replace("/", "-").replace(":", "-")


def _model_description(env_id: str) -> str:
    name = _model_name(env_id)
    return (
        f"Policies of {env_id}. The version with the alias `{ALIAS}` plays best; each version's signature and the "
        "description of its logged model say what it observes and returns.\n\n"
        f'```python\nmodel = mlflow.pyfunc.load_model("models:/{name}@{ALIAS}")\n'
        "model.predict(model.input_example)\n```"
    )


def _is_checkpoint(version: ModelVersion) -> bool:
    """Whether a version is a checkpoint: users may register any model in MLflow's UI and alias it `champion`."""
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
        description=version.description or "",
        tags=tags,
    )
