"""How much each Gaussian's parameters change pictures of the avatar: where an encoder may be coarse."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numba import njit

import spec
from reference_decoder import Camera, jit
from reference_decoder.rendering import project
from reference_encoder.blending import LEAST_TRANSMITTANCE, MOST_ALPHA, in_threads, reach
from reference_encoder.content import Avatar, Gaussians, Motion
from reference_encoder.float_model import blend_matrices, forward_kinematics, rotation_matrix

_C = spec.standard().constant_values
_SIZE = 512
_FIELD_OF_VIEW = 0.5
_PORTRAITS = 4  # cameras around the head
DC = 0.28209479177387814  # a spherical harmonics coefficient of band 0 counts so much in the colour

_HEAD = re.compile(r"head|jaw|eye|face")
_FINE = re.compile(rf"{_HEAD.pattern}|hand|wrist|thumb|index|middle|pinky|little|finger|(?<![a-z])ring")


@dataclass(frozen=True)
class View:
    """Posed Gaussians and the camera that looks at them."""

    positions: np.ndarray  # (N, 3) m
    blends: np.ndarray  # (N, 3, 3)
    camera: Camera


@dataclass(frozen=True)
class Sensitivity:
    """Mean over views of the squared change of a picture, in 8-bit levels squared, per squared unit.

    The diagonal of the Gauss-Newton matrix of the picture error: neighbours are held.
    """

    position: np.ndarray  # (N,) per m^2, mean of the axes
    scale: np.ndarray  # (N, 3) per squared natural logarithm
    rotation: np.ndarray  # (N, 3) per rad^2
    opacity: np.ndarray  # (N,)
    colour: np.ndarray  # (N,) per squared coefficient of band 0, one colour component
    samples: float  # colour samples of a picture that show the avatar

    def part(self, rows: np.ndarray) -> Sensitivity:
        """The Gaussians with these numbers."""
        return Sensitivity(
            self.position[rows],
            self.scale[rows],
            self.rotation[rows],
            self.opacity[rows],
            self.colour[rows],
            self.samples,
        )

    def or_more(self, other: Sensitivity) -> Sensitivity:
        """The greater of the two in each value, and the samples of both."""
        return Sensitivity(
            np.maximum(self.position, other.position),
            np.maximum(self.scale, other.scale),
            np.maximum(self.rotation, other.rotation),
            np.maximum(self.opacity, other.opacity),
            np.maximum(self.colour, other.colour),
            self.samples + other.samples,
        )

    def weighted(self, weights: np.ndarray) -> Sensitivity:
        """With errors of the Gaussians counted so many times; weights (N,)."""
        each = weights[:, None]
        return Sensitivity(
            self.position * weights,
            self.scale * each,
            self.rotation * each,
            self.opacity * weights,
            self.colour * weights,
            self.samples,
        )


def importance(avatar: Avatar, priority: float) -> np.ndarray:
    """(N,) what errors of each Gaussian count for, if those of face and hands shall be `priority` times smaller.

    The logarithms have mean 0, so that the rest becomes as much coarser as about pays for it.
    """
    octaves = fine_share(avatar) * 2 * np.log2(priority)
    return 2.0 ** (octaves - octaves.mean())


def fine_share(avatar: Avatar) -> np.ndarray:
    """(N,) how much of each Gaussian is face or hand: what joints move it that are named so."""
    return _share(avatar, _FINE)


def head_share(avatar: Avatar) -> np.ndarray:
    """(N,) how much of each Gaussian is head."""
    return _share(avatar, _HEAD)


def _share(avatar: Avatar, pattern: re.Pattern[str]) -> np.ndarray:
    found = [n for n, name in enumerate(avatar.rig.names) if pattern.search(name.lower())]
    return (avatar.skin_weights * np.isin(avatar.skin_joints, found)).sum(axis=1)


def portrait(avatar: Avatar) -> list[View]:
    """Views of the head of an avatar at rest; none if it has no head, or little else."""
    g = avatar.gaussians
    head = g.positions[head_share(avatar) > 0.5]
    if not len(head) or 2 * np.ptp(head, axis=0).max() > np.ptp(g.positions, axis=0).max():
        return []
    turns = np.broadcast_to(np.eye(3), (g.count, 3, 3))
    return [View(g.positions, turns, camera) for camera in ring(head, _PORTRAITS, 0.0, 0.0)]


def ring(points: np.ndarray, count: int, phase: float, elevation: float) -> list[Camera]:
    """`count` cameras around the points (N, 3), a turn of 1 / count times `phase` on, `elevation` in radians."""
    low, high = np.quantile(points, 0.002, axis=0), np.quantile(points, 0.998, axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    across = max(math.hypot(half[0], half[2]), 1e-3)
    distance = 1.05 * max(across, half[1]) / math.tan(_FIELD_OF_VIEW / 2) + across / 2
    cameras = []
    for k in range(count):
        angle = 2 * math.pi * (k + phase) / count
        flat = math.cos(elevation)
        direction = np.array([math.sin(angle) * flat, math.sin(elevation), math.cos(angle) * flat])
        eye = middle + distance * direction
        grey = (206, 208, 212)
        cameras.append(Camera.look_at(eye, middle, _SIZE, _SIZE, _FIELD_OF_VIEW, background=grey))
    return cameras


def poses(avatar: Avatar, motion: Motion, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(positions (N, 3), blends (N, 3, 3)): the rest pose, then the frames that differ most."""
    g = avatar.gaussians
    result = [(g.positions, np.broadcast_to(np.eye(3), (g.count, 3, 3)))]
    features = np.concatenate([motion.rotations.reshape(motion.count, -1), motion.expressions], axis=1)
    distance = np.square(features).sum(axis=1)
    for _ in range(count):
        frame = int(np.argmax(distance))
        distance = np.minimum(distance, np.square(features - features[frame]).sum(axis=1))
        matrices = forward_kinematics(avatar.rig, motion.rotations[frame], motion.translations[frame])
        blends = blend_matrices(avatar.skin_joints, avatar.skin_weights, matrices)
        points = g.positions
        if avatar.expression_names:
            points = points + np.tensordot(motion.expressions[frame], avatar.expressions, 1)
        posed = np.einsum("nab,nb->na", blends[:, :, :3], points) + blends[:, :, 3]
        result.append((posed, blends[:, :, :3]))
    return result


def sensitivity(
    avatar: Avatar,
    groups: list[list[View]],
    smallest_scale: float,
    progress: Callable[[str, int, int], None],
) -> Sensitivity:
    """The greatest of the means of groups of views: each group is a pose.

    What is hidden in most poses counts as much as the pose that shows it most asks for.
    """
    count = avatar.gaussians.count
    one, three = np.zeros(count), np.zeros((count, 3))
    best = Sensitivity(one, three, three, one, one, 0.0)
    for n, views in enumerate(groups):
        progress("poses", n, len(groups))
        found = _mean(avatar, views, smallest_scale)
        best = best.or_more(replace(found, samples=found.samples / len(groups)))
    return best


def thinness(scales: np.ndarray, blur: float) -> np.ndarray:
    """§7.3.3 (N, 3) how much more an error of a widened scale is felt in the scale, squared."""
    return np.minimum(((scales**2 + blur**2) / scales**2) ** 2, 1e4)


def unlikeness(scales: np.ndarray, blur: float) -> np.ndarray:
    """§7.3.4 (N, 3) how far from a circle the section across each axis is: 1 for a line."""
    square = scales**2 + blur**2
    a, b = np.roll(square, -1, axis=1), np.roll(square, -2, axis=1)
    return np.maximum(np.abs(a - b) / np.maximum(a, b), 2.0 ** -_C["ROTATION_SHIFT_MAX"])


def projected(gaussians: Gaussians, view: View, smallest_scale: float) -> np.ndarray:
    """§9.6 (M, 11) the projected list of Gaussians as fine as integers are, thin ones made `smallest_scale` thick."""
    axes = view.blends @ rotation_matrix(_vectors(gaussians.rotations))
    factor = _integers((axes * gaussians.scales.clip(smallest_scale, 1.9)[:, None]).clip(-7.9, 7.9), 24)
    opacity = np.minimum(_integers(gaussians.opacities, 14), 1 << 14)
    sh = _integers(gaussians.sh, 12).clip(-32767, 32767).astype(np.int16)
    blends = _integers(view.blends, 30)
    return project(_integers(view.positions, 20), factor, blends, opacity, sh, view.camera).records


def _mean(avatar: Avatar, views: list[View], smallest_scale: float) -> Sensitivity:
    """Over the views of one pose."""
    g = avatar.gaussians
    axes = rotation_matrix(_vectors(g.rotations))
    scales = g.scales.clip(smallest_scale, 1.9)
    sums = [np.zeros(g.count), np.zeros((g.count, 3)), np.zeros((g.count, 3)), *np.zeros((2, g.count))]

    def look(view: View) -> tuple[np.ndarray, np.ndarray, int]:
        records = projected(g, view, smallest_scale)
        return records[:, 0], *_moments(records, view.camera)

    samples = 0
    for view, (index, moments, covered) in zip(views, in_threads(look, views), strict=True):
        samples += 3 * covered
        _add(sums, index, moments, view, axes, scales)
    sums[3] /= np.maximum(g.opacities, 1e-3) ** 2
    sums[4] *= (255 * DC) ** 2
    position, scale, rotation, opaque, colour = (total / len(views) for total in sums)
    return Sensitivity(position, scale, rotation, opaque, colour, samples / len(views))


def _vectors(quaternions: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(quaternions[:, 1:], axis=1)
    angles = 2 * np.arctan2(lengths, quaternions[:, 0])
    return quaternions[:, 1:] * (angles / np.maximum(lengths, 1e-300))[:, None]


def _integers(values: np.ndarray, fraction_bits: int) -> np.ndarray:
    return np.floor(np.asarray(values) * 2.0**fraction_bits + 0.5).clip(-(2**31), 2**31 - 1).astype(np.int32)


def _add(
    sums: list[np.ndarray],
    i: np.ndarray,
    moments: np.ndarray,
    view: View,
    axes: np.ndarray,
    scales: np.ndarray,
) -> None:
    """Carries what the projected Gaussians `i` do to the picture over to their parameters in space."""
    turn = view.camera.rotation / 2**30
    place = view.positions[i] @ turn.T + view.camera.translation / 2**20
    depth, focal = place[:, 2], view.camera.focal[0] / 256
    slope = np.zeros((len(i), 2, 3))
    slope[:, 0, 0] = slope[:, 1, 1] = focal / depth
    slope[:, 0, 2], slope[:, 1, 2] = -focal * place[:, 0] / depth**2, -focal * place[:, 1] / depth**2
    slope = slope @ turn
    blends = view.blends[i]
    centre = slope @ blends
    first = moments[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
    sums[0][i] += np.einsum("nai,nab,nbi->n", centre, first, centre) / 3
    edge = slope @ (blends @ axes[i])
    for k in range(3):
        a, b = edge[:, :, (k + 1) % 3], edge[:, :, (k + 2) % 3]
        sums[1][i, k] += scales[i, k] ** 4 * _fourth(moments, edge[:, :, k], edge[:, :, k])
        spread = scales[i, (k + 1) % 3] ** 2 - scales[i, (k + 2) % 3] ** 2
        sums[2][i, k] += spread**2 * _fourth(moments, a, b)
    sums[3][i] += moments[:, 1]
    sums[4][i] += moments[:, 0]


def _fourth(moments: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of (g.p)^2 (g.q)^2 from the fourth moments of the slopes g of the exponent."""
    p2, pq, p0 = p[:, 0] ** 2, 2 * p[:, 0] * p[:, 1], p[:, 1] ** 2
    q2, qq, q0 = q[:, 0] ** 2, 2 * q[:, 0] * q[:, 1], q[:, 1] ** 2
    terms = (p2 * q2, p2 * qq + pq * q2, p2 * q0 + p0 * q2 + pq * qq, pq * q0 + p0 * qq, p0 * q0)
    return sum(term * moments[:, 5 + n] for n, term in enumerate(terms))


def _moments(records: np.ndarray, camera: Camera) -> tuple[np.ndarray, int]:
    """(M, 10) sums over the pixels of each projected Gaussian, and how many pixels show the avatar."""
    colour = records[:, 7:10] * (255 / 4096)
    moments = np.zeros((len(records), 10))
    background = np.array(camera.background, np.float64)
    covered = _accumulate(
        records.astype(np.float64), colour, camera.width, camera.height, background, moments
    )
    return moments, int(covered)


@njit(**jit.OPTIONS)
def _accumulate(records, colour, width, height, background, moments):
    """Two passes of blending: the picture first, then for each Gaussian what lies behind it."""
    full = np.zeros((height, width, 3))
    done = np.zeros((height, width, 3))
    through = np.ones((height, width))
    covered = 0
    for second in range(2):
        if second:
            for y in range(height):
                for x in range(width):
                    covered += through[y, x] < 1
                    for c in range(3):
                        full[y, x, c] = done[y, x, c] + through[y, x] * background[c]
            through[:] = 1
            done[:] = 0
        for n in range(len(records)):
            _splat(n, records[n], colour[n], full, done, through, background, second, moments)
    return covered


@njit(**jit.OPTIONS)
def _splat(n, record, colour, full, done, through, background, second, moments):
    height, width = through.shape
    opacity = record[10] / 2**14
    l00, l01, l11 = record[4] / 2**24, record[5] / 2**24, record[6] / 2**24
    mx, my = record[2] / 4096 - 0.5, record[3] / 4096 - 0.5
    top, bottom, left, right, exponent = reach(record, width, height)
    for y in range(top, bottom + 1):
        v = l11 * (y - my)
        for x in range(left, right + 1):
            t = through[y, x]
            u = l00 * (x - mx) + l01 * (y - my)
            r = u * u + v * v
            if t < LEAST_TRANSMITTANCE or r > exponent:
                continue
            alpha = min(opacity * 2.0**-r, MOST_ALPHA)
            weight = alpha * t
            rest = t * (1 - alpha)
            if second:
                gx, gy = 2 * np.log(2) * l00 * u, 2 * np.log(2) * (l01 * u + l11 * v)
                change = 0.0
                for c in range(3):
                    behind = background[c]
                    if rest > 1e-5:
                        behind = (full[y, x, c] - done[y, x, c] - weight * colour[c]) / rest
                    change += (colour[c] - behind) ** 2
                k = weight * weight * change
                m = moments[n]
                m[0] += weight * weight
                m[1] += k
                m[2] += k * gx * gx
                m[3] += k * gx * gy
                m[4] += k * gy * gy
                m[5] += k * gx**4
                m[6] += k * gx**3 * gy
                m[7] += k * gx * gx * gy * gy
                m[8] += k * gx * gy**3
                m[9] += k * gy**4
            for c in range(3):
                done[y, x, c] += weight * colour[c]
            through[y, x] = rest
