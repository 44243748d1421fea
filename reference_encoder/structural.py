"""§5.6, §5.7 The structural layer: what an encoder decides about Gaussians by looking at pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import spec
from reference_decoder import Camera
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Compiled
from reference_decoder.units import UnitReader, level_limits, read_unit
from reference_encoder.balance import balanced
from reference_encoder.blending import in_threads, picture_of
from reference_encoder.content import Avatar, Gaussians, Motion
from reference_encoder.gaussians import (
    Quantised,
    chunk_values,
    chunks,
    colour_values,
    decoded_positions,
    offset_values,
    quantised,
    root_values,
    surface_neighbours,
)
from reference_encoder.headers import headers
from reference_encoder.quantise import Settings, Steps, integer_steps, to_integers
from reference_encoder.refit import decoded_projected, refit
from reference_encoder.sensitivity import (
    Sensitivity,
    View,
    importance,
    portrait,
    poses,
    projected,
    ring,
    sensitivity,
)
from reference_encoder.units import unit

_C = spec.standard().constant_values
_VALUES = 14  # of a Gaussian, over which the error that a picture may have is shared out
_LEAST_OPACITY = 1 / 255  # fainter Gaussians are not drawn
_BULK, _ALIKE = (0.25, 0.75), 1 / 64  # opacities are alike if half of them differ by less
_JUDGES = 8  # cameras around the rest pose that nothing is fitted to
_MOVES = (2.0, -2.0, 1.0, -1.0, 0.5, -0.5)  # octaves of pruning that are tried from the best so far

Progress = Callable[[str, int, int], None]
Look = tuple[int, Camera]
"""The number of a pose, 0 at rest, and the camera that looks at it."""


@dataclass(frozen=True, order=True)
class Effort:
    """What a level of effort tries."""

    cameras: int  # around the rest pose, a quarter of them from above; 0: no pictures, all steps as the settings say
    poses: int  # frames of the motion that are looked at besides
    rounds: int  # of conjugate gradients in a fit of colours and opacities
    fits: int  # 1: after quantisation, 2: before it too
    tries: int = 0  # of more or less pruning, coded and looked at: the best is kept


EFFORTS = {
    1: Effort(0, 0, 0, 0),
    2: Effort(4, 2, 0, 0),
    3: Effort(8, 4, 4, 1),
    4: Effort(16, 8, 5, 1),
    5: Effort(16, 8, 10, 2),
    6: Effort(16, 8, 10, 2, 1),
    7: Effort(16, 8, 10, 2, 2),
    8: Effort(16, 8, 10, 2, 4),
    9: Effort(16, 8, 10, 2, 6),
}
"""§5.5 Effort -> what it tries: all that the level below tries, and more.

More than 16 cameras gained nothing that could be told from chance. From 6 on the tries of a level begin with those of
the level below, whose result is kept if it costs less.
"""


def effort_of(settings: Settings) -> Effort:
    """The nearest level there is."""
    return EFFORTS[min(max(settings.effort, 1), max(EFFORTS))]


@dataclass(frozen=True)
class Prepared:
    """§7.3 The canonical Gaussians as integers, and how they came about."""

    avatar: Avatar  # without the Gaussians that pictures do not need
    motion: Motion
    steps: Steps
    values: Quantised
    theta: float  # the squared error that a value may make in the pictures (levels squared)
    settings: Settings  # those that the steps follow from

    @property
    def known(self) -> dict[str, Any]:
        """§5.4, §5.5 The elements of the headers and the limits of the level."""
        sequence, header = headers(self.avatar, self.motion, self.steps, self.settings)
        return level_limits(spec.standard(), sequence["level"]) | sequence | header


@dataclass(frozen=True)
class Scene:
    """An avatar and what pictures of it say."""

    avatar: Avatar
    motion: Motion
    seen: Sensitivity
    share: float  # of the squared error that a picture may have, for each value
    shown: list[Look]  # what colours and opacities are fitted to
    pictures: list[np.ndarray]


def prepared(avatar: Avatar, motion: Motion, settings: Settings, progress: Progress) -> Prepared:
    """§7.3 The avatar without the Gaussians that pictures do not need, and its integers."""
    effort = effort_of(settings)
    if not effort.cameras:
        return _integers(avatar, motion, settings, None, 0.0)
    scene = observed(avatar, motion, settings, progress)
    return searched(scene, settings, progress) if effort.tries else made(scene, settings)


def observed(avatar: Avatar, motion: Motion, settings: Settings, progress: Progress) -> Scene:
    """What the views of an effort, and portraits of a small head, show."""
    groups = views(avatar, motion, settings)
    seen = sensitivity(avatar, groups, settings.smallest_scale, progress)
    share, close = seen.samples / (_VALUES * avatar.gaussians.count), []
    if settings.closeness and (close := portrait(avatar)):
        nearer = sensitivity(avatar, [close], settings.smallest_scale, progress)
        seen = seen.or_more(nearer.weighted(np.full(avatar.gaussians.count, settings.closeness**2)))
    seen = seen.weighted(importance(avatar, settings.face_priority))
    shown = [*picked(groups), *((0, view.camera) for view in close)]
    return Scene(avatar, motion, seen, share, shown, source_pictures(avatar, motion, shown, settings))


def made(scene: Scene, settings: Settings) -> Prepared:
    """§7.3 The integers of a scene with these settings, colours and opacities fitted as the effort says."""
    effort, avatar, seen = effort_of(settings), scene.avatar, scene.seen
    theta = settings.picture_step**2 * scene.share
    if settings.pruning:
        needed = seen.opacity * np.maximum(avatar.gaussians.opacities, 1e-3) ** 2
        rows = np.flatnonzero(needed >= min(settings.pruning * theta, needed.max()))
        avatar, seen = part_of(avatar, rows), seen.part(rows)
    if effort.fits > 1:
        avatar = fitted(avatar, scene, settings)
    ready = _integers(avatar, scene.motion, balanced(avatar.gaussians, seen, theta, settings), seen, theta)
    return refitted(ready, scene) if effort.fits else ready


def _integers(
    avatar: Avatar, motion: Motion, settings: Settings, seen: Sensitivity | None, theta: float
) -> Prepared:
    steps = integer_steps(avatar, settings)
    return Prepared(avatar, motion, steps, quantised(avatar, steps, settings, seen), theta, settings)


def searched(scene: Scene, settings: Settings, progress: Progress) -> Prepared:
    """§5.5 The best of as many prunings as the effort tries, each coded and looked at where nothing is fitted.

    What a picture is worth in bytes is what coarser steps would save.
    """
    judged = judges(scene.avatar, scene.motion, settings)
    truths = source_pictures(scene.avatar, scene.motion, judged, settings)
    tries = effort_of(settings).tries

    def tried(octaves: float, step: float = 1.0) -> tuple[Prepared, float, int]:
        chosen = replace(
            settings, pruning=settings.pruning * 2.0**octaves, picture_step=settings.picture_step * step
        )
        ready = made(scene, chosen)
        decoded, size = decoded_gaussians(ready)
        return ready, error_of(ready, decoded, judged, truths), size

    best, error, size = tried(0.0)
    progress("prunings", 0, tries)
    _, worse, less = tried(0.0, 2.0**0.5)
    price = max(size - less, 1) / max(worse - error, 1e-6)
    least, place, places = price * error + size, 0.0, {0.0}
    for n in range(tries if settings.pruning else 0):
        move = next(place + move for move in _MOVES if place + move not in places)
        places.add(move)
        ready, error, size = tried(move)
        if price * error + size < least:
            best, least, place = ready, price * error + size, move
        progress("prunings", n + 1, tries)
    return best


def error_of(ready: Prepared, decoded: Canonical, judged: list[Look], truths: list[np.ndarray]) -> float:
    """The binary logarithm of the squared error of pictures of what is decoded, all of them in 8 bits."""
    drawn = in_threads(
        lambda view: picture_of(decoded_projected(decoded, view), view.camera),
        _decoded_views(ready, decoded, judged),
    )
    pairs = [(_levels(one), _levels(true)) for one, true in zip(drawn, truths, strict=True)]
    return float(np.log2(max(sum(float(np.square(one - true).sum()) for one, true in pairs), 1.0)))


def _levels(picture: np.ndarray) -> np.ndarray:
    return to_integers(picture.clip(0, 1), 1 / 255)


def views(avatar: Avatar, motion: Motion, settings: Settings) -> list[list[View]]:
    """For each pose the views that decide where Gaussians may be coarse; the rest pose is the first."""
    effort, result = effort_of(settings), []
    for n, (positions, blends) in enumerate(poses(avatar, motion, _moving(motion, effort))):
        cameras = ring(positions, min(4, effort.cameras), n / 4, 0.35 * (n % 2))
        if n == 0:
            above = effort.cameras // 4
            cameras = ring(positions, effort.cameras - above, 0, 0) + ring(positions, above, 0.5, 0.35)
        result.append([View(positions, blends, camera) for camera in cameras])
    return result


def _moving(motion: Motion, effort: Effort) -> int:
    """How many frames of the motion are looked at: none if nothing moves."""
    return min(motion.count, effort.poses) * bool(motion.rotations.any() or motion.expressions.any())


def picked(groups: list[list[View]]) -> list[Look]:
    """What colours are fitted to: all views of a pose that is alone, else half of it and one of each other."""
    rest, *others = groups
    turned = (views[n % len(views)] for n, views in enumerate(others))
    return [
        *((0, view.camera) for view in rest[:: 2 if others else 1]),
        *((n, view.camera) for n, view in enumerate(turned, 1)),
    ]


def judges(avatar: Avatar, motion: Motion, settings: Settings) -> list[Look]:
    """Looks that nothing is fitted to: between those of the rest pose, and one of each other pose."""
    rest, *others = views(avatar, motion, settings)
    turned = (views[(n + 2) % len(views)] for n, views in enumerate(others))
    cameras = ring(rest[0].positions, _JUDGES, 0.5, 0.0)
    return [*((0, camera) for camera in cameras), *((n, view.camera) for n, view in enumerate(turned, 1))]


def seen_by(avatar: Avatar, motion: Motion, looks: list[Look], settings: Settings) -> list[View]:
    """The views that the looks are, of this avatar."""
    places = poses(avatar, motion, _moving(motion, effort_of(settings)))
    return [View(*places[number], camera) for number, camera in looks]


def source_pictures(
    avatar: Avatar, motion: Motion, looks: list[Look], settings: Settings
) -> list[np.ndarray]:
    """(P, 3) for each look the picture of the avatar."""
    return in_threads(
        lambda view: picture_of(projected(avatar.gaussians, view, settings.smallest_scale), view.camera),
        seen_by(avatar, motion, looks, settings),
    )


def part_of(avatar: Avatar, kept: np.ndarray) -> Avatar:
    """The avatar with only some of its Gaussians."""
    g = avatar.gaussians
    gaussians = Gaussians(g.positions[kept], g.rotations[kept], g.scales[kept], g.opacities[kept], g.sh[kept])
    expressions = avatar.expressions[:, kept] if len(avatar.expression_names) else avatar.expressions
    return replace(
        avatar,
        gaussians=gaussians,
        skin_joints=avatar.skin_joints[kept],
        skin_weights=avatar.skin_weights[kept],
        expressions=expressions,
    )


def as_coded(avatar: Avatar, motion: Motion, settings: Settings) -> Avatar:
    """§6.5 The Gaussians that `encode` keeps, unquantised, in the order in which they will decode."""
    ready = prepared(avatar, motion.on(avatar), settings, lambda what, done, total: None)
    return part_of(ready.avatar, np.concatenate(_orders(ready)))


def _orders(ready: Prepared) -> list[np.ndarray]:
    return chunks(ready.values, min(ready.settings.chunk_size, ready.avatar.gaussians.count))


def fitted(avatar: Avatar, scene: Scene, settings: Settings) -> Avatar:
    """§7.3.5 The avatar with colours and opacities that make up for Gaussians of the scene which it lacks."""
    seen, thin = seen_by(avatar, scene.motion, scene.shown, settings), settings.smallest_scale
    records = in_threads(lambda view: projected(avatar.gaussians, view, thin), seen)
    change = _fit(records, scene, avatar.gaussians.count, settings)
    return replace(avatar, gaussians=_looking(avatar.gaussians, change))


def refitted(ready: Prepared, scene: Scene) -> Prepared:
    """§7.3.5 With colours and opacities that bring the decoded Gaussians nearest to the pictures of the scene."""
    order, g = np.concatenate(_orders(ready)), ready.avatar.gaussians
    decoded, _ = decoded_gaussians(ready)
    sh = np.array(decoded.sh)
    sh[:, 0] = to_integers(g.sh[order, 0], 2.0**-12).clip(-32767, 32767)
    opacity = to_integers(g.opacities[order].clip(0, 1), 2.0**-14).astype(np.int32)
    exact = replace(decoded, sh=sh, opacity=opacity)
    records = in_threads(
        lambda view: decoded_projected(exact, view), _decoded_views(ready, decoded, scene.shown)
    )
    change = np.zeros((g.count, 4))
    change[order] = _fit(records, scene, g.count, ready.settings)
    looks = _looking(g, change)
    colours = colour_values(looks.sh[:, :1], ready.steps)[:, 0]
    appearance = np.concatenate([root_values(looks.opacities, ready.steps), colours], axis=1)
    return replace(ready, values=replace(ready.values, appearance=appearance))


def _fit(records: list[np.ndarray], scene: Scene, count: int, settings: Settings) -> np.ndarray:
    """Opacities stay where they are alike: there every other one would cost more than it mends."""
    cameras = [camera for _, camera in scene.shown]
    free = np.ones((count, 4))
    free[:, 3] = np.ptp(np.quantile(scene.avatar.gaussians.opacities, _BULK)) > _ALIKE
    return refit(records, cameras, scene.pictures, free, effort_of(settings).rounds)


def _looking(gaussians: Gaussians, change: np.ndarray) -> Gaussians:
    """With changes (N, 4) of colours and opacities."""
    sh = gaussians.sh.copy()
    sh[:, 0] += change[:, :3]
    opacities = (gaussians.opacities + change[:, 3]).clip(_LEAST_OPACITY, 1)
    return replace(gaussians, sh=sh, opacities=np.where(change[:, 3] == 0, gaussians.opacities, opacities))


def _decoded_views(ready: Prepared, decoded: Canonical, looks: list[Look]) -> list[View]:
    """The looks at decoded Gaussians."""
    skin = {"skin_joints": decoded.joint, "skin_weights": np.array(decoded.weight) / 2**16}
    posed = replace(part_of(ready.avatar, np.concatenate(_orders(ready))), **skin)
    posed = replace(posed, gaussians=replace(posed.gaussians, positions=np.array(decoded.position) / 2**20))
    return seen_by(posed, ready.motion, looks, ready.settings)


def decoded_gaussians(ready: Prepared) -> tuple[Canonical, int]:
    """§7.3 What a decoder makes of the canonical units, and their bytes."""
    engine, known = Compiled(), ready.known
    values = {**known, "sh_step": engine.take(known["sh_step"])}
    canonical, size = Canonical.empty(engine, values), 0
    for index, rows in enumerate(_orders(ready)):
        part = chunk_values(ready.values.part(rows), ready.steps, ready.theta)
        data = unit("canonical", {"chunk_index": index, **part}, known)
        read = dict(values)
        read_unit(data, next(iter(UnitReader(data))), read, engine.read_port, {})
        canonical.add_chunk(engine, read)
        size += len(data)
    return canonical, size


def structural_units(ready: Prepared, progress: Progress) -> Iterator[bytes]:
    """§5.6, §5.7 The canonical units, then the expression units."""
    known, checksum = ready.known, ready.settings.checksums
    done, positions, orders = 0, [], _orders(ready)
    for index, rows in enumerate(orders):
        part = ready.values.part(rows)
        values = chunk_values(part, ready.steps, ready.theta)
        positions.append(decoded_positions(values, part, ready.steps))
        done += len(rows)
        progress("Gaussians", done, ready.avatar.gaussians.count)
        yield unit("canonical", {"chunk_index": index, **values}, known, checksum=checksum)
    order, neighbour = np.concatenate(orders), surface_neighbours(np.concatenate(positions))
    reach = _C["OFFSET_LIMIT"] / 2**20
    expressions = ready.avatar.expressions
    for e in range(len(ready.avatar.expression_names)):
        offsets = to_integers(
            expressions[e][order].clip(-reach, reach), ready.steps.expression_offset / 2**20
        )
        values = {"expression_index": e, "surface_neighbour": neighbour, **offset_values(offsets, neighbour)}
        progress("expressions", e + 1, len(expressions))
        yield unit("expression", values, known, checksum=checksum)
