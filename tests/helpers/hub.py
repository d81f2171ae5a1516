"""A server with the part of the Hugging Face Hub's API that an upload needs, with Git LFS instead of Xet."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from helpers.web_server import web_address

TOKEN = "hf_accepted"  # noqa: S105
_LARGE = (".zip", ".mp4")
"""As in the `.gitattributes` of new repositories."""
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Hub:
    """A running Hub.

    Attributes:
        address: its URL.
        repositories: files of each repository, by path.
        commits: summaries of all commits.
    """

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    _large: dict[str, bytes] = field(default_factory=dict)

    def environment(self, token: str = TOKEN) -> Mapping[str, str]:
        """Return the variables with which huggingface_hub uses this server."""
        return {"HF_ENDPOINT": self.address, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}

    def routes(self) -> list[Route]:
        endpoints: dict[str, Endpoint] = {
            "/api/repos/create": self._create,
            "/api/validate-yaml": self._validate,
            "/api/models/{owner}/{name}/preupload/main": self._choose_modes,
            "/{owner}/{name}.git/info/lfs/objects/batch": self._offer_uploads,
            "/api/models/{owner}/{name}/commit/main": self._commit,
        }
        routes = [Route(path, _with_token(endpoint), methods=["POST"]) for path, endpoint in endpoints.items()]
        # The URL of an upload is a secret itself.
        return [*routes, Route("/lfs/{oid}", self._store, methods=["PUT"])]

    async def _create(self, request: Request) -> Response:
        asked = await request.json()
        name = f"{asked['organization']}/{asked['name']}"
        exists = name in self.repositories
        self.repositories.setdefault(name, {})
        return JSONResponse({"url": f"{self.address}/{name}"}, 409 if exists else 200)

    async def _validate(self, request: Request) -> Response:
        lines = (await request.json())["content"].splitlines()
        errors = [] if lines[0] == "---" and "---" in lines[1:] else [{"message": "no metadata"}]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def _choose_modes(self, request: Request) -> Response:
        paths = [file["path"] for file in (await request.json())["files"]]
        modes = {path: "lfs" if path.endswith(_LARGE) else "regular" for path in paths}
        files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
        return JSONResponse({"files": files})

    async def _offer_uploads(self, request: Request) -> Response:
        objects = (await request.json())["objects"]
        for each in objects:
            each["actions"] = {"upload": {"href": f"{self.address}/lfs/{each['oid']}"}}
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def _store(self, request: Request) -> Response:
        content, oid = await request.body(), request.path_params["oid"]
        if hashlib.sha256(content).hexdigest() != oid:
            return Response(status_code=422)
        self._large[oid] = content
        return Response()

    async def _commit(self, request: Request) -> Response:
        name = "{owner}/{name}".format(**request.path_params)
        files = self.repositories[name]
        for operation in map(json.loads, (await request.body()).splitlines()):
            kind, value = operation["key"], operation["value"]
            if kind == "header":
                self.commits.append(value["summary"])
            else:
                files[value["path"]] = (
                    self._large[value["oid"]] if kind == "lfsFile" else base64.b64decode(value["content"])
                )
        oid = f"{len(self.commits):040x}"
        return JSONResponse({"commitUrl": f"{self.address}/{name}/commit/{oid}", "commitOid": oid})


def _with_token(endpoint: Endpoint) -> Endpoint:
    async def authorized(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "Invalid username or password."}, 401)
        return await endpoint(request)

    return authorized


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Serve an empty Hub on loopback."""
    hub = Hub()
    with web_address(Starlette(routes=hub.routes())) as address:
        hub.address = f"http://{address}"
        yield hub
