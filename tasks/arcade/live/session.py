"""Live session: one emulator and one checkpoint play an episode step by step, and a person may interfere.

An episode without interference is the one that `playing.play` plays with the same seed, bit for bit. A person's actions
become part of its trace; a modified byte of RAM makes the episode one that no trace describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator, Ram, Samples, Screen
from tasks.arcade.emulator.frame_stack import Observation, ObservationBuilder
from tasks.arcade.episodes.playing import EpisodeRunner, Step, TraceRecorder
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.errors import RamreelError
from tasks.arcade.live.keys import Keys, action_of_keys
from tasks.arcade.live.palette import Palette
from tasks.arcade.video.policy_view import PolicyReadout, PolicyView

RELEASE_SECONDS = 0.5
"""How long a person stays in control after letting go of the keys: between two strokes, the agent would interfere."""


class LiveError(RamreelError):
    """A live view cannot execute a command; the message says why."""


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One emulated frame.

    Attributes:
        screen: Indices of the console's palette, uint8 of shape (height, width).
        ram: RAM before the frame, uint8 of shape (128,), which an atlas maps to positions in it.
        sound: Audio of the frame, uint8 of shape (512,); 128 is silence.
    """

    screen: Screen
    ram: Ram
    sound: Samples


@dataclass(frozen=True, slots=True)
class LiveState:
    """State after a step, and the agent's decision on it.

    Attributes:
        step: The step; step 0 is the reset.
        readout: Readout of the policy; that of the step before at the end of the episode.
        decision: Action that the agent decides on.
        agent_return: Return of the steps that the agent played.
        human_return: Return of the steps that a person played.
        human_steps: Number of steps that a person played.
        human: Whether a person plays the next step.
        tampered: Whether a byte of the RAM was modified in this episode.
    """

    step: Step
    readout: PolicyReadout
    decision: int
    agent_return: int
    human_return: int
    human_steps: int
    human: bool
    tampered: bool


class LiveSession:
    """One episode of a checkpoint, any number of times.

    Args:
        checkpoint: The checkpoint.
        digest: Its digest, for traces.
        seed: Reset seed, and seed of the generator that actions are sampled with.
        deterministic: Whether the agent acts greedily instead of sampling.

    Attributes:
        emulator: The emulator of the episode; another one after `restart`.
        palette: Colors of the screens so far.
    """

    def __init__(self, checkpoint: Checkpoint, digest: str, seed: int, *, deterministic: bool = False) -> None:
        self._checkpoint, self._digest, self.palette = checkpoint, digest, Palette()
        self._game, self._seed, self._deterministic = checkpoint.settings.game, seed, deterministic
        self.restart()

    def restart(self) -> list[LiveFrame]:
        """Start the episode, with its seed, and return the frame of the reset."""
        self.emulator = Emulator(self._game, self._seed, sound=True)
        view = PolicyView(self._checkpoint)
        self._view, self._uniforms = view, np.random.default_rng(self._seed)
        self._observe, self._select = ObservationBuilder(view.agent, self.emulator), view.agent.start_episode()
        self._frames: list[LiveFrame] = []
        self._ram_before: Ram = np.zeros(RAM_SIZE, np.uint8)
        self._runner = EpisodeRunner(self.emulator, self._keep_frame)
        self._returns, self._human_steps, self._tampered = [0, 0], 0, False
        self._keys, self._steps_held = Keys(), 0
        self._step = self._runner.reset(self._seed)
        self._recorder = TraceRecorder(self._step)
        self._decide()
        return self._take_frames()

    def _keep_frame(self) -> None:
        screen = self.emulator.screen_indices(np.empty(self.emulator.screen_size, np.uint8))
        self.palette.learn(screen, self.emulator)
        self._frames.append(LiveFrame(screen, self._ram_before.copy(), self.emulator.sound()))
        self.emulator.read_ram(self._ram_before)

    def _take_frames(self) -> list[LiveFrame]:
        frames, self._frames = self._frames, []
        return frames

    def _decide(self) -> None:
        self._observed = self._observe(self._step.ram, episode_start=self._step.number == 0)
        self._uniform = None if self._deterministic else float(self._uniforms.random())
        self._read_out(*self._observed)

    def _read_out(self, observation: Observation, previous: Observation) -> None:
        self._decision = self._select(observation, previous, self._uniform)
        self._readout = self._view(observation, previous, self._decision)

    @property
    def outputs(self) -> Literal["probabilities", "q-values"]:
        """What the policy assigns to actions."""
        return self._view.outputs

    @property
    def uses_pixels(self) -> bool:
        """Whether the policy observes the screen instead of the RAM."""
        return self._view.agent.uses_pixels

    @property
    def ended(self) -> bool:
        """Whether the episode has ended: `restart` plays it again."""
        return self._step.ended is not None

    @property
    def state(self) -> LiveState:
        """State after the last step."""
        return LiveState(
            step=self._step,
            readout=self._readout,
            decision=self._decision,
            agent_return=self._returns[0],
            human_return=self._returns[1],
            human_steps=self._human_steps,
            human=self._steps_held > 0,
            tampered=self._tampered,
        )

    def advance(self) -> list[LiveFrame]:
        """Run one step, of the person who holds a key or else of the agent, and return its frames.

        A policy observes, and decides, during a person's steps as well: it continues from the state that it finds.

        Raises:
            LiveError: The episode has ended.
        """
        if self.ended:
            raise LiveError("The episode has ended: restart it")
        by_human = self._steps_held > 0
        action = action_of_keys(self._keys, self.emulator.action_names) if by_human else self._decision
        self._step = self._runner.step(action)
        self._recorder.append(action, self._step, by_human=by_human)
        self._returns[by_human] += self._step.reward
        self._human_steps += by_human
        if by_human and not self._keys.held:
            self._steps_held -= 1
        if not self.ended:
            self._decide()
        return self._take_frames()

    def hold(self, keys: Keys) -> None:
        """Set the keys that a person holds from the next step on; with none, the agent continues a moment later."""
        if keys.held or self._steps_held:
            self._keys = keys
        if keys.held:
            self._steps_held = self._release_steps

    @property
    def _release_steps(self) -> int:
        skip = self._game.frame_skip
        frames = skip if isinstance(skip, int) else skip[0]
        return max(1, round(RELEASE_SECONDS * self.emulator.screen_fps / frames))

    def write_byte(self, byte: int, value: int) -> None:
        """Modify a byte of the RAM; from then on, the episode has no trace.

        The agent decides again, on the modified RAM; a recurrent policy observes it as one more step.

        Args:
            byte: Index of the byte, 0 to 127.
            value: Its new value, 0 to 255.

        Raises:
            LiveError: The episode has ended.
        """
        if self.ended:
            raise LiveError("The episode has ended: restart it")
        self._tampered = True
        self.emulator.write_ram_byte(byte, value)
        self.emulator.read_ram(self._ram_before)
        # The observation, and the previous one of the next step, are this array.
        self._step.ram[byte] = value
        self._read_out(*self._observed)

    def trace(self) -> Trace:
        """Return the trace of the episode so far.

        Raises:
            LiveError: A byte was modified, or no step was played yet.
        """
        if self._tampered:
            raise LiveError("A byte of the RAM was modified: this episode cannot be kept. Restart it first")
        if not len(self._recorder):
            raise LiveError("Nothing was played yet: there is no episode to keep")
        return self._recorder.trace(
            self._game,
            self._seed,
            action_seed=self._seed,
            deterministic=self._deterministic,
            checkpoint=self._digest,
            checkpoint_step=self._checkpoint.step,
        )
