"""`ramreel render`."""

from __future__ import annotations

from pathlib import Path

from flows.cli.options import Given, Json, options_of
from flows.cli.session import InvalidInputError, open_terminal, validated, validating, writable
from tasks.arcade.inputs.commands import RenderSettings


@options_of(RenderSettings)
def render(given: Given, *, as_json: Json = False) -> None:
    """Render a trace to a video of the game with its sound; this needs neither the policy nor the store."""
    settings = validated(RenderSettings, given)
    from tasks.arcade.drawing.ffmpeg import find_ffmpeg
    from tasks.arcade.emulator.environment_ids import rom_path
    from tasks.arcade.episodes.trace import TraceError, read_trace
    from tasks.arcade.video.render import render_video

    with validating():
        trace = read_trace(settings.trace)
        rom_path(trace.game.rom)
        find_ffmpeg()
    path = settings.to or Path(settings.trace.name.removesuffix(".json").removesuffix(".trace") + ".mp4")
    if settings.to is None and path.exists():
        raise InvalidInputError(f"{path} exists already: choose another file with --to")
    writable(path, "video")
    with open_terminal(as_json) as terminal:
        try:
            video = render_video(trace, path)
        except TraceError as error:
            raise InvalidInputError(str(error)) from None
        terminal.results(
            [f"{path}: {video.frames:,} frames, {video.seconds:.1f} s, return {trace.episode_return:,}"],
            {"path": str(path), "return": trace.episode_return, **video.model_dump()},
        )
