"""§7.9 Where the Gaussians of an avatar lie on the generator's maps, its inputs, and how its outputs are sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_encoder.content import Avatar, Motion, Rig
from reference_encoder.float_model import joint_matrices

POSE_PER_RADIAN = 64
POSE_PER_WEIGHT = 64
POSED_SHIFT, REST_SHIFT = 13, 14  # binary logarithms of the steps of the input maps in Q.20 m
_CELLS = 48  # columns and rows of the grid in which front and back are told apart
_MARGIN = 0.02  # metres between the outermost Gaussian and the edge of the maps
INPUT_RANGE = (-128, 127)


@dataclass(frozen=True)
class MapLayout:
    """§7.9 The orthographic front and back maps of an avatar's canonical Gaussians."""

    size: int  # texels of a side
    input_size: int
    origin: np.ndarray  # (2,) metres: x, y of the corner
    scale: float  # texels per metre
    side: np.ndarray  # (N,) 0 front, 1 back
    canonical: np.ndarray  # (N, 3) canonical positions, metres
    rest: np.ndarray  # (N, 3) the same from the normalising joint
    cell: np.ndarray  # (N,) indices into the flat input maps (side, v, u)
    texel: np.ndarray  # (N, 4) indices into the flat maps (side, v, u) of the four texels around
    share: np.ndarray  # (N, 4) their weights, in 1/65536

    @classmethod
    def of(cls, avatar: Avatar, size: int, input_size: int, joint: int = 0) -> MapLayout:
        """Maps that just hold the avatar, with inputs seen from the normalising joint."""
        points = avatar.gaussians.positions
        low, high = points[:, :2].min(axis=0) - _MARGIN, points[:, :2].max(axis=0) + _MARGIN
        extent = float((high - low).max())
        origin = np.rint(((low + high) / 2 - extent / 2) * 2**20) / 2**20
        scale = np.floor(size / extent * 256) / 256
        side = sides(points)
        place = np.floor((points[:, :2] - origin) * scale * 256 + 0.5).astype(int).clip(0, 256 * size - 1)
        texel, share = _bilinear(place, side, size)
        column, row = (place // (256 * size // input_size)).T
        cell = (side * input_size + row) * input_size + column
        rest = points - avatar.rig.joints[joint]
        return cls(size, input_size, origin, scale, side, points, rest, cell, texel, share)

    def inputs(self, posed: np.ndarray) -> np.ndarray:
        """The input maps (12, s, s), whole numbers, from posed positions (N, 3) in the joint's axes."""
        cells = 2 * self.input_size**2
        count = np.maximum(np.bincount(self.cell, minlength=cells), 1)
        features = np.concatenate(
            [(posed - self.rest) * 2.0 ** (20 - POSED_SHIFT), self.rest * 2.0 ** (20 - REST_SHIFT)], axis=1
        )
        whole = np.floor(features + 0.5).clip(*INPUT_RANGE)
        maps = np.stack([np.bincount(self.cell, column, cells) for column in whole.T])
        maps = np.floor((2 * maps + count) / (2 * count)).reshape(6, 2, self.input_size, self.input_size)
        return maps.transpose(1, 0, 2, 3).reshape(12, self.input_size, self.input_size)


def sides(rest: np.ndarray) -> np.ndarray:
    """Which of the maps each of the points (N, 3) lies on: 1 in the back half of the body's depth around it."""
    low, high = rest[:, :2].min(axis=0), rest[:, :2].max(axis=0)
    cell = ((rest[:, :2] - low) / (high - low).max() * (_CELLS - 1)).astype(int)
    flat = cell[:, 1] * _CELLS + cell[:, 0]
    ends = np.full((2, _CELLS**2), -np.inf)
    np.maximum.at(ends[0], flat, rest[:, 2])
    np.maximum.at(ends[1], flat, -rest[:, 2])
    return (rest[:, 2] < (ends[0, flat] - ends[1, flat]) / 2).astype(int)


def _bilinear(place: np.ndarray, side: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Texels and weights for places (N, 2) in Q.8 texels; a texel's value is that of its centre."""
    fine = (place - 128).clip(0, (size - 1) * 256)
    whole, part = fine >> 8, fine & 255
    beyond = np.minimum(whole + 1, size - 1)
    texels, shares = [], []
    for row, down in ((whole[:, 1], 256 - part[:, 1]), (beyond[:, 1], part[:, 1])):
        for column, right in ((whole[:, 0], 256 - part[:, 0]), (beyond[:, 0], part[:, 0])):
            texels.append((side * size + row) * size + column)
            shares.append(down * right)
    return np.stack(texels, axis=1), np.stack(shares, axis=1)


def first_turning_joint(motion: Motion) -> int:
    """The normalising joint for a motion: the first, parents before children, whose rotation changes, or 0."""
    changes = (motion.rotations != motion.rotations[:1]).any(axis=(0, 2))
    return int(np.argmax(changes))


def pose_vector(rig: Rig, joint: int, rotations: np.ndarray, expressions: np.ndarray) -> np.ndarray:
    """§7.9.5 The pose vector (P,) from rotations (J, 3) and expressions (E,), limited.

    Rotations of all joints but the root; those of the normalising joint and of the joints above it are 0.
    """
    turns = np.floor(rotations * POSE_PER_RADIAN + 0.5)
    while joint >= 0:
        turns[joint] = 0
        joint = rig.parents[joint]
    weights = np.floor(expressions * POSE_PER_WEIGHT + 0.5)
    return np.concatenate([turns[1:].ravel(), weights]).clip(*INPUT_RANGE)


def seen_from(
    avatar: Avatar, joint: int, points: np.ndarray, rotations: np.ndarray, translation: np.ndarray
) -> np.ndarray:
    """§7.9.5 Posed points (N, 3) as seen from a joint, in its axes."""
    frame = joint_matrices(avatar.rig, rotations, translation)[joint]
    return (points - frame[:, 3]) @ frame[:, :3]
