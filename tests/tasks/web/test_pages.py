"""The web pages over a real store: what they show, what is not there, and who may ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from helpers.processes import wait_until
from helpers.web_server import web_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tasks.arcade.settings.run import RunSettings
from tasks.store import REPORT, ChampionRegistry, Store, StoreError
from tasks.web.addresses import page_path
from tasks.web.app import create_app
from tasks.web.game_names import game_title
from tasks.web.live_data import thinned
from tasks.web.settings import WebSettings

GAME = "ALE/Pong-v5"
UIS = WebSettings(prefect="http://prefect:4200", mlflow="http://mlflow:5000")
Start = Callable[..., str]


@pytest.fixture
def pages(store: Store) -> Iterator[httpx.Client]:
    with web_server(create_app(store, UIS)) as client:
        yield client


def test_gallery_without_runs_says_how_to_make_one(pages: httpx.Client) -> None:
    # The first page does not wait for a long reading.
    assert wait_until(lambda: "No runs yet" in pages.get("/").text)
    answer = pages.get("/")
    assert answer.status_code == 200
    assert "ramreel train ALE/Pong-v5" in answer.text


def test_gallery_shows_the_champion_else_the_best_run(
    store: Store, settings: RunSettings, start: Start, checkpoint: Path
) -> None:
    runs = [start(store, settings, f"run {number}") for number in range(3)]
    for number, run_id in enumerate(runs):
        metrics = {"eval/mean_reward": 10.0 - number, "eval/mean_reward_low": 1.0, "eval/mean_reward_high": 20.0}
        store.log_metrics(run_id, metrics, 500)
        store.finish_run(run_id, "FINISHED")
    with web_server(create_app(store, UIS)) as pages:
        # The first page does not wait for a long reading.
        assert wait_until(lambda: f"/runs/{runs[0]}/clip?step=500" in pages.get("/").text)
        best = pages.get("/").text
    assert "[1.0, 20.0]" in best
    # (10 + 20.7) / (14.6 + 20.7)
    assert "<b>0.87</b>" in best
    assert "3 runs in 1 game" in best

    store.save_checkpoint(runs[1], 250, checkpoint, "a" * 64)
    registry = ChampionRegistry(store.address)
    registry.set_champion(registry.register(GAME, store.list_checkpoints(runs[1])[0], "first"))
    store.log_metrics(runs[1], {"eval/mean_reward": 12.5}, 250)
    with web_server(create_app(store, UIS)) as pages:
        assert wait_until(lambda: f'href="/live?run={runs[1]}&amp;step=250"' in pages.get("/").text)
        crowned = pages.get("/").text
    assert f"/runs/{runs[1]}/clip?step=250" in crowned
    assert "12.5" in crowned


def test_page_of_a_game_lists_runs_with_their_links(
    store: Store, settings: RunSettings, start: Start, pages: httpx.Client
) -> None:
    run_id, other = start(store, settings), start(store, settings, "<b>other")
    store.set_tag(run_id, "ramreel.flow_run_id", "flow")
    store.set_tag(run_id, "ramreel.report", other)
    experiment = store._client.get_run(run_id).info.experiment_id
    page = pages.get(f"/games/{GAME}?run={run_id}").text
    assert f"http://mlflow:5000/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning" in page
    assert "http://prefect:4200/runs/flow-run/flow" in page
    assert f"/runs/{other}/artifacts/{REPORT}" in page
    assert len(re.findall(r'<tr[^>]*data-run="', page)) == 2
    assert pages.get(f"/runs/{run_id}", follow_redirects=False).headers["location"] == f"/games/{GAME}?run={run_id}"
    named = pages.get(f"/games/{GAME}?run={other}").text
    assert "&lt;b&gt;other" in named
    assert "<b>other" not in named


def test_what_is_not_there_is_named_with_where_to_go(
    store: Store, settings: RunSettings, start: Start, pages: httpx.Client
) -> None:
    run_id, gone = start(store, settings), "0" * 32
    deleted = start(store, settings)
    store._client.delete_run(deleted)
    for path, sentence in {
        "/nowhere": "There is no page /nowhere.",
        "/games/ALE/Pnog-v5": "Did you mean &#39;ALE/Pong-v5&#39;",
        "/games/ALE/Boxing-v5": "`ramreel train ALE/Boxing-v5` makes one",
        "/games/Pong-ram-v0": 'href="/games/Pong-v0"',
        f"/games/{GAME}?run={gone}": "Pong has no run",
        f"/games/{GAME}?run={deleted}": "Pong has no run",
        "/runs/abc": "is not a run id",
        f"/runs/{gone}": "There is no run",
        f"/runs/{gone}/artifacts/videos/a.mp4": "There is no run",
        f"/runs/{run_id}/artifacts/videos/a.mp4": "has no artifact",
        f"/runs/{gone}/clip?step=5": "There is no run",
        f"/runs/{run_id}/clip?step=x": "is not the step of a checkpoint",
        "/static/nothing.css": "There is no page",
    }.items():
        answer = pages.get(path)
        assert answer.status_code == 404, path
        assert sentence in answer.text, (path, answer.text)
        assert 'href="/"' in answer.text
    answer = pages.get(f"/api/runs/{gone}/media")
    assert (answer.status_code, answer.json()) == (404, {"error": f"There is no run {gone}, or it was deleted."})


def test_artifacts_are_served_by_run_in_ranges_and_nothing_else_of_the_disk(
    store: Store, settings: RunSettings, start: Start, pages: httpx.Client, tmp_path: Path
) -> None:
    run_id = start(store, settings)
    store.log_bytes(run_id, bytes(range(200)), "videos/step-000000500.mp4")
    store.log_text(run_id, "<script>top.x = 1</script>", REPORT)
    artifacts = f"/runs/{run_id}/artifacts"
    whole = pages.get(f"{artifacts}/videos/step-000000500.mp4")
    assert (whole.headers["content-type"], whole.content) == ("video/mp4", bytes(range(200)))
    part = pages.get(f"{artifacts}/videos/step-000000500.mp4", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/200"
    report = pages.get(f"{artifacts}/{REPORT}")
    assert report.headers["content-security-policy"].startswith("sandbox allow-scripts")

    folder = store.artifact_file(run_id, "videos", tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    inside = f"{tmp_path}/mlruns/mlflow.db"
    for path in (
        "..%2f..%2f..%2f..%2f..%2fsecret.txt", "videos/..%2f..%2f..%2f..%2fmlflow.db", "%2fetc%2fpasswd", inside,
        f"%2f{inside}", "videos/link.txt", "videos", "", "a%00b", "..%5c..%5csecret.txt", "file:%2f%2f%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/%2e%2e/secret.txt", "videos//step-000000500.mp4", "videos/%2e/step-000000500.mp4",
    ):  # fmt: skip
        answer = pages.get(f"{artifacts}/{path}")
        assert answer.status_code == 404, path
        assert str(tmp_path) not in answer.text.replace(inside, ""), path
    for path in ("/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert pages.get(path).status_code == 404, path


def test_media_and_curve_of_a_run(store: Store, settings: RunSettings, start: Start, pages: httpx.Client) -> None:
    run_id = start(store, settings)
    for step in (500, 1000):
        store.log_bytes(run_id, b"video", f"videos/step-{step:09d}.mp4")
        store.log_text(run_id, "{}", f"videos/step-{step:09d}.trace.json")
    store.log_bytes(run_id, b"highlight", "videos/step-000001000.highlight.mp4")
    store.log_bytes(run_id, b"reel", "reels/reel.mp4")
    store.log_metrics(run_id, {"eval/mean_reward": 3.0, "rollout/ep_rew_mean": 2.0}, 1000)
    artifacts = f"/runs/{run_id}/artifacts"
    assert pages.get(f"/api/runs/{run_id}/media").json() == {
        "videos": [
            {"step": 500, "src": f"{artifacts}/videos/step-000000500.mp4", "mean": None, "low": None, "high": None},
            {"step": 1000, "src": f"{artifacts}/videos/step-000001000.mp4", "mean": 3.0, "low": None, "high": None},
        ],
        "reel": {"video": f"{artifacts}/reels/reel.mp4"},
    }
    curve = pages.get(f"/api/runs/{run_id}/curve").json()
    assert (curve["training"], curve["evaluated"]) == ([[1000, 2.0]], [[1000, 3.0, None, None]])
    assert pages.get(f"/runs/{run_id}/clip?step=1000").content == b"highlight"
    assert pages.get(f"/runs/{run_id}/clip?step=500").content == b"video"


def test_running_runs_have_their_progress(
    store: Store, settings: RunSettings, start: Start, pages: httpx.Client
) -> None:
    run_id, killed = start(store, settings), start(store, settings)
    store.log_metrics(run_id, {"rollout/ep_rew_mean": 2.0}, 250)
    with store.lease(run_id):
        (found,) = pages.get("/api/running", params={"game": GAME}).json()
        assert found == {"run": run_id, "step": 250, "steps": 1000, "return": 2.0, "evaluated": None}
        assert pages.get("/api/running", params={"game": "ALE/Boxing-v5"}).json() == []
        page = pages.get(f"/games/{GAME}?run={run_id}").text
    assert f'<progress data-progress="{run_id}" max="1000" value="250"' in page
    assert f'data-run="{killed}"' in page
    assert page.count('class="chip interrupted"') == 1


def test_remote_store_is_read_through_its_server(server_store: Store, settings: RunSettings, start: Start) -> None:
    game = settings.game.model_copy(update={"env_id": "ALE/Zaxxon-v5", "rom": "zaxxon"})
    run_id = start(server_store, settings.model_copy(update={"game": game}))
    server_store.log_bytes(run_id, bytes(range(200)), "videos/a.mp4")
    server_store.log_metrics(run_id, {"eval/mean_reward": 3.0}, 1000)
    with web_server(create_app(server_store, UIS)) as pages:
        assert wait_until(lambda: f"/runs/{run_id}/clip?step=1000" in pages.get("/").text)
        assert run_id in pages.get("/games/ALE/Zaxxon-v5").text
        part = pages.get(f"/runs/{run_id}/artifacts/videos/a.mp4", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
        for path in ("..%2fmlflow.db", "nothing.txt", "videos"):
            assert pages.get(f"/runs/{run_id}/artifacts/{path}").status_code == 404, path


def test_store_that_fails_is_a_sentence_without_its_place(store: Store, home: Path, pages: httpx.Client) -> None:
    (home / "mlruns" / "mlflow.db").write_bytes(b"not a database" * 1000)
    answer = pages.get(f"/games/{GAME}")
    assert answer.status_code == 503
    assert "cannot be read at the moment" in answer.text
    assert str(home) not in answer.text


def _changes(_: Request) -> Response:
    return PlainTextResponse("changed")


def protected(store: Store, settings: WebSettings) -> Starlette:
    return create_app(store, settings, [Route("/change", _changes, methods=["POST"])])


def test_login_is_asked_for_everything_but_the_health_check(store: Store) -> None:
    app = protected(store, WebSettings(login="lab:secret"))
    with web_server(app) as stranger:
        for path in ("/", f"/games/{GAME}", "/static/base.css", "/api/running", "/nowhere"):
            answer = stranger.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic"), path
        assert stranger.get("/", auth=("lab", "wrong")).status_code == 401
        for cookie in ("ramreel=", "ramreel=x; a=[", "[]=;", "\xff"):
            assert stranger.get("/", headers={"Cookie": cookie.encode("latin-1")}).status_code == 401
        assert stranger.get("/health").status_code == 200
        assert "set-cookie" not in stranger.get("/health").headers
        assert stranger.get("/", auth=("lab", "secret")).status_code == 200
        # The cookie of the login is enough, as for a WebSocket.
        assert stranger.get("/").status_code == 200


def test_names_and_origins_of_strangers_are_refused(store: Store) -> None:
    app = protected(store, WebSettings(hosts=("lab-server",)))
    with web_server(app) as pages:
        named = {
            "lab-server:4300": 200,
            "127.0.0.1:4300": 200,
            "[::1]:4300": 200,
            "evil.example": 403,
            "": 403,
            "[": 403,
        }
        for host, status in named.items():
            assert pages.get("/", headers={"Host": host}).status_code == status, host
        pages.headers["Host"] = "lab-server:4300"
        for origin, status in {"http://lab-server:4300": 200, "http://evil.example": 403, "null": 403}.items():
            assert pages.post("/change", headers={"Origin": origin}).status_code == status, origin
        assert pages.post("/change").status_code == 403


def test_pages_load_nothing_from_elsewhere(pages: httpx.Client) -> None:
    answer = pages.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in answer.text
    assert " style=" not in answer.text


def test_addresses_of_pages_by_name(store: Store, settings: RunSettings, start: Start) -> None:
    run_id = start(store, settings, "mine")
    for target, path in {
        "gallery": "/", "pong": f"/games/{GAME}", "Space Invaders": "/games/ALE/SpaceInvaders-v5",
        GAME: f"/games/{GAME}", "mine": f"/runs/{run_id}", run_id[:8]: f"/runs/{run_id}", "latest": f"/runs/{run_id}",
    }.items():  # fmt: skip
        assert page_path(store, target) == path
    with pytest.raises(StoreError, match="no report yet"):
        page_path(store, "report")
    with pytest.raises(StoreError, match="'nosuch' is not a game, and no run 'nosuch'"):
        page_path(store, "nosuch")
    report = store.start_comparison(GAME, "c", [run_id], command="c", versions={}, commit=None)
    store.finish_run(report, "FINISHED")
    assert page_path(store, "report") == f"/runs/{report}/artifacts/{REPORT}"


def test_titles_of_games() -> None:
    assert game_title("ALE/SpaceInvaders-v5") == "Space Invaders"
    assert game_title("PongNoFrameskip-v4") == "PongNoFrameskip-v4"


def test_long_curves_are_thinned_to_means_up_to_the_last_step() -> None:
    points = [(step, float(step % 2)) for step in range(10_000)]
    thin = thinned(points)
    assert len(thin) == 240
    assert thin[-1][0] == 9999
    assert all(0.4 < value < 0.6 for _, value in thin)
