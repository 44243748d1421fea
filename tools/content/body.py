"""A dressed full-body avatar, made from MakeHuman's body mesh by rule: the same bytes each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from reference_encoder.content import Avatar, ContentError, Gaussians, Rig
from reference_encoder.rigs import strongest
from reference_encoder.splat_check import rgb_to_sh0
from tools.content import face, light, outfit
from tools.content.figure import Figure, load_figure
from tools.content.surface import CANDIDATES, Samples, areas, frames, gap, relax, scatter, spacing, spread

DATA = Path(__file__).parent / "data"
BODY, ARKIT = DATA / "makehuman_body_53j.npz", DATA / "arkit_targets_hm08.npz"
COUNT = 64_000
SOLE = 0.014  # metres of shoe under the foot: the avatar is lifted by it, so that it stands on y = 0
_LIFT = np.array([0.0, SOLE, 0.0])
_SURPLUS = 1.03  # samples beyond the count that are made and thinned out again
_SIZE = 0.63  # standard deviation of a Gaussian in terms of the distance to its neighbours
_FLAT = 0.12  # thickness in terms of the smaller side
_OPACITY = 0.99
_CONTRAST = 0.28  # change of colour or cover nearby that makes a place count as an edge
_GRIMACES = (("eyeBlinkLeft", "eyeBlinkRight", "jawOpen"), ("mouthSmileLeft", "mouthSmileRight"))
# A pose that stretches shoulders, elbows, seat and knees: axis-angle rotations by joint.
_EXERCISE = {
    **{"upperarm_l": (0.0, 0.0, -1.45), "upperarm_r": (0.0, 0.0, 1.45)},
    **{"lowerarm_l": (0.0, -1.4, 0.0), "lowerarm_r": (0.0, 1.4, 0.0)},
    **{
        "thigh_l": (-1.2, 0.0, 0.0),
        "thigh_r": (-1.2, 0.0, 0.0),
        "calf_l": (1.4, 0.0, 0.0),
        "calf_r": (1.4, 0.0, 0.0),
    },
}
_EDGE = (1.15, 0.62)  # sizes of a Gaussian along and across an edge


@dataclass(frozen=True)
class _Part:
    """Samples with all that makes them Gaussians, before light and binding."""

    samples: Samples
    rest: np.ndarray  # (N, 3) the points on the bare body
    colour: np.ndarray  # (N, 3)
    gloss: np.ndarray  # (N,)
    along: np.ndarray  # (N, 3) the direction of the long axis
    sizes: np.ndarray  # (N, 2) standard deviations along and across
    eye: str = ""  # the side, if this is an eyeball


@dataclass(frozen=True)
class _Zone:
    """Candidates of one layer that are to be equally far apart."""

    layer: outfit.Layer
    samples: Samples
    area: float
    pitch: float


def make_body(*, seed: int = 1, count: int = COUNT, sh_degree: int = 1) -> Avatar:
    """A dressed man of `count` flat Gaussians in the T-pose on MakeHuman's 53 joints.

    Family `makehuman53`, y up, facing +z, soles at y = 0, 1.80 m tall with shoes and hair; at most 4 influences;
    52 ARKit expressions, which also turn the eyes and open the mouth on teeth. A soft light is baked
    into the colours, with a highlight that moves with the view at `sh_degree` 1 to 3.
    `seed` places the samples; the same arguments give the same numbers. Raises ContentError.
    """
    if count < 10_000 or not 0 <= sh_degree <= 3:
        raise ContentError(
            f"body: {count} Gaussians of SH degree {sh_degree}: 10000 or more, 0 to 3 expected"
        )
    rng = np.random.default_rng(seed)
    figure = load_figure(BODY, ARKIT)
    small = [_ball(figure, side, count // 100) for side in ("left", "right")]
    small += [_teeth(figure, row, count // 200) for row in ("upper", "lower")]
    parts = small + _dress(figure, count - sum(len(part.rest) for part in small), rng)
    return _bind(figure, parts, _gaussians(figure, parts, sh_degree))


def body_rig() -> Rig:
    """The rig of `make_body`'s avatars, without making one."""
    return _lifted(load_figure(BODY, ARKIT))


def _lifted(figure: Figure) -> Rig:
    return replace(figure.mesh.rig, joints=figure.mesh.rig.joints + _LIFT)


def _ball(figure: Figure, side: str, count: int) -> _Part:
    samples, colour, gloss = face.eyeball(figure, side, count)
    return _plain(samples, samples.points, colour, gloss, side)


def _teeth(figure: Figure, row: str, count: int) -> _Part:
    samples, colour, gloss = face.teeth(figure, row, count)
    return _plain(samples, samples.points, colour, gloss)


def _plain(samples: Samples, rest: np.ndarray, colour: np.ndarray, gloss: np.ndarray, eye: str = "") -> _Part:
    sizes = np.repeat(_SIZE * gap(samples.points)[:, None], 2, axis=1)
    return _Part(samples, rest, colour, gloss, np.tile([1.0, 0.0, 0.0], (len(rest), 1)), sizes, eye)


def _dress(figure: Figure, count: int, rng: np.random.Generator) -> list[_Part]:
    """All parts that are sampled evenly, `count` samples in all."""
    layers = [outfit.skin(figure), outfit.shirt(figure), outfit.trousers(figure), *outfit.hair(figure)]
    zones = [zone for layer in layers for zone in _zones(figure, layer, count, rng)]
    wanted = sum(zone.area / zone.pitch**2 for zone in zones)
    soles = count // 14
    share = (count * _SURPLUS - soles * _SURPLUS) / wanted
    clouds, kept = [], []
    for zone in zones:
        clouds.append(zone.samples.points)
        kept.append(spread(clouds[-1], spacing(1.0, share / zone.pitch**2), rng))
    shoes, colour, gloss = outfit.shoes(figure, CANDIDATES * soles, rng)
    clouds.append(shoes.points)
    kept.append(_fill(shoes.points, round(soles * _SURPLUS), rng))
    masks = _thinned([points[k] for points, k in zip(clouds, kept, strict=True)], count)
    even = [relax(points, k[mask]) for points, k, mask in zip(clouds, kept, masks, strict=True)]
    parts = [_cloth(figure, zone, zone.samples.take(k), rng) for zone, k in zip(zones, even, strict=False)]
    pair = even[-1]
    return [*parts, _plain(shoes.take(pair), shoes.points[pair], colour[pair], gloss[pair])]


def _zones(figure: Figure, layer: outfit.Layer, count: int, rng: np.random.Generator) -> list[_Zone]:
    """The layer's candidates, apart by how fine they are to be: finer where it ends or changes colour."""
    rest, faces = figure.mesh.vertices, figure.mesh.faces
    near = layer.covers(rest, layer.vertices)[faces].any(axis=1)
    pitches = layer.pitch(rest[faces].mean(axis=1))
    zones = []
    for pitch in np.unique(pitches[near]):
        own = faces[near & (pitches == pitch)]
        area = areas(layer.vertices, own).sum()
        drawn = max(64, int(CANDIDATES * area / pitch**2 * count / COUNT))
        samples = scatter(layer.vertices, own, drawn, rng)
        covered = layer.covers(samples.carry(rest), samples.points)
        edge = _edges(layer, samples, covered)
        masks = [(samples, covered & ~edge, pitch)]
        if edge.any():
            more = scatter(layer.vertices, own, int(drawn / layer.detail**2), rng)
            at_edge = edge[cKDTree(samples.points).query(more.points)[1]]
            masks += [(more, at_edge & layer.covers(more.carry(rest), more.points), pitch * layer.detail)]
        zones += [_Zone(layer, s.take(m), float(area * m.mean()), float(p)) for s, m, p in masks if m.any()]
    return zones


def _edges(layer: outfit.Layer, samples: Samples, covered: np.ndarray) -> np.ndarray:
    """Which candidates (N,) lie where the layer ends or changes colour."""
    if layer.detail == 1.0:
        return np.zeros(len(covered), dtype=bool)
    look = np.concatenate([layer.paint(samples.points, samples.normals)[0], covered[:, None]], axis=1)
    around = look[cKDTree(samples.points).query(samples.points, k=12)[1]]
    return np.ptp(around, axis=1).max(axis=1) > _CONTRAST


def _fill(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of about `count` of many points of unknown area, spread evenly."""
    distance = float(np.median(gap(points))) * np.sqrt(len(points) / count) * 0.9
    for _ in range(4):
        kept = spread(points, distance, rng)
        distance *= np.sqrt(len(kept) / count)
    return kept


def _thinned(groups: list[np.ndarray], count: int) -> list[np.ndarray]:
    """A mask for each group of points that leaves `count` in all, those out that are closest to another."""
    crowding = np.concatenate([gap(points, 1) / np.median(gap(points, 1)) for points in groups])
    surplus = len(crowding) - count
    if surplus < 0:
        raise ContentError(f"body: only {len(crowding)} of {count} samples found room")
    kept = np.ones(len(crowding), dtype=bool)
    kept[np.argsort(crowding, kind="stable")[:surplus]] = False
    return np.split(kept, np.cumsum([len(points) for points in groups])[:-1])


def _cloth(figure: Figure, zone: _Zone, samples: Samples, rng: np.random.Generator) -> _Part:
    layer, rest = zone.layer, samples.carry(figure.mesh.vertices)
    colour, gloss = layer.paint(samples.points, samples.normals)
    size = _SIZE * _strained_gap(figure, layer, samples)
    if layer.along is not None:
        along, sizes = layer.along(rest), size[:, None] * layer.stretch
    else:
        along, sizes = _along_edges(layer, samples, rest, size)
    risen = samples.points + layer.rise * rng.random((len(rest), 1)) * samples.normals
    return _Part(replace(samples, points=risen), rest, colour, gloss, along, sizes)


def _strained_gap(figure: Figure, layer: outfit.Layer, samples: Samples) -> np.ndarray:
    """The distance (N,) to a sample's neighbours where face or limbs stretch it most, within limits."""
    rest = gap(samples.points)
    widest = rest
    for shapes in _GRIMACES:
        moved = samples.carry(figure.grimace(*shapes))
        if moved.any():
            widest = np.maximum(widest, gap(samples.points + moved))
    posed = samples.carry(figure.pose(layer.vertices, _EXERCISE))
    stretch = np.maximum(widest, gap(posed)) / rest  # a mean over all directions: more in the worst one
    return rest * np.clip(stretch**1.5, 1.0, 1.8)


def _along_edges(
    layer: outfit.Layer, samples: Samples, rest: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Long axes (N, 3) and sizes (N, 2) that follow the edges of colour and cover, so that these stay sharp."""
    first = np.cross(samples.normals, [0.31, 0.02, 0.95])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    slopes = []
    for axis in (first, np.cross(samples.normals, first)):
        sides = []
        for sign in (1, -1):
            shift = sign * size[:, None] * axis
            colour = layer.paint(samples.points + shift, samples.normals)[0]
            covered = layer.covers(rest + shift, samples.points + shift)
            sides.append(np.concatenate([colour, covered[:, None]], axis=1))
        slopes.append(sides[0] - sides[1])
    slope = np.stack(slopes, axis=1)  # (N, 2, 4)
    strength, directions = np.linalg.eigh(slope @ np.swapaxes(slope, 1, 2))
    flat = directions[:, :, 0]  # the way in which the look changes least
    along = flat[:, :1] * first + flat[:, 1:] * np.cross(samples.normals, first)
    sharp = (strength[:, 1] > _CONTRAST**2) & (strength[:, 0] < 0.25 * strength[:, 1])
    return along, size[:, None] * np.where(sharp[:, None], _EDGE, 1.0)


def _gaussians(figure: Figure, parts: list[_Part], degree: int) -> Gaussians:
    """The parts as lit Gaussians."""
    points, normals = (
        np.concatenate([getattr(p.samples, name) for p in parts]) for name in ("points", "normals")
    )
    rest, colour, gloss, along, sizes = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("rest", "colour", "gloss", "along", "sizes")
    )
    lit = light.irradiance(points, normals)
    inner = sum(len(part.rest) for part in parts[:4])  # eyeballs and teeth: in the shade of lids and lips
    lit[:inner] = 0.60 + 0.40 * lit[:inner]
    lit = np.where(face.near_eyes(figure, rest), 0.60 + 0.40 * lit, lit)
    lining = face.in_mouth(figure, rest) & (lit < 0.12)
    lit[lining] = 0.45
    colour = face.paint_mouth(colour, lining * 1.0)
    # Light that bounces on skin and cloth keeps their hue: shade less where the colour is strong.
    shaded = colour * np.maximum(lit, 0.18)[:, None] ** (0.80 - 0.12 * colour)
    sh = np.zeros((len(points), (degree + 1) ** 2, 3))
    sh[:, :1] = rgb_to_sh0(np.clip(shaded * 0.98, 0.0, 0.98))
    sh += light.shine(normals, gloss * lit, degree)[:, :, None] * np.array([1.0, 0.98, 0.94])
    thin = _FLAT * sizes.min(axis=1, keepdims=True)
    return Gaussians(
        points + _LIFT,
        frames(normals, along),
        np.concatenate([sizes, thin], axis=1),
        np.full(len(points), _OPACITY),
        sh,
    )


def _bind(figure: Figure, parts: list[_Part], gaussians: Gaussians) -> Avatar:
    """The Gaussians with the weights and expressions that the mesh has where they lie."""
    mesh = figure.mesh
    dense = np.zeros((mesh.count, mesh.rig.count))
    np.add.at(dense, (np.arange(mesh.count)[:, None], mesh.skin_joints), mesh.skin_weights)
    carried = np.concatenate([part.samples.carry(dense) for part in parts])
    joints, weights = strongest(np.broadcast_to(np.arange(mesh.rig.count), carried.shape), carried, 4)
    expressions = np.zeros((len(mesh.expression_names), gaussians.count, 3))
    for name, target, out in zip(mesh.expression_names, mesh.expressions, expressions, strict=True):
        moved = [
            face.gaze(figure, part.eye, name, part.samples.points) if part.eye else part.samples.carry(target)
            for part in parts
        ]
        out[:] = np.concatenate(moved)
    return Avatar(gaussians, _lifted(figure), joints, weights, mesh.expression_names, expressions)
