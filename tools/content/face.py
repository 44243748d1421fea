"""The skin and what the face adds to it: lips, brows, blush, nails, eyeballs and teeth."""

from __future__ import annotations

import numpy as np

from tools.content.figure import Figure
from tools.content.surface import Samples, noise, step

SKIN = np.array([0.87, 0.665, 0.545])
_LIP = np.array([0.75, 0.46, 0.41])
_BLUSH = np.array([0.80, 0.46, 0.38])
_NAIL = np.array([0.91, 0.72, 0.65])
_BROW = np.array([0.24, 0.155, 0.11])
_MOUTH = np.array([0.30, 0.09, 0.09])
_MOUTH_LINE = -0.0335  # height of the line between the lips, from the head joint
_CHIN = np.array([0.0, -0.072, 0.12])  # from the head joint
_RETREAT = 0.004  # metres that a shut eye lies deeper
_GAZE = np.deg2rad(24)  # the turn of an eyeball at weight 1 of an eyeLook shape


def mix(colour: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours (N, 3) with `share` (N,) of another."""
    return colour + (other - colour) * share[:, None]


def paint_skin(figure: Figure, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (N, 3) and gloss (N,) of skin at rest points (N, 3)."""
    tone = 1 + 0.03 * noise(points, 0.03, 1) + 0.02 * noise(points, 0.008, 2)
    colour = SKIN * tone[:, None]
    face = points - figure.head
    front = step(0.2, 0.6, normals[:, 2]) * (points[:, 1] > figure.head[1] - 0.09)
    side = np.abs(face[:, 0])
    for x, y, size, share in (
        (0.042, -0.002, 0.022, 0.38),
        (0.0, 0.0, 0.013, 0.22),
        (0.08, 0.02, 0.02, 0.25),
    ):
        distance = np.hypot(side - x, face[:, 1] - y)
        colour = mix(colour, _BLUSH, share * np.exp(-((distance / size) ** 2)) * (points[:, 1] > 1.5))
    jaw = step(-0.018, -0.035, face[:, 1] + 0.1 * side) * step(-0.10, -0.075, face[:, 1])
    colour = mix(colour, np.array([0.62, 0.50, 0.44]), 0.20 * jaw * step(0.07, 0.1, face[:, 2]))
    colour, lips = _lips(colour, face, front)
    colour = _brows(colour, face, front, points)
    colour = _lash_line(figure, colour, points)
    colour, nails = _nail_paint(figure, colour, points, normals)
    return np.clip(colour, 0, 1), 0.10 + 0.15 * lips + 0.15 * nails


def _lips(colour: np.ndarray, face: np.ndarray, front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    across = np.clip(np.abs(face[:, 0]) / 0.0265, 0, 1.2)
    above = face[:, 1] - _MOUTH_LINE
    bow = 0.0085 * (1 - across**2) - 0.002 * np.exp(-((face[:, 0] / 0.004) ** 2))
    under = -0.0125 * np.sqrt(np.clip(1 - across**2, 0, 1))
    inside = step(0.0008, -0.0008, above - bow) * step(-0.0012, 0.0012, above - under)
    inside = inside * step(1.02, 0.93, across) * (front > 0.0)
    inside *= step(0.085, 0.095, face[:, 2])
    colour = mix(colour, _LIP * (1 + 0.06 * np.sin(face[:, :1] * 2800)), 0.85 * inside)
    line = np.exp(-((above / 0.0011) ** 2)) * step(1.05, 0.9, across) * (face[:, 2] > 0.08)
    return mix(colour, np.array([0.36, 0.15, 0.14]), 0.75 * line), inside


def _brows(colour: np.ndarray, face: np.ndarray, front: np.ndarray, points: np.ndarray) -> np.ndarray:
    side = np.abs(face[:, 0])
    t = np.clip((side - 0.012) / 0.041, 0, 1)
    arch = 0.0525 + 0.0075 * np.sin(np.pi * np.clip(t * 0.85, 0, 1)) - 0.004 * t
    half = 0.0050 * (1 - 0.6 * t)
    hair = 0.88 + 0.2 * noise(points * [1.0, 0.5, 1.0], 0.003, 5)
    inside = (
        step(1.25, 0.6, np.abs(face[:, 1] - arch) / half)
        * step(0.010, 0.020, side)
        * step(0.055, 0.050, side)
    )
    return mix(colour, _BROW, np.clip(0.9 * inside * hair, 0, 1) * (front > 0))


def _lash_line(figure: Figure, colour: np.ndarray, points: np.ndarray) -> np.ndarray:
    for centre, radius in figure.eyes.values():
        beyond = np.linalg.norm(points - centre, axis=1) - radius
        upper = step(-0.004, 0.003, points[:, 1] - centre[1])
        share = (
            step(0.0010 + 0.0016 * upper, 0.0004 + 0.0010 * upper, beyond)
            * step(-0.0016, -0.0004, beyond)
            * (points[:, 2] > centre[2])
        )
        colour = mix(colour, np.array([0.17, 0.09, 0.07]), share * (0.25 + 0.65 * upper))
        hollow = np.exp(-((beyond / 0.008) ** 2)) * (points[:, 2] > centre[2])
        colour = mix(colour, np.array([0.58, 0.38, 0.32]), 0.35 * hollow * (1 - share))
    return colour


def _nail_paint(
    figure: Figure, colour: np.ndarray, points: np.ndarray, normals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    covered = np.zeros(len(points))
    for centre, outward in figure.nails:
        apart = points - centre
        flat = apart - (apart @ outward)[:, None] * outward
        inside = step(0.0068, 0.0050, np.linalg.norm(flat, axis=1)) * step(0.25, 0.5, normals @ outward)
        covered = np.maximum(covered, inside)
    return mix(colour, _NAIL, covered), covered


def near_eyes(figure: Figure, points: np.ndarray) -> np.ndarray:
    """Which points lie in the folds of the lids, next to an eyeball or where it will be covered."""
    apart = [np.linalg.norm(points - centre, axis=1) - radius for centre, radius in figure.eyes.values()]
    return np.min(apart, axis=0) < 0.003


def in_mouth(figure: Figure, points: np.ndarray) -> np.ndarray:
    """Which points lie in the box of the mouth's cavity."""
    low, high = np.array([-0.032, -0.065, 0.02]), np.array([0.032, -0.005, 0.122])
    return ((points - figure.head > low) & (points - figure.head < high)).all(axis=1)


def paint_mouth(colour: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Skin colours with those `inner` ones (N,) in [0, 1] turned to the red of the mouth's lining."""
    return mix(colour, _MOUTH, inner)


def eyeball(figure: Figure, side: str, count: int) -> tuple[Samples, np.ndarray, np.ndarray]:
    """The visible cap of an eye that looks ahead: samples, colour (N, 3) and gloss (N,)."""
    centre, radius = figure.eyes[side]
    index = np.arange(count) + 0.5
    cosine, azimuth = np.cos(np.deg2rad(75) * (index / count) ** 0.62), np.pi * (3 - np.sqrt(5)) * index
    sine = np.sqrt(1 - cosine**2)
    normals = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    angle = np.rad2deg(np.arccos(cosine))
    white = np.array([0.93, 0.90, 0.88]) * (1 - 0.10 * step(40, 75, angle))[:, None]
    rays = 0.92 + 0.12 * np.sin(azimuth * 17) + 0.08 * np.sin(azimuth * 7 + 1)
    iris = np.array([0.30, 0.45, 0.42]) * rays[:, None]
    iris = mix(iris, np.array([0.50, 0.36, 0.16]), step(20, 12, angle))
    colour = mix(white, iris, step(29, 26.5, angle))
    colour = mix(colour, np.array([0.08, 0.10, 0.11]), 0.8 * np.exp(-(((angle - 27.5) / 2.2) ** 2)))
    colour = mix(colour, np.array([0.015, 0.012, 0.012]), step(12.5, 10.5, angle))
    glint = normals @ (np.array([0.24, 0.30, 0.92]) / np.linalg.norm([0.24, 0.30, 0.92]))
    colour = mix(colour, np.ones(3), step(np.cos(np.deg2rad(7.5)), np.cos(np.deg2rad(5.0)), glint))
    return _rigid(figure, centre + 0.965 * radius * normals, normals), colour, np.full(count, 0.25)


def teeth(figure: Figure, row: str, count: int) -> tuple[Samples, np.ndarray, np.ndarray]:
    """One row of teeth as a bent band through its points; the lower row goes with the chin."""
    cloud = figure.teeth[row]
    fit = np.polyfit(cloud[:, 0], cloud[:, 2], 2)
    width, (low, high) = 0.8 * np.abs(cloud[:, 0]).max(), np.quantile(cloud[:, 1], (0.1, 0.9))
    index = np.arange(count)
    across, up = (index * 0.7548776662466927) % 1, (index * 0.5698402909980532) % 1
    x = width * (2 * across - 1)
    points = np.stack([x, low + (high - low) * up, np.polyval(fit, x)], axis=1)
    normals = np.stack([-np.polyval(np.polyder(fit), x), np.zeros(count), np.ones(count)], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    gum = step(0.72, 0.9, up if row == "upper" else 1 - up)
    split = 0.12 * np.exp(-((((x / 0.0078 + 0.5) % 1 - 0.5) / 0.12) ** 2))
    colour = mix(np.array([0.90, 0.87, 0.80]) * (1 - split)[:, None], np.array([0.68, 0.33, 0.32]), gum)
    chin = figure.head + _CHIN if row == "lower" else None
    return _rigid(figure, points, normals, chin), colour, np.full(count, 0.2)


def _rigid(figure: Figure, points: np.ndarray, normals: np.ndarray, at: np.ndarray | None = None) -> Samples:
    """Samples that go with one vertex: that nearest to `at`, or the crown, which no expression moves."""
    vertices = figure.mesh.vertices
    vertex = vertices[:, 1].argmax() if at is None else np.linalg.norm(vertices - at, axis=1).argmin()
    corners = np.full((len(points), 3), vertex)
    return Samples(points, normals, corners, np.tile([1.0, 0.0, 0.0], (len(points), 1)))


def gaze(figure: Figure, side: str, name: str, points: np.ndarray) -> np.ndarray:
    """The displacement (N, 3) of an eyeball's points under an ARKit shape: it turns by its own eyeLook's.

    A blink draws it back a little, for lids that move along straight lines would pass through it.
    """
    if name == f"eyeBlink{side.capitalize()}":
        return np.tile([0.0, 0.0, -_RETREAT], (len(points), 1))
    inward = 1.0 if side == "right" else -1.0
    ways = {"Up": (-1.0, 0.0), "Down": (1.0, 0.0), "In": (0.0, inward), "Out": (0.0, -inward)}
    for way, (pitch, yaw) in ways.items():
        if name == f"eyeLook{way}{side.capitalize()}":
            axis, apart = np.array([pitch, yaw, 0.0]), points - figure.eyes[side][0]
            turned = np.cross(axis, apart)
            return np.sin(_GAZE) * turned + (1 - np.cos(_GAZE)) * np.cross(axis, turned)
    return np.zeros_like(points)
