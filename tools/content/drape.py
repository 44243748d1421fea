"""How the clothes and the face of the shipped body change with its pose: content, no part of the codec.

Linear blend skinning cannot do any of it: cloth folds where a joint bends and is padded outside of the bend,
a hem swings with the thighs, arms shade the flanks, and skin wrinkles under expressions. Everything is a
smooth function of the pose and the expression weights alone, so that it can be learned from pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_encoder.content import Avatar
from reference_encoder.quality import quaternion_matrices
from tools.content.surface import step


@dataclass(frozen=True)
class Fold:
    """Folds of cloth around one joint. Lengths in metres."""

    joint: str
    axis: tuple[float, float, float]  # along the limb, away from the trunk, in the rest pose
    spread: float  # standard deviation of the folded stretch
    wave: float  # distance from fold to fold
    height: float  # of a fold at a right angle
    girth: float  # how far from the joint the limb reaches across


@dataclass(frozen=True)
class Wrinkle:
    """A change of skin around a place on the face: lengths in metres from the head joint, mirrored in x."""

    shapes: tuple[str, ...]  # ARKit names without a side; their mean weight drives it
    place: tuple[float, float]  # x, y
    size: tuple[float, float]
    shade: float  # the brightness at weight 1, 0 for none
    lift: float = 0.0  # displacement along the normal at weight 1


_LIMBS = (
    ("lowerarm", 1.0, 0.0, 0.075, 0.050, 0.010, 0.14),
    ("upperarm", 1.0, 0.0, 0.090, 0.060, 0.010, 0.22),
    ("calf", 0.0, -1.0, 0.095, 0.060, 0.013, 0.16),
    ("thigh", 0.0, -1.0, 0.080, 0.055, 0.012, 0.20),
)
FOLDS = (
    *(
        Fold(f"{joint}_{side}", (sign * x, y, 0.0), *sizes)
        for side, sign in (("l", 1.0), ("r", -1.0))
        for joint, x, y, *sizes in _LIMBS
    ),
    Fold("spine_02", (0.0, 1.0, 0.0), 0.110, 0.070, 0.030, 0.32),
)
WRINKLES = (
    Wrinkle(("browInnerUp", "browOuterUp"), (0.0, 0.080), (0.055, 0.014), 0.45),
    Wrinkle(("browDown",), (0.012, 0.050), (0.012, 0.020), 0.25),
    Wrinkle(("mouthSmile", "mouthDimple", "mouthUpperUp"), (0.040, -0.020), (0.013, 0.020), 0.35, 0.003),
    Wrinkle(("mouthLowerDown", "jawOpen"), (0.0, -0.062), (0.030, 0.012), 0.55),
    Wrinkle(("mouthPucker", "mouthFunnel", "mouthShrugUpper"), (0.032, -0.045), (0.014, 0.018), 0.40, -0.002),
    Wrinkle(("eyeSquint", "cheekSquint"), (0.052, 0.018), (0.016, 0.012), 0.45, 0.002),
    Wrinkle(("eyeBlink",), (0.034, 0.036), (0.020, 0.012), 1.30),
)
_BULGE = 0.014  # height of the padding outside of a right angle, metres
_SWING = 0.055  # how far the hem goes with thighs at a right angle, metres
_SHADE_OF_ARMS = 0.45  # of the light on the flanks that hanging arms take away


class Drape:
    """The clothes of an avatar that stands in the T-pose on MakeHuman's joints."""

    def __init__(self, avatar: Avatar):
        """Precomputes what does not depend on the pose."""
        self.avatar = avatar
        self.points = avatar.gaussians.positions
        self.normals = quaternion_matrices(avatar.gaussians.rotations)[:, :, 2]
        self._face = self.points - self._joint("head")
        self._cloth = step(1.50, 1.46, self.points[:, 1]) * step(0.08, 0.12, self.points[:, 1])
        self._columns = {name: index for index, name in enumerate(avatar.expression_names)}

    def __call__(self, rotations: np.ndarray, expressions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the rest pose becomes under axis-angle `rotations` (J, 3) and `expressions` (E,).

        Displacements (N, 3) in metres, to be skinned with the Gaussians, and factors (N,) on their colours.
        """
        moved, light = np.zeros_like(self.points), np.zeros(len(self.points))
        for fold in FOLDS:
            self._fold(fold, rotations, moved, light)
        self._hem(rotations, moved, light)
        self._flanks(rotations, light)
        for wrinkle in WRINKLES:
            self._wrinkle(wrinkle, expressions, moved, light)
        return moved, np.exp(np.clip(light, -1.2, 0.4))

    def _joint(self, name: str) -> np.ndarray:
        return self.avatar.rig.joints[self.avatar.rig.names.index(name)]

    def _bend(self, rotations: np.ndarray, name: str, axis: np.ndarray) -> tuple[float, np.ndarray]:
        """1 - cosine of the angle by which a joint bends its limb, and the direction the limb goes."""
        turn = rotations[self.avatar.rig.names.index(name)]
        turn = turn - (turn @ axis) * axis
        angle = float(np.linalg.norm(turn))
        return 1 - np.cos(angle), np.cross(turn, axis) / max(angle, 1e-9)

    def _fold(self, fold: Fold, rotations: np.ndarray, moved: np.ndarray, light: np.ndarray) -> None:
        axis = np.array(fold.axis)
        bend, inward = self._bend(rotations, fold.joint, axis)
        apart = self.points - self._joint(fold.joint)
        along = apart @ axis
        across = np.linalg.norm(apart - along[:, None] * axis, axis=1)
        near = step(fold.girth, 0.8 * fold.girth, across) * self._cloth * bend
        if fold.axis[1] < 0:
            near *= step(-0.01, 0.01, apart[:, 0] * np.sign(self._joint(fold.joint)[0]) + 0.10)
        facing = self.normals @ inward
        waves = near * np.exp(-0.5 * (along / fold.spread) ** 2) * (0.25 + 0.75 * step(-0.3, 0.7, facing))
        phase = 2 * np.pi * along / fold.wave + 14 * (apart @ np.cross(axis, inward))
        moved += (fold.height * waves * np.sin(phase))[:, None] * self.normals
        light += 0.55 * waves * np.cos(phase) - 0.30 * waves * (1 - np.sin(phase))
        pad = near * np.exp(-0.5 * (along / (0.7 * fold.spread)) ** 2) * np.clip(-facing, 0, 1)
        moved += (_BULGE * pad)[:, None] * self.normals
        light += 0.12 * pad

    def _hem(self, rotations: np.ndarray, moved: np.ndarray, light: np.ndarray) -> None:
        """The shirt's lower edge swings with the thigh of its side, and that of the trousers with the shin."""
        down = np.array([0.0, -1.0, 0.0])
        for side, sign in (("l", 1.0), ("r", -1.0)):
            half = step(-0.06, 0.06, sign * self.points[:, 0])
            for name, top, bottom, swing in (
                ("thigh", 1.10, 0.90, _SWING),
                ("calf", 0.30, 0.09, 0.6 * _SWING),
            ):
                bend, way = self._bend(rotations, f"{name}_{side}", down)
                loose = step(top, bottom, self.points[:, 1]) * (self.points[:, 1] > bottom - 0.01) * half
                loose = loose * (np.abs(self.points[:, 0]) < 0.3) * self._cloth
                far = swing * np.sqrt(bend)
                moved += (far * loose)[:, None] * (way + 0.3 * self.normals * [1, 0, 1])
                light += 8 * far * loose * (self.normals @ way - 0.4)

    def _flanks(self, rotations: np.ndarray, light: np.ndarray) -> None:
        """A hanging arm stands between the light and the side of the trunk."""
        height = self.points[:, 1]
        trunk = step(0.82, 0.95, height) * step(1.42, 1.30, height) * (np.abs(self.points[:, 0]) < 0.23)
        for side, sign in (("l", 1.0), ("r", -1.0)):
            bend, way = self._bend(rotations, f"upperarm_{side}", np.array([sign, 0.0, 0.0]))
            hanging = min(bend, 1.0) * max(0.0, -way[1])
            beside = step(0.02, 0.16, sign * self.points[:, 0]) * (
                0.4 + 0.6 * np.clip(sign * self.normals[:, 0], 0, 1)
            )
            light += np.log(1 - _SHADE_OF_ARMS) * hanging * trunk * beside

    def _wrinkle(
        self, wrinkle: Wrinkle, expressions: np.ndarray, moved: np.ndarray, light: np.ndarray
    ) -> None:
        front = step(0.02, 0.06, self._face[:, 2]) * (self._face[:, 1] > -0.12)
        sides = (("Left", 1.0), ("Right", -1.0)) if wrinkle.place[0] else (("", 0.0),)
        for side, sign in sides:
            weight = np.mean([self._weight(expressions, shape, side) for shape in wrinkle.shapes])
            across = (self._face[:, 0] - sign * wrinkle.place[0]) / wrinkle.size[0]
            up = (self._face[:, 1] - wrinkle.place[1]) / wrinkle.size[1]
            amount = weight * front * np.exp(-0.5 * (across**2 + up**2))
            light += np.log(wrinkle.shade) * amount
            moved += (wrinkle.lift * amount)[:, None] * self.normals

    def _weight(self, expressions: np.ndarray, shape: str, side: str) -> float:
        names = [f"{shape}{side}", shape] if side else [shape, f"{shape}Left", f"{shape}Right"]
        found = [expressions[self._columns[name]] for name in names if name in self._columns]
        return float(np.mean(found)) if found else 0.0
