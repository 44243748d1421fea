"""BVH files: the joint tree and the motion of a Biovision hierarchy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from reference_encoder.content import ContentError, Rig

_AXES = {"X": 0, "Y": 1, "Z": 2}


@dataclass(frozen=True)
class BvhClip:
    """What a BVH file says, in the units of the file and in radians."""

    rig: Rig
    rotations: np.ndarray  # (F, J, 3) axis-angle
    translations: np.ndarray  # (F, 3) displacement of the root from its offset
    frame_time: float  # seconds


@dataclass
class _Hierarchy:
    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)


class _Tokens:
    """The words of a BVH file, with the error every reader needs when they are not as expected."""

    def __init__(self, path: Path) -> None:
        self._where = path.name
        self._words: Iterator[str] = iter(path.read_text(encoding="utf-8").split())

    def fail(self, reason: str) -> ContentError:
        return ContentError(f"{self._where}: {reason}")

    def word(self) -> str:
        word = next(self._words, None)
        if word is None:
            raise self.fail("ends too early")
        return word

    def expect(self, *expected: str) -> None:
        for wanted in expected:
            word = self.word()
            if word.lower() != wanted.lower():
                raise self.fail(f"{wanted!r} expected, {word!r} found")

    def number(self) -> float:
        word = self.word()
        try:
            return float(word)
        except ValueError:
            raise self.fail(f"a number expected, {word!r} found") from None

    def count(self) -> int:
        number = self.number()
        if not number.is_integer() or number < 0:
            raise self.fail(f"a count expected, {number} found")
        return int(number)

    def rest(self) -> np.ndarray:
        try:
            return np.array(list(self._words), dtype=np.float64)
        except ValueError as error:
            raise self.fail(f"frame data: {error}") from None


def read_bvh(path: str | Path) -> BvhClip:
    """Parse a BVH file: channels in any order, position channels moving the root only.

    Raises ContentError with the file name and what is wrong.
    """
    tokens = _Tokens(Path(path))
    tree = _read_hierarchy(tokens)
    tokens.expect("Frames:")
    count = tokens.count()
    tokens.expect("Frame", "Time:")
    frame_time = tokens.number()
    values = tokens.rest()
    width = sum(map(len, tree.channels))
    if count == 0 or not frame_time > 0:
        raise tokens.fail(f"{count} frames of {frame_time} s")
    if values.size != count * width:
        raise tokens.fail(f"{values.size} channel values, {count} frames of {width} expected")
    if not (np.isfinite(values).all() and np.isfinite(tree.offsets).all() and np.isfinite(frame_time)):
        raise tokens.fail("a number is not finite")
    rotations, translations = _read_frames(tree, values.reshape(count, width), tokens)
    joints = np.array(tree.offsets)
    for joint, parent in enumerate(tree.parents[1:], start=1):
        joints[joint] += joints[parent]
    rig = Rig(tuple(tree.names), np.array(tree.parents), joints)
    return BvhClip(rig, rotations, translations, frame_time)


def _read_hierarchy(tokens: _Tokens) -> _Hierarchy:
    """Everything up to and including the word MOTION."""
    tree = _Hierarchy()
    open_joints: list[int | None] = []  # None stands for an end site
    tokens.expect("HIERARCHY")
    while (word := tokens.word().lower()) != "motion":
        if word in ("root", "joint"):
            tree.names.append(tokens.word())
            tree.parents.append(_parent(open_joints, tree, tokens))
            tree.offsets.append([0.0, 0.0, 0.0])
            tree.channels.append([])
            tokens.expect("{")
            open_joints.append(len(tree.names) - 1)
        elif word == "end":
            tokens.expect("Site", "{")
            open_joints.append(None)
        elif word == "}" and open_joints:
            open_joints.pop()
        elif word == "offset" and open_joints:
            offset = [tokens.number() for _ in range(3)]
            if open_joints[-1] is not None:
                tree.offsets[open_joints[-1]] = offset
        elif word == "channels" and open_joints and open_joints[-1] is not None:
            tree.channels[open_joints[-1]] = [tokens.word() for _ in range(tokens.count())]
        else:
            raise tokens.fail(f"{word!r} has no place in the hierarchy")
    if not tree.names or open_joints:
        raise tokens.fail("the hierarchy is not complete")
    return tree


def _parent(open_joints: list[int | None], tree: _Hierarchy, tokens: _Tokens) -> int:
    if open_joints:
        parent = open_joints[-1]
        if parent is not None:
            return parent
    elif len(tree.names) == 1:
        return -1
    raise tokens.fail(f"joint {tree.names[-1]} has no parent to hang on")


def _read_frames(tree: _Hierarchy, values: np.ndarray, tokens: _Tokens) -> tuple[np.ndarray, np.ndarray]:
    rotations = np.zeros((len(values), len(tree.names), 3))
    translations = np.zeros((len(values), 3))
    column = 0
    for joint, channels in enumerate(tree.channels):
        turn = Rotation.identity(len(values))
        for channel in channels:
            axis, kind = _AXES.get(channel[:1].upper()), channel[1:].lower()
            track = values[:, column]
            column += 1
            if axis is None or kind not in ("rotation", "position"):
                raise tokens.fail(f"joint {tree.names[joint]}: unknown channel {channel!r}")
            if kind == "rotation":  # the first channel is the outermost rotation
                turn *= Rotation.from_rotvec(np.outer(np.radians(track), np.eye(3)[axis]))
            elif joint == 0:
                translations[:, axis] = track
            elif np.ptp(track) > 1e-3 * (1 + abs(track[0])):
                raise tokens.fail(f"joint {tree.names[joint]} moves along {channel}: only the root may")
        rotations[:, joint] = turn.as_rotvec()
    return rotations, translations
