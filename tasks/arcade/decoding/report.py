"""How well a decoder tells each byte, measured on its test episodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from sklearn.metrics import f1_score

from tasks.arcade.decoding.decoder import ByteDecoding, DecodedEpisode, Decoder
from tasks.arcade.decoding.fit import Split
from tasks.arcade.decoding.labels import labels_of
from tasks.arcade.decoding.measure_following import FollowingReport
from tasks.arcade.decoding.pairs import Pairs
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.scores.pixels_returns import RamSource, describe_returns, return_metrics
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.settings.game import GameSettings

Kind = Literal["constant", "seen", "seen ±1", "seen with memory", "partly seen", "not seen"]
KINDS: dict[Kind, str] = {
    "constant": "never changed in the training episodes",
    "seen": "right in at least 99 % of the test steps, by two pictures alone",
    "seen ±1": "within one of the right value in at least 99 % of the test steps",
    "seen with memory": "right in at least 99 % of the test steps, by pictures and the values before",
    "partly seen": "at least half of the way from the most frequent value to certainty",
    "not seen": "less than that: a counter, a random generator, or a byte that is drawn later or never",
}
"""Description of every kind of byte."""

_SEEN = 0.99
CLAIMED = 0.9
"""Confidence from which on a value counts as claimed."""
_LARGEST_GROUP = 50
"""Pairs with equal pictures that are compared with each other."""


class ByteReport(Settings):
    """Figures of one byte in the test episodes."""

    byte: int = Field(ge=0, lt=RAM_SIZE)
    kind: Kind
    method: str = Field(description="How the byte is decoded")
    values: int = Field(ge=1, description="Number of values in the training episodes")
    accuracy: float = Field(ge=0, le=1)
    majority: float = Field(ge=0, le=1, description="Accuracy of the most frequent value of the training episodes")
    within_one: float = Field(ge=0, le=1, description="Share of the steps with a difference of at most 1")
    macro_f1: float = Field(ge=0, le=1)
    weighted_f1: float = Field(ge=0, le=1)
    confidence: float = Field(ge=0, le=1, description="Mean confidence")
    calibration_error: float = Field(ge=0, le=1, description="Expected calibration error, ten bins")
    claimed: float = Field(ge=0, le=1, description="Share of the steps with a confidence of at least 0.9")
    claimed_accuracy: float | None = Field(description="Accuracy in these steps (null: there are none)")
    ceiling: float | None = Field(
        description="Accuracy that states with equal pictures allow: of those with the same two pictures, the share "
        "with the most frequent value (null: no two pairs have equal pictures)"
    )
    label: str | None = Field(default=None, description="Name of the byte in AtariARI")


class DecodingReport(Settings):
    """Figures of a decoder."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    game: GameSettings
    players: tuple[str, ...] = Field(description="Players of the episodes: random, or the digest of a checkpoint")
    train_pairs: int
    validation_pairs: int
    test_pairs: int
    episodes: int
    ceiling_pairs: int = Field(description="Pairs whose pictures another pair has as well")
    cpu_seconds: float = Field(description="CPU time of gathering, training and testing")
    ms_per_picture: float = Field(description="CPU time of decoding one picture, in milliseconds")
    bytes: tuple[ByteReport, ...] = Field(min_length=RAM_SIZE, max_length=RAM_SIZE)
    following: FollowingReport | None = Field(
        default=None, description="Figures of a second emulator that follows the pictures instead"
    )
    returns: dict[RamSource, tuple[float, ...]] = Field(
        default={},
        description="Returns of a policy on RAM, one per episode, by what it observes: true, followed or decoded RAM; "
        "random: random actions. The same seeds each",
    )

    @property
    def varying(self) -> tuple[ByteReport, ...]:
        """Bytes that are not constant."""
        return tuple(one for one in self.bytes if one.kind != "constant")

    @property
    def label_f1(self) -> float | None:
        """Mean weighted F1 over the labels of AtariARI that vary; None without labels."""
        found = [one.weighted_f1 for one in self.varying if one.label]
        return float(np.mean(found)) if found else None

    def figures(self) -> dict[str, float]:
        """Return the summary over the varying bytes, by name."""
        accuracy = np.array([one.accuracy for one in self.varying])
        claimed = np.array([one.claimed for one in self.varying])
        right = np.array([one.claimed_accuracy or 0.0 for one in self.varying])
        found = {
            "varying": len(accuracy),
            "accuracy": accuracy.mean(),
            "majority": np.mean([one.majority for one in self.varying]),
            "at_least_99": (accuracy >= 0.99).sum(),
            "at_least_90": (accuracy >= 0.9).sum(),
            "claimed_accuracy": claimed @ right / max(claimed.sum(), 1e-9),
            "calibration_error": np.mean([one.calibration_error for one in self.varying]),
            "ms_per_picture": self.ms_per_picture,
            "cpu_seconds": self.cpu_seconds,
        }
        if self.label_f1 is not None:
            found["atari_ari_f1"] = self.label_f1
        if self.following is not None:
            found |= {
                "followed_exact": self.following.exact,
                "followed_lost": self.following.lost,
                "followed_ms_per_step": self.following.ms_per_step,
            }
            if self.following.attainable is not None:
                found["followed_attainable"] = self.following.attainable
        found |= return_metrics(self.returns)
        return {name: float(value) for name, value in found.items()}


@dataclass(frozen=True)
class _Decoded:
    rams: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    ms_per_picture: float


def measure_decoder(
    decoder: Decoder, pairs: Pairs, split: Split, players: tuple[str, ...], cpu_seconds: float
) -> DecodingReport:
    """Decode the test episodes step by step, as an agent would, and return the figures.

    Args:
        decoder: The decoder.
        pairs: The pairs it was trained on, with those of its test episodes.
        split: The split.
        players: Players of the episodes.
        cpu_seconds: CPU time of gathering and training.
    """
    begin = time.process_time()
    decoded, truth = _decode(decoder, pairs, split.test), pairs.rams[split.test]
    ceiling, ceiling_pairs = _ceiling(pairs)
    names = {byte: name for name, byte in labels_of(decoder.description.game.rom).items()}
    train = pairs.rams[split.train]
    reports = tuple(
        _report(
            one,
            truth[:, one.byte],
            decoded.rams[:, one.byte],
            decoded.confidence[:, one.byte],
            majority=int(np.bincount(train[:, one.byte]).argmax()),
            ceiling=None if ceiling is None else float(ceiling[one.byte]),
            label=names.get(one.byte),
        )
        for one in decoder.description.bytes
    )
    return DecodingReport(
        game=decoder.description.game,
        players=players,
        train_pairs=len(split.train),
        validation_pairs=len(split.validation),
        test_pairs=len(split.test),
        episodes=len(np.unique(pairs.episodes)),
        ceiling_pairs=ceiling_pairs,
        cpu_seconds=cpu_seconds + time.process_time() - begin,
        ms_per_picture=decoded.ms_per_picture,
        bytes=reports,
    )


def _decode(decoder: Decoder, pairs: Pairs, rows: npt.NDArray[np.intp]) -> _Decoded:
    episode, starts = DecodedEpisode(decoder), pairs.starts
    rams = np.empty((len(rows), RAM_SIZE), np.uint8)
    confidence = np.empty((len(rows), RAM_SIZE), np.float32)
    elapsed = 0.0
    for number, row in enumerate(rows):
        screen = pairs.screen(int(row))
        begin = time.thread_time()
        estimate = episode.reset(screen) if starts[row] else episode.step(screen)
        elapsed += time.thread_time() - begin
        rams[number], confidence[number] = estimate.ram, estimate.confidence
    return _Decoded(rams, confidence, elapsed / len(rows) * 1000)


def _ceiling(pairs: Pairs) -> tuple[npt.NDArray[np.float64] | None, int]:
    """Return the accuracy that pairs with equal pictures allow, float64 of shape (128,), and their number."""
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    starts = pairs.starts
    for row, picture in enumerate(pairs.pictures):
        previous = picture if starts[row] else pairs.pictures[row - 1]
        groups.setdefault((previous, picture), []).append(row)
    shared = [rows[:_LARGEST_GROUP] for rows in groups.values() if len(rows) > 1]
    if not shared:
        return None, 0
    right = np.zeros(RAM_SIZE)
    for rows in shared:
        rams = pairs.rams[rows]
        right += np.max([(rams == ram).sum(axis=0) for ram in rams], axis=0)
    total = sum(map(len, shared))
    return right / total, total


def _report(
    decoding: ByteDecoding,
    truth: npt.NDArray[np.uint8],
    decoded: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.float32],
    *,
    majority: int,
    ceiling: float | None,
    label: str | None,
) -> ByteReport:
    right, claimed = decoded == truth, confidence >= CLAIMED
    accuracy, baseline = float(right.mean()), float((truth == majority).mean())
    within_one = float((np.abs((decoded - truth).view(np.int8).astype(int)) <= 1).mean())
    return ByteReport(
        byte=decoding.byte,
        kind=_kind(decoding, accuracy, within_one, baseline),
        method=decoding.method,
        values=len(decoding.values),
        accuracy=accuracy,
        majority=baseline,
        within_one=within_one,
        macro_f1=float(f1_score(truth, decoded, average="macro", zero_division=0)),
        weighted_f1=float(f1_score(truth, decoded, average="weighted", zero_division=0)),
        confidence=min(1.0, float(confidence.mean())),
        calibration_error=_calibration_error(confidence, right),
        claimed=float(claimed.mean()),
        claimed_accuracy=float(right[claimed].mean()) if claimed.any() else None,
        ceiling=ceiling,
        label=label,
    )


def _kind(decoding: ByteDecoding, accuracy: float, within_one: float, majority: float) -> Kind:
    if decoding.source == "constant":
        return "constant"
    if accuracy >= _SEEN:
        return "seen" if decoding.picture_weight is None else "seen with memory"
    if within_one >= _SEEN and within_one > majority:
        return "seen ±1"
    return "partly seen" if accuracy >= (1 + majority) / 2 else "not seen"


def _calibration_error(confidence: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> float:
    bins = np.minimum((confidence * 10).astype(int), 9)
    parts = [(bins == number) for number in range(10)]
    return float(sum(abs(right[part].mean() - confidence[part].mean()) * part.mean() for part in parts if part.any()))


def summarize(report: DecodingReport) -> tuple[str, ...]:
    """Return the figures as lines for a terminal."""
    figures: Mapping[str, float] = report.figures()
    lines = [
        f"{figures['varying']:.0f} bytes vary: {figures['at_least_99']:.0f} right in 99 % of the test steps, "
        f"{figures['at_least_90']:.0f} in 90 %",
        f"mean accuracy {figures['accuracy']:.3f} (most frequent value: {figures['majority']:.3f})",
        f"values with a confidence of at least {CLAIMED} are right in {figures['claimed_accuracy']:.1%} of the cases",
        f"{report.ms_per_picture:.1f} ms per picture; {report.cpu_seconds / 60:.1f} CPU minutes",
    ]
    if report.label_f1 is not None:
        lines.append(f"AtariARI labels: mean F1 {report.label_f1:.3f} (published probes: 0.6 to 0.75 by category)")
    if report.following is not None:
        lines.append(_summarize_following(report.following))
    return (*lines, *describe_returns(report.returns))


def _summarize_following(following: FollowingReport) -> str:
    wrong = f"; wrong in the others: byte {', '.join(map(str, following.wrong_bytes))}" if following.wrong_bytes else ""
    attainable = "" if following.attainable is None else f" (expected of any reading: {following.attainable:.2%})"
    return (
        f"a second emulator that follows the pictures has all 128 bytes right in {following.exact:.2%} of "
        f"{following.steps:,} steps{attainable}{wrong}; lost in {following.lost}; "
        f"{following.ms_per_step:.1f} ms per step"
    )
