"""Where to look from: named views, orbits, and cameras framed to fit Gaussians."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from reference_decoder import Camera
from reference_encoder.content import ContentError

FIELD_OF_VIEW = 0.5  # radians across the height: mild perspective
_MARGIN = 1.08
_VISIBLE = 0.05  # opacity below which a Gaussian does not count for the framing
_TRIM = 0.002  # share of the Gaussians at each end of an axis that may lie outside the picture
_TURN_STEPS = 17  # azimuths at which a turning camera is kept far enough away
_SIDES = {"front": 0.0, "left": 90.0, "back": 180.0, "right": -90.0}
SPELLING = (
    "stream, stream:ID, front, left, back, right, orbit, orbit:DEGREES, orbit:DEGREES/TURNS or x,y,z,x,y,z"
)


@dataclass(frozen=True)
class Bounds:
    """A box around Gaussians, metres."""

    low: np.ndarray
    high: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """(8, 3)"""
        return np.array(list(itertools.product(*zip(self.low, self.high, strict=True))))

    @classmethod
    def of(cls, positions: np.ndarray, opacities: np.ndarray) -> Bounds:
        """Around the visible ones of positions (N, 3), but for a few strays at each end."""
        seen = positions[opacities > _VISIBLE]
        if not len(seen):
            return cls(np.full(3, -0.5), np.full(3, 0.5))
        return cls(*np.quantile(seen, (_TRIM, 1 - _TRIM), axis=0))


@dataclass(frozen=True)
class View:
    """A camera that may depend on how far a clip has come (0 to 1)."""

    azimuth: float = 0.0  # degrees about y, from the front towards the avatar's left
    turns: float = 0.0
    fixed: Camera | None = None
    eye_and_target: np.ndarray | None = None

    @property
    def is_framed(self) -> bool:
        """Whether the camera depends on what there is to see."""
        return self.fixed is None and self.eye_and_target is None

    def camera(
        self,
        corners: np.ndarray,
        size: tuple[int, int],
        background: tuple[int, int, int] | None,
        progress: float = 0.0,
    ) -> Camera:
        """The camera of a picture of `size` that shows `corners` (N, 3), metres.

        The background is white, or the fixed camera's own, by default.
        """
        if self.fixed is not None:
            return replace(self.fixed, background=background or self.fixed.background)
        colour = (255, 255, 255) if background is None else background
        if self.eye_and_target is not None:
            return _look_at(self.eye_and_target[:3], self.eye_and_target[3:], size, colour)
        steps = np.linspace(0, 1, _TURN_STEPS) if self.turns else np.zeros(1)
        centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
        distance = max(_distance(corners - centre, self._direction(step), size) for step in steps)
        return _look_at(centre + distance * self._direction(progress), centre, size, colour)

    def _direction(self, progress: float) -> np.ndarray:
        angle = math.radians(self.azimuth + 360 * self.turns * progress)
        return np.array([math.sin(angle), 0.0, math.cos(angle)])


def _distance(points: np.ndarray, direction: np.ndarray, size: tuple[int, int]) -> float:
    """How far off the origin along `direction` (level) a camera sees all `points` (N, 3)."""
    slope = math.tan(FIELD_OF_VIEW / 2)
    across = np.abs(points @ np.cross((0.0, 1.0, 0.0), direction)) / (slope * size[0] / size[1])
    reach = np.maximum(across, np.abs(points[:, 1]) / slope)
    return max(float((points @ direction + _MARGIN * reach).max()), 0.1)


def _look_at(
    eye: np.ndarray, target: np.ndarray, size: tuple[int, int], background: tuple[int, int, int]
) -> Camera:
    along = np.subtract(target, eye)
    if not np.linalg.norm(along) > 0:
        raise ContentError("camera: the eye and the target are the same point")
    steep = abs(along[1]) > 0.999 * np.linalg.norm(along)
    up = (0.0, 0.0, -1.0) if steep else (0.0, 1.0, 0.0)
    return Camera.look_at(eye, target, *size, FIELD_OF_VIEW, up, background)


def resized(camera: Camera, size: tuple[int, int]) -> Camera:
    """The same view in a picture of another size: scaled by height, the principal point moved along."""
    width, height = size
    across, down = (max(256, round(f * height / camera.height)) for f in camera.focal)
    principal_x = round(128 * width + (camera.principal[0] - 128 * camera.width) * height / camera.height)
    principal_y = round(camera.principal[1] * height / camera.height)
    return replace(
        camera, width=width, height=height, focal=(across, down), principal=(principal_x, principal_y)
    )


def parse_view(text: str, cameras: Mapping[int, Camera], size: tuple[int, int] | None) -> View:
    """The view that `text` names (`SPELLING`); raises ContentError for anything else."""
    name, _, argument = text.partition(":")
    if name == "stream":
        return View(fixed=_stream_camera(argument, cameras, size))
    if text in _SIDES:
        return View(_SIDES[text])
    try:
        if name == "orbit":
            degrees, slash, turns = argument.partition("/")
            spin = float(turns) if slash else float(not argument)
            return _finite(View(float(degrees or 0), spin))
        numbers = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise ContentError(f"camera {text!r} is not one of {SPELLING}") from None
    if len(numbers) != 6 or not np.isfinite(numbers).all():
        raise ContentError(f"camera {text!r}: six finite numbers expected, eye and target")
    return View(eye_and_target=numbers)


def _finite(view: View) -> View:
    if not (math.isfinite(view.azimuth) and math.isfinite(view.turns)):
        raise ContentError("camera: an orbit needs finite numbers")
    return view


def _stream_camera(argument: str, cameras: Mapping[int, Camera], size: tuple[int, int] | None) -> Camera:
    number = int(argument) if argument.isdigit() else min(cameras, default=0)
    if number not in cameras or (argument and not argument.isdigit()):
        known = ", ".join(str(known) for known in sorted(cameras)) or "none"
        raise ContentError(f"camera stream:{argument}: the stream has no such camera (it has: {known})")
    return resized(cameras[number], size) if size else cameras[number]
