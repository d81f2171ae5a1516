"""`ramreel follow`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.options import Given, Json, Quiet, options_of
from flows.cli.session import InvalidInputError, announce, open_terminal, validated, validating, writable
from tasks.arcade.inputs.commands import FollowSettings

if TYPE_CHECKING:
    from flows.cli.terminal import Terminal
    from tasks.arcade.video.follow import FollowedVideo

_LINE_SECONDS = 10
_MAX_SETS = 4
"""Sets of actions with the same effect that are listed."""


@options_of(FollowSettings)
def follow(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> int:
    """Reconstruct RAM and actions of an episode from its video, which needs no trace; writes a trace and .npz."""
    settings = validated(FollowSettings, given)
    path = writable(settings.to or Path(f"{settings.path.stem}.trace.json"), "trace")
    ram_path = writable(path.with_name(f"{path.name.removesuffix('.json').removesuffix('.trace')}.npz"), "file")
    if settings.to is None and (taken := next((one for one in (path, ram_path) if one.exists()), None)):
        raise InvalidInputError(f"{taken} exists already: choose another file with --to")
    announce(f"follow {settings.path}", quiet=quiet)
    from tasks.arcade.drawing.video_format import VideoError
    from tasks.arcade.emulator.environment_ids import resolve, rom_path
    from tasks.arcade.episodes.trace import write_trace
    from tasks.arcade.video.follow import NotFollowedError, follow_video, write_ram

    with validating():
        game = resolve(settings.env_id)
        rom_path(game.rom)
        changes: dict[str, Any] = {"full_action_space": settings.full_action_space or game.full_action_space}
        if settings.frame_skip is not None:
            changes["frame_skip"] = settings.frame_skip
        game = game.model_copy(update=changes)
    with open_terminal(as_json, quiet) as terminal:
        started = time.perf_counter()
        try:
            followed = follow_video(settings.path, game, max_lost=settings.max_lost, on_picture=_Progress(terminal))
        except (NotFollowedError, VideoError) as error:
            raise InvalidInputError(str(error)) from None
        speed = followed.n_steps / (time.perf_counter() - started)
        write_trace(followed.trace, path)
        write_ram(followed, ram_path)
        values = _values(followed) | {"trace": str(path), "ram": str(ram_path), "steps_per_second": speed}
        lines = [*_lines(followed, values), f"{path}: trace · {ram_path}: RAM and actions · {speed:.0f} steps/s"]
        if followed.lost_at is None:
            terminal.results(lines, values)
            return 0
        for line in lines:
            terminal.line(line)
        terminal.error(
            f"{settings.path}: lost at picture {followed.lost_at} of {followed.n_pictures}, which no state explains; "
            f"the files end before it",
            values,
        )
        return 1


class _Progress:
    """Prints the number of pictures from time to time."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self._printed = terminal, time.monotonic()

    def __call__(self, pictures: int, total: int) -> None:
        if time.monotonic() - self._printed >= _LINE_SECONDS:
            self._printed = time.monotonic()
            self._terminal.log(f"picture {pictures:,} of {total:,}")


def _values(followed: FollowedVideo) -> dict[str, Any]:
    sets, confidence = followed.history.action_sets(), followed.history.confidence
    names = followed.history.action_names
    varying = (followed.history.ram != followed.history.ram[0]).any(axis=0)
    return {
        "steps": followed.n_steps,
        "return": followed.trace.episode_return,
        "ended": followed.trace.ended,
        "every_frame": followed.every_frame,
        "repeats": followed.repeats,
        "pictures": followed.n_pictures,
        "lost_at": followed.lost_at,
        "lost_pictures": int(followed.lost.sum()),
        "mean_confidence": float(confidence.mean()),
        "sure_bytes": float((confidence >= 0.99).mean()),
        "varying_bytes": int(varying.sum()),
        "uncertain_bytes": [int(byte) for byte in (confidence < 0.99).mean(axis=0).nonzero()[0]],
        "sure_actions": sum(len(one) == 1 for one in sets) / len(sets),
        "action_sets": {" or ".join(names[action] for action in one): n for one, n in Counter(sets).most_common()},
        "mean_hypotheses": followed.mean_hypotheses,
        "largest_difference": followed.largest_difference,
    }


def _lines(followed: FollowedVideo, values: Mapping[str, Any]) -> list[str]:
    kind = "frames" if followed.every_frame else "steps"
    listed = list(values["action_sets"].items())
    shown = ", ".join(f"{names} {n:,}" for names, n in listed[:_MAX_SETS])
    rest = sum(n for _, n in listed[_MAX_SETS:])
    uncertain = values["uncertain_bytes"]
    bytes_ = ", ".join(map(str, uncertain[:12])) + (", ..." if len(uncertain) > 12 else "")
    lines = [
        f"{values['steps']:,} {kind} of {followed.n_pictures:,} pictures, return {followed.trace.episode_return:,}, "
        f"{followed.trace.ended}; {followed.mean_hypotheses:.1f} states kept on average",
        f"RAM: {values['sure_bytes']:.2%} of all bytes with a confidence of at least .99"
        + (f"; the others are among bytes {bytes_}" if uncertain else ""),
        f"actions: one is determined in {values['sure_actions']:.1%} of {kind}; {shown}"
        + (f", others {rest:,}" if rest else ""),
        f"largest difference of a picture: {followed.largest_difference:.1f} of 255",
    ]
    if followed.repeats:
        lines.append(
            "the video repeats pictures in place of others, as MoviePy does: steps without a picture are inferred"
        )
    if values["lost_pictures"]:
        lines.append(f"no state shows {values['lost_pictures']:,} pictures in between: their confidence is 0")
    return lines
