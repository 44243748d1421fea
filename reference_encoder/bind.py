"""Binding a splat of a body to a rig: skinning weights from its mesh, then back to the rest pose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from reference_encoder.content import Avatar, ContentError, Gaussians
from reference_encoder.float_model import blend_matrices, forward_kinematics, skin_points
from reference_encoder.rigs import BodyMesh, strongest
from reference_encoder.sh import rotate_sh_each
from reference_encoder.splat_transform import transform

# Rotations that take the named up axis of a splat to y, leaving the x axis where it is if they can.
_UP_TURNS = {
    **{"y": (0, 0, 0), "-y": (np.pi, 0, 0), "z": (-np.pi / 2, 0, 0), "-z": (np.pi / 2, 0, 0)},
    **{"x": (0, 0, np.pi / 2), "-x": (0, 0, -np.pi / 2)},
}
# Gaussians that decide between orientations; by how much another must be nearer to the body, and by how much one
# that faces the other way, which a body is nearly symmetric about.
_SAMPLE = 3000
_CLEARLY, _CLEARLY_BACK = 0.75, 0.5
NO_FIT = 0.1
"""A median distance beyond this part of the body's height fits nothing."""
# Below this determinant the blend of a Gaussian's joints has collapsed and cannot be undone safely.
_COLLAPSED = 0.1


def _turn_each(gaussians: Gaussians, turns: np.ndarray) -> Gaussians:
    """Each Gaussian turned about its own centre by its matrix (N, 3, 3): axes and colour, not position."""
    axes = Rotation.from_quat(gaussians.rotations, scalar_first=True)
    turned = (Rotation.from_matrix(turns) * axes).as_quat(scalar_first=True)
    return replace(gaussians, rotations=turned, sh=rotate_sh_each(gaussians.sh, turns))


def align(
    gaussians: Gaussians,
    mesh: BodyMesh,
    *,
    up: str = "y",
    yaw: float = 0.0,
    height: float | None = None,
    trim: float = 0.001,
) -> Gaussians:
    """The splat brought into the mesh's frame: upright, facing +z, as tall, standing on its floor.

    `up` is the splat's own up axis (x, y, z, or one of them with a minus), `yaw` the radians by which it
    is then turned about +y. It is scaled to `height` metres (the mesh's by default), its lowest point
    put at the mesh's lowest and its middle above the mesh's. The extent leaves out the fraction
    `trim` of the opacity at each end, which is where stray Gaussians are. Raises ContentError.
    """
    if up not in _UP_TURNS:
        raise ContentError(f"up axis {up!r} is not one of {', '.join(_UP_TURNS)}")
    turn = Rotation.from_rotvec([0.0, yaw, 0.0]) * Rotation.from_rotvec(_UP_TURNS[up])
    turned = gaussians.positions @ turn.as_matrix().T
    low, high = _extent(turned, gaussians.opacities, trim)
    mesh_low, mesh_high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    height = float(mesh_high[1] - mesh_low[1]) if height is None else height
    if not (high[1] > low[1] and height > 0):
        raise ContentError(f"a splat {high[1] - low[1]:g} units tall cannot be made {height:g} m tall")
    scale = height / (high[1] - low[1])
    foot, mesh_foot = (low + high) / 2 * scale, (mesh_low + mesh_high) / 2
    foot[1], mesh_foot[1] = low[1] * scale, mesh_low[1]
    return transform(gaussians, turn.as_matrix(), mesh_foot - foot, scale)


@dataclass(frozen=True)
class Fit:
    """How far the Gaussians of an aligned splat lie from the nearest vertex of the body, by opacity."""

    median: float  # metres
    most: float  # metres: 95 % of the opacity lies nearer


def measure_fit(gaussians: Gaussians, mesh: BodyMesh, rotations: np.ndarray | None = None) -> Fit:
    """The fit of an aligned splat to `mesh` in the pose `rotations` (J, 3), its rest pose by default."""
    return _fit(gaussians, cKDTree(_posed(mesh, rotations)))


def _posed(mesh: BodyMesh, rotations: np.ndarray | None) -> np.ndarray:
    if rotations is None:
        return mesh.vertices
    matrices = forward_kinematics(mesh.rig, rotations, np.zeros(3))
    return skin_points(mesh.vertices, mesh.skin_joints, mesh.skin_weights, matrices)


def _fit(gaussians: Gaussians, surface: cKDTree) -> Fit:
    distances, _ = surface.query(gaussians.positions)
    order = np.argsort(distances)
    share = np.cumsum(gaussians.opacities[order]) / gaussians.opacities.sum()
    ends = np.searchsorted(share, (0.5, 0.95)).clip(max=len(order) - 1)
    median, most = distances[order[ends]]
    return Fit(float(median), float(most))


@dataclass(frozen=True)
class Orientation:
    """A way of standing a splat up, and how well it then fits; `yaw` in degrees."""

    up: str
    yaw: int
    median: float  # metres
    opposite: bool  # facing the other way fits as well, as far as distances tell


def better_orientation(
    gaussians: Gaussians,
    mesh: BodyMesh,
    rotations: np.ndarray | None = None,
    *,
    up: str = "y",
    yaw: float = 0.0,
    height: float | None = None,
) -> tuple[Orientation | None, float]:
    """The orientation that fits clearly better than `up` and `yaw` (radians), if one does, and their own median.

    Upright and upside down are tried with every quarter turn, on the same sample of the Gaussians; a lying
    splat is not, since it is scaled down until it is near to everything. Distances say little about front
    and back, so a half turn alone has to be far better. Raises ContentError.
    """
    chosen = np.random.default_rng(0).permutation(gaussians.count)[:_SAMPLE]
    few = Gaussians(
        gaussians.positions[chosen],
        gaussians.rotations[chosen],
        gaussians.scales[chosen],
        gaussians.opacities[chosen],
        gaussians.sh[chosen, :1],
    )
    surface = cKDTree(_posed(mesh, rotations))

    def median(axis: str, angle: float) -> float:
        return _fit(align(few, mesh, up=axis, yaw=angle, height=height), surface).median

    own = median(up, yaw)
    tried = {
        (axis, turn): median(axis, np.radians(turn)) for axis in ("y", "-y") for turn in (0, 90, 180, 270)
    }
    (axis, turn), best = min(tried.items(), key=lambda entry: entry[1])
    half_turn = axis == up and round(np.degrees(yaw) - turn) % 360 == 180
    nearest = min(own * (_CLEARLY_BACK if half_turn else _CLEARLY), NO_FIT * np.ptp(mesh.vertices[:, 1]))
    if best >= nearest:
        return None, own
    return Orientation(axis, turn, best, tried[axis, (turn + 180) % 360] * _CLEARLY <= best), own


def _extent(points: np.ndarray, opacities: np.ndarray, trim: float) -> tuple[np.ndarray, np.ndarray]:
    """The box (3,), (3,) of points (N, 3) without the fraction `trim` of the opacity at each end."""
    if not opacities.sum() > 0:
        raise ContentError("the splat has no visible Gaussian")
    low, high = np.empty(3), np.empty(3)
    for axis in range(3):
        order = np.argsort(points[:, axis], kind="stable")
        share = np.cumsum(opacities[order]) / opacities.sum()
        ends = np.searchsorted(share, (trim, 1 - trim)).clip(max=len(order) - 1)
        low[axis], high[axis] = points[order[ends], axis]
    return low, high


def bind(
    gaussians: Gaussians,
    mesh: BodyMesh,
    rotations: np.ndarray | None = None,
    translation: np.ndarray | None = None,
    *,
    influences: int = 4,
    neighbours: int = 8,
) -> Avatar:
    """An avatar from a splat of a body that stands where `mesh` stands in the given pose.

    `rotations` (J, 3) axis-angle and `translation` (3,) metres pose the mesh (its rest pose by
    default). A Gaussian takes the weights and the expressions of its nearest vertices, each by the
    inverse of its squared distance, and keeps the `influences` strongest joints (1 to 8). Positions
    then go back to the rest pose through the inverse of linear blend skinning, so that skinning the
    avatar gives them again; axes and colour turn by the rotation nearest to that inverse. Where the
    joints pull so far apart that the blend collapses, the strongest joint alone counts.
    Raises ContentError when the sizes do not fit.
    """
    rig = mesh.rig
    rotations = np.zeros((rig.count, 3)) if rotations is None else np.asarray(rotations, dtype=np.float64)
    translation = np.zeros(3) if translation is None else np.asarray(translation, dtype=np.float64)
    if rotations.shape != (rig.count, 3) or translation.shape != (3,):
        raise ContentError(f"bind: pose of shape {rotations.shape}, the rig has {rig.count} joints")
    if not 1 <= influences <= 8:
        raise ContentError(f"bind: {influences} influences, 1 to 8 expected")
    matrices = forward_kinematics(rig, rotations, translation)
    surface = skin_points(mesh.vertices, mesh.skin_joints, mesh.skin_weights, matrices)
    near, shares = _neighbours(gaussians.positions, surface, min(neighbours, mesh.count))
    joints, weights = strongest(*_carried_weights(mesh, near, shares), influences)
    weights = _without_collapse(joints, weights, matrices)

    blended = blend_matrices(joints, weights, matrices)
    inverse = np.linalg.inv(blended[:, :, :3])
    rest = np.einsum("nab,nb->na", inverse, gaussians.positions - blended[:, :, 3])
    expressions = np.zeros((len(mesh.expression_names), gaussians.count, 3))
    for expression, target in zip(expressions, mesh.expressions, strict=False):
        expression[:] = np.einsum("nk,nka->na", shares, target[near])
    return Avatar(
        _turn_each(replace(gaussians, positions=rest), _polar_rotation(inverse)),
        rig,
        joints,
        weights,
        mesh.expression_names,
        expressions,
    )


def _neighbours(points: np.ndarray, surface: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and shares (N, count) of the surface vertices nearest to points (N, 3)."""
    if not (np.isfinite(points).all() and np.isfinite(surface).all()):
        raise ContentError("bind: a position is not finite")
    distances, indices = cKDTree(surface).query(points, k=np.arange(1, count + 1))
    # A tenth of a millimetre keeps a Gaussian that sits on a vertex from dividing by zero.
    shares = 1 / (distances**2 + 1e-8)
    return indices, shares / shares.sum(axis=1, keepdims=True)


def _carried_weights(mesh: BodyMesh, near: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint indices and weights (N, J) that the nearest vertices hand on."""
    carried = np.zeros((len(near), mesh.rig.count))
    rows = np.arange(len(near))[:, None]
    for vertex, share in zip(near.T, shares.T, strict=True):
        np.add.at(carried, (rows, mesh.skin_joints[vertex]), share[:, None] * mesh.skin_weights[vertex])
    return np.broadcast_to(np.arange(mesh.rig.count), carried.shape), carried


def _without_collapse(joints: np.ndarray, weights: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """The weights (N, K), with the strongest joint alone where their blend is near to singular."""
    blended = blend_matrices(joints, weights, matrices)
    collapsed = np.linalg.det(blended[:, :, :3]) < _COLLAPSED
    alone = np.eye(1, weights.shape[1])  # `strongest` puts the largest first
    return np.where(collapsed[:, None], alone, weights)


def _polar_rotation(matrices: np.ndarray) -> np.ndarray:
    """The rotation nearest to each matrix (N, 3, 3) of positive determinant."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right
