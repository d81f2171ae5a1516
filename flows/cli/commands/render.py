"""`ramreel video`: a trace's video, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Json, writable
from flows.cli.session import BadInputError, checking, shown


def video(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="A trace's file.")],
    to: Annotated[Path | None, typer.Option(help="The video's file; default: named as the trace, here.")] = None,
    as_json: Json = False,
) -> None:
    """Make a video from its trace alone, without the policy that played: the game, with its sound."""
    from tasks.arcade.drawing.mp4_encoder import find_ffmpeg
    from tasks.arcade.episodes.trace import TraceError, read_trace
    from tasks.arcade.video.render import video as make

    with checking():
        wanted = read_trace(trace)
        find_ffmpeg()
    path = to or Path(trace.name.removesuffix(".json").removesuffix(".trace") + ".mp4")
    if to is None and path.exists():
        raise BadInputError(f"{path} is there already: name another file with --to")
    writable(path, "a video")
    with shown(as_json) as terminal:
        try:
            made = make(wanted, path)
        except TraceError as error:
            raise BadInputError(str(error)) from None
        terminal.results(
            [f"{path}: {made.frames:,} frames, {made.seconds:.1f} s, return {wanted.episode_return:,}"],
            {"path": str(path), "return": wanted.episode_return, **made.model_dump()},
        )
