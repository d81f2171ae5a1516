"""Encoder of an MP4: frames and sound are streamed to ffmpeg, and the file appears complete or not at all.

The ffmpeg process is run from here because imageio-ffmpeg's own writer discards its exit status and error output: a
failed video would look like a finished one.

PyAV's libx264 was measured as an alternative in this process. It writes the same bytes in 0.75 of the CPU time, but:

- Encoding would no longer overlap with drawing: a panel video alone takes 1.26 times as long.
- An encoder that crashes, hangs or is killed for memory would take the process with it, instead of raising an error
  that a retry answers.
- A video records the ffmpeg that encoded it, and is verified bit-for-bit by that version (`tasks.arcade.video.verify`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tasks.arcade.atomic_write import publish, temporary_path
from tasks.arcade.drawing.ffmpeg import FFMPEG_ADVICE, TIMEOUT_SECONDS, exit_reason, find_ffmpeg, open_error_log
from tasks.arcade.drawing.video_format import AudioSamples, Encoding, I420Frame, VideoError, VideoFormat

_POLL_SECONDS = 0.5
"""Interval between checks of the error output of an ffmpeg that accepts no frame."""
_PIPE_BYTES = 1024 * 1024
"""Capacity of the pipe to ffmpeg: the most that Linux grants an unprivileged process."""
_AUDIO_RATE = 32_000
"""Sample rate of the AAC stream in Hz: the lowest of AAC's above a console's 25,528 or 30,679."""


class Mp4Encoder:
    """Context manager that encodes one video with one ffmpeg process.

    Sound is buffered in an unnamed file, 30 kB per second, and muxed at the end: an ffmpeg that reads frames and sound
    simultaneously blocks one input until it has enough of the other, how much depends on its version, and may deadlock.

    Args:
        path: Path of the video, in a folder that exists.
        video_format: Size, frame rate, sound.
        metadata: Container metadata: `title`, `comment`.
        finalize: Called with the path of the complete file before it is renamed to `path`.

    Attributes:
        frames: Number of frames written.
        video_format: As given.

    Raises:
        VideoError: The format is invalid, or no ffmpeg was found.
    """

    def __init__(
        self,
        path: Path,
        video_format: VideoFormat,
        metadata: Mapping[str, str],
        finalize: Callable[[Path], object] | None = None,
    ) -> None:
        width, height = video_format.width, video_format.height
        if width % 2 or height % 2 or min(width, height) < 2:
            raise VideoError(f"{path.name}: a video's width and height must be even: got {width}x{height}")
        self.frames = 0
        self.video_format = video_format
        self._path, self._metadata, self._finalize = path, metadata, finalize
        self._complete = temporary_path(path)
        self._silent = temporary_path(path, ".silent") if video_format.samples_per_frame else self._complete
        self._ffmpeg = find_ffmpeg()

    def __enter__(self) -> Self:
        self._error_log, self._audio = open_error_log(), tempfile.TemporaryFile()
        self._processes: list[subprocess.Popen[bytes]] = []
        ending = () if self.video_format.samples_per_frame else _container_arguments(self._metadata)
        try:
            process = self._start(
                [*encoding_arguments(self.video_format), *ending, "-f", "mp4", f"file:{self._silent}"], subprocess.PIPE
            )
        except BaseException:
            self._close()
            raise
        assert process.stdin is not None
        self._pipe = process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        # A large pipe takes a frame in two or three writes; a small one works as well.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_WRITE)
        return self

    def _start(self, arguments: list[str], stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
        command = [self._ffmpeg.path, "-loglevel", "error", "-nostats", "-y", *arguments]
        try:
            # A separate process group: Ctrl-C interrupts this process, which then ends ffmpeg.
            process = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=self._error_log, bufsize=0, process_group=0
            )
        except OSError as error:
            raise self._error(f"ffmpeg cannot be started ({error}): {FFMPEG_ADVICE}") from None
        self._processes.append(process)
        return process

    def write(self, frame: I420Frame, audio: AudioSamples | None = None) -> None:
        """Append a frame and the sound played while it is shown.

        Args:
            frame: uint8 of shape (height * 3 // 2, width).
            audio: uint8 of shape (samples_per_frame,); None for a silent video.

        Raises:
            ValueError: The frame or the sound does not have the video's format.
            VideoError: ffmpeg stopped.
        """
        samples, expected = 0 if audio is None else len(audio), self.video_format
        if frame.shape != (expected.height * 3 // 2, expected.width) or samples != expected.samples_per_frame:
            raise ValueError(f"frame {self.frames} does not have the video's format: {frame.shape}, {samples} samples")
        unwritten = frame.data.cast("B")
        while unwritten:
            try:
                unwritten = unwritten[os.write(self._pipe, unwritten) :]
            except BlockingIOError:
                self._wait_until_writable()
            except BrokenPipeError:
                raise self._error(exit_reason(self._processes[-1], self._error_log)) from None
        if audio is not None:
            try:
                self._audio.write(audio.data.cast("B"))
            except OSError as error:
                raise self._error(f"the sound cannot be buffered ({error.strerror})") from None
        self.frames += 1

    def _wait_until_writable(self) -> None:
        blocked_since = time.monotonic()
        while not self._selector.select(_POLL_SECONDS):
            if self._has_error_output:
                # An ffmpeg that cannot write waits for the end of its input before it exits.
                self._close_input()
                raise self._error(exit_reason(self._processes[-1], self._error_log))
            if time.monotonic() - blocked_since >= TIMEOUT_SECONDS:
                raise self._error(f"ffmpeg accepted no frame for {TIMEOUT_SECONDS:.0f} s")

    @property
    def _has_error_output(self) -> bool:
        return os.fstat(self._error_log.fileno()).st_size > 0

    def _close_input(self) -> None:
        self._selector.close()
        stdin = self._processes[0].stdin
        assert stdin is not None
        stdin.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._close_input()
            if error is None:
                self._finish()
        finally:
            self._close()

    def _close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._error_log.close()
        # On a full disk, flushing the buffer fails again.
        with contextlib.suppress(OSError):
            self._audio.close()
        for path in (self._silent, self._complete):
            path.unlink(missing_ok=True)

    def _finish(self) -> None:
        if not self.frames:
            raise self._error("the video has no frames")
        self._wait_for_exit()
        try:
            if self.video_format.samples_per_frame:
                self._mux_audio()
            if self._finalize:
                self._finalize(self._complete)
            publish(self._complete, self._path)
        except OSError as error:
            raise self._error(f"the video was not written ({error.strerror})") from None

    def _mux_audio(self) -> None:
        """Encode the sound and mux it with the encoded frames, which are copied."""
        self._audio.flush()
        self._audio.seek(0)
        rate = self.video_format.frame_rate * self.video_format.samples_per_frame
        audio = [*_NO_PROBING, "-f", "u8", "-ar", str(rate), "-ac", "1", "-i", "pipe:0"]
        # The default AAC coder takes five times as long.
        codecs = ["-c:v", "copy", "-c:a", "aac", "-aac_coder", "fast", "-b:a", "64k", "-ar", str(_AUDIO_RATE)]
        streams = ["-map", "0:v", "-map", "1:a"]
        output = [*_container_arguments(self._metadata), "-f", "mp4", f"file:{self._complete}"]
        self._start(["-i", f"file:{self._silent}", *audio, *streams, *codecs, *output], self._audio)
        self._wait_for_exit(self.frames / 100)

    def _wait_for_exit(self, extra_seconds: float = 0) -> None:
        timeout = TIMEOUT_SECONDS + extra_seconds
        try:
            status = self._processes[-1].wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._error(f"ffmpeg did not exit within {timeout:.0f} s of the last frame") from None
        if status != 0:
            raise self._error(exit_reason(self._processes[-1], self._error_log))

    def _error(self, reason: str) -> VideoError:
        return VideoError(f"{self._path.name}: {reason} (ffmpeg {self._ffmpeg.version})")


_NO_PROBING = ("-probesize", "32", "-analyzeduration", "0")
"""Raw frames and sound have nothing to probe."""
# A constant quantizer is both faster and smaller here than a constant rate factor, whose look-ahead gains nothing on
# frames that are mostly static. Slower presets gain 4% at half the speed, and their deblocking changes the game by more
# than verification tolerates; entropy coding alone gains 14% at the same speed, and the decoded frames stay the same.
_SHARP: Mapping[Encoding, tuple[str, ...]] = {
    1: ("-preset", "ultrafast", "-qp", "18"),
    2: ("-preset", "ultrafast", "-qp", "18", "-x264-params", "cabac=1"),
}
# x264 encodes a region coarser than the rest only with adaptive quantization, which a constant quantizer excludes. With
# qcomp=1 and hardly any adaptation, a constant rate factor is a constant quantizer.
_WITH_REGION = ("-preset", "ultrafast", "-crf", "18", "-g", "600")
_REGION_PARAMETERS = ("-x264-params", "cabac=1:qcomp=1:aq-mode=1:aq-strength=0.01:chroma-qp-offset=-4")
_COARSER = 0.22
"""Share of the quantizer's range: text stays as legible as with the constant quantizer, at half the bits."""
# A key frame every five seconds keeps seeking fast.
_COMPACT = ("-preset", "veryfast", "-crf", "30", "-g", "300")


def encoding_arguments(video_format: VideoFormat) -> list[str]:
    """Return ffmpeg's arguments for reading raw frames from standard input and encoding them as H.264."""
    quality, region = _COMPACT if video_format.compact else _SHARP[video_format.encoding], ""
    if video_format.coarse_region and video_format.encoding > 1:
        x, y, width, height = video_format.coarse_region
        quality = (*_WITH_REGION, *_REGION_PARAMETERS)
        region = f",addroi={x}:{y}:{width}:{height}:{_COARSER}"
    ratio = video_format.sample_aspect_ratio
    aspect = f"setsar={ratio.numerator}/{ratio.denominator}:max=1000"
    color = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    size = f"{video_format.width}x{video_format.height}"
    return [
        *("-filter_threads", "1", *_NO_PROBING, "-f", "rawvideo", "-pix_fmt", "yuv420p"),
        *("-video_size", size, "-framerate", str(video_format.frame_rate), "-i", "pipe:0"),
        *("-vf", f"{aspect},{color}{region}"),
        # One thread: videos are encoded side by side on all cores, and the result depends on the number of threads.
        *("-c:v", "libx264", *quality, "-threads", "1", "-pix_fmt", "yuv420p"),
    ]


def _container_arguments(metadata: Mapping[str, str]) -> list[str]:
    """Return ffmpeg's arguments for a container that starts with its index and is reproducible."""
    fields = (part for name, value in metadata.items() for part in ("-metadata", f"{name}={value}"))
    return ["-movflags", "+faststart", "-fflags", "+bitexact", *fields]
