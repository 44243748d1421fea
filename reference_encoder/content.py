"""§1 Content as people have it: float Gaussians, rigs, avatars and motions, before they become integers.

Everything here is float64 in metres and radians, y up, right-handed. `quantise.py` is the one
place where these floats become the integers of the standard.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np


class ContentError(Exception):
    """Content that cannot be used: one line that says what is wrong and where (file, element, index)."""


@dataclass(frozen=True)
class Gaussians:
    """Static 3D Gaussians in the conventions of 3DGS, activations already applied."""

    positions: np.ndarray  # (N, 3) metres
    rotations: np.ndarray  # (N, 4) unit quaternions, w first
    scales: np.ndarray  # (N, 3) standard deviations in metres, > 0
    opacities: np.ndarray  # (N,) in [0, 1]
    sh: np.ndarray  # (N, (degree+1)^2, 3); colour = 0.5 + sum of basis * coefficient

    @property
    def count(self) -> int:
        return len(self.positions)

    @property
    def sh_degree(self) -> int:
        return round(self.sh.shape[1] ** 0.5) - 1


@dataclass(frozen=True)
class Rig:
    """A joint tree in its rest pose. `parents[0] == -1` and `parents[j] < j`.

    Joint frames are aligned with the world in the rest pose, so a pose is one rotation per joint.
    """

    names: tuple[str, ...]
    parents: np.ndarray  # (J,) int
    joints: np.ndarray  # (J, 3) rest positions, metres
    family: str = "custom"  # a value of the standard's template_family enumeration

    @property
    def count(self) -> int:
        return len(self.parents)


@dataclass(frozen=True)
class Avatar:
    """Gaussians in the rest pose of a rig, bound to it, with their expression basis."""

    gaussians: Gaussians
    rig: Rig
    skin_joints: np.ndarray  # (N, K) int, K <= 8
    skin_weights: np.ndarray  # (N, K) >= 0, each row sums to 1; unused influences have weight 0
    expression_names: tuple[str, ...] = ()
    expressions: np.ndarray = field(
        default_factory=lambda: np.zeros((0, 0, 3))
    )  # (E, N, 3) metres at weight 1


@dataclass(frozen=True)
class Motion:
    """One pose per frame for a rig: x_joint = parent * [R | rest offset], the root moved by `translations`."""

    rotations: np.ndarray  # (F, J, 3) axis-angle, radians, unwrapped in time
    translations: np.ndarray  # (F, 3) metres, displacement of the root joint from its rest position
    expressions: np.ndarray  # (F, E) expression weights
    fps: Fraction
    joint_names: tuple[str, ...] = ()
    expression_names: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.translations)

    def on(self, avatar: Avatar) -> Motion:
        """This motion for an avatar with expressions: one that says nothing of the face leaves it neutral."""
        if self.expressions.shape[1] > 0 or not avatar.expression_names:
            return self
        return replace(self, expressions=np.zeros((self.count, len(avatar.expression_names))))
