"""§5.6, §5.7 The structural layer: what an encoder decides about Gaussians by looking at pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import spec
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Compiled
from reference_decoder.units import UnitReader, read_unit
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
    surface_neighbours,
)
from reference_encoder.quantise import Settings, Steps, integer_steps, step_elements, to_integers
from reference_encoder.refit import decoded_projected, refit_colours
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
# Settings of which others are tried; positions keep their step, which the order of Gaussians follows.
_MOVED = ("scale_blur", "rotation_step", "scale_step", "colour_step", "opacity_step", "sh_step")
_MOVE = 2.0**0.5
_VALUES = 14  # of a Gaussian, over which the error that a picture may have is shared out

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, order=True)
class Effort:
    """What a level of effort tries."""

    cameras: int  # around the rest pose, a quarter of them from above; 0: no pictures, all steps as the settings say
    poses: int  # frames of the motion that are looked at besides
    rounds: int  # of conjugate gradients by which colours are refitted; 0: they stay
    tries: int = 0  # of other steps, coded and looked at: the best are kept


EFFORTS = {
    1: Effort(0, 0, 0),
    2: Effort(4, 2, 0),
    3: Effort(8, 4, 4),
    4: Effort(16, 8, 5),
    5: Effort(16, 8, 10),
    6: Effort(16, 8, 10, 12),
    7: Effort(16, 8, 10, 24),
    8: Effort(16, 8, 10, 36),
    9: Effort(16, 8, 10, 48),
}
"""§5.5 Effort -> what it tries: all that the level below tries, and more.

More than 16 cameras gained nothing that could be told from chance. The tries of a level begin with those of the
level below, whose result is kept if it costs less.
"""


def effort_of(settings: Settings) -> Effort:
    """The nearest level there is."""
    return EFFORTS[min(max(settings.effort, 1), max(EFFORTS))]


@dataclass(frozen=True)
class Prepared:
    """§7.3 The canonical Gaussians as integers, and how they came about."""

    source: Avatar
    motion: Motion
    avatar: Avatar  # the source without the Gaussians that pictures do not need
    steps: Steps
    values: Quantised
    theta: float  # the squared error that a value may make in the pictures (levels squared)
    settings: Settings  # those that the steps follow from
    seen: Sensitivity | None  # of the avatar


def prepared(avatar: Avatar, motion: Motion, settings: Settings, progress: Progress) -> Prepared:
    """§7.3 The avatar without the Gaussians that pictures do not need, and its integers."""
    seen, kept, theta = None, avatar, 0.0
    if effort_of(settings).cameras:
        seen = sensitivity(avatar, views(avatar, motion, settings), settings.smallest_scale, progress)
        theta = settings.picture_step**2 * seen.samples / (_VALUES * avatar.gaussians.count)
        if settings.closeness and (close := portrait(avatar)):
            nearer = sensitivity(avatar, [close], settings.smallest_scale, progress)
            seen = seen.or_more(nearer.weighted(np.full(avatar.gaussians.count, settings.closeness**2)))
        seen = seen.weighted(importance(avatar, settings.face_priority))
    if seen is not None and settings.pruning:
        needed = seen.opacity * np.maximum(avatar.gaussians.opacities, 1e-3) ** 2
        rows = np.flatnonzero(needed >= min(settings.pruning * theta, needed.max()))
        kept, seen = part_of(avatar, rows), seen.part(rows)
    if seen is not None:
        settings = balanced(kept.gaussians, seen, theta, settings)
    steps = integer_steps(kept, settings)
    values = quantised(kept, steps, settings, seen)
    return Prepared(avatar, motion, kept, steps, values, theta, settings, seen)


def changed(ready: Prepared, settings: Settings) -> Prepared:
    """With other settings of steps."""
    steps = integer_steps(ready.avatar, settings)
    values = quantised(ready.avatar, steps, settings, ready.seen)
    return replace(ready, steps=steps, values=values, settings=settings)


def views(avatar: Avatar, motion: Motion, settings: Settings) -> list[list[View]]:
    """For each pose the views that decide where Gaussians may be coarse; the rest pose is the first."""
    effort, result = effort_of(settings), []
    moves = bool(motion.rotations.any() or motion.expressions.any())
    for n, (positions, blends) in enumerate(poses(avatar, motion, min(motion.count, effort.poses) * moves)):
        cameras = ring(positions, min(4, effort.cameras), n / 4, 0.35 * (n % 2))
        if n == 0:
            above = effort.cameras // 4
            cameras = ring(positions, effort.cameras - above, 0, 0) + ring(positions, above, 0.5, 0.35)
        result.append([View(positions, blends, camera) for camera in cameras])
    return result


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
    order = chunks(ready.values, min(settings.chunk_size, avatar.gaussians.count))
    return part_of(ready.avatar, np.concatenate(order))


def refined(ready: Prepared, known: Mapping[str, Any], settings: Settings, progress: Progress) -> Prepared:
    """§7.3.6 With colours that make up for what the quantisation of all else spoils, and the best of what is tried.

    `known` holds the elements of the headers.
    """
    effort = effort_of(settings)
    if not effort.rounds:
        return ready
    shown = picked(views(ready.source, ready.motion, settings))
    source, thin = ready.source.gaussians, settings.smallest_scale
    pictures = in_threads(lambda view: picture_of(projected(source, view, thin), view.camera), shown)
    results: list[tuple[float, int, Prepared]] = []
    done, every = 0, stages(effort)
    for tries in every:
        ready = searched(ready, known, shown, pictures, range(done, tries), progress)
        fitted, done = refitted(ready, known, shown, pictures, effort.rounds), tries
        cost = cost_of(fitted, known, shown, pictures) if len(every) > 1 else 0.0
        results.append((cost, tries, fitted))
        progress("colours", len(results), len(every))
    return min(results, key=lambda result: result[:2])[2]


def stages(effort: Effort) -> list[int]:
    """After how many tries colours are refitted: where the levels end that differ from this one in tries alone."""
    return [each.tries for each in EFFORTS.values() if replace(effort, tries=each.tries) == each <= effort]


def searched(
    ready: Prepared,
    known: Mapping[str, Any],
    shown: list[View],
    pictures: list[np.ndarray],
    tries: range,
    progress: Progress,
) -> Prepared:
    """§5.5 With steps of less cost: one moved at a time, coded and looked at, the best kept.

    `tries` are numbers of moves, which come in turn; ends as soon as none is left that gains.
    """
    names = _MOVED[: len(_MOVED) - (ready.avatar.gaussians.sh_degree == 0)]
    moves = [(name, factor) for name in names for factor in (_MOVE, 1 / _MOVE)]
    best, least, idle = ready, cost_of(ready, known, shown, pictures) if tries else 0.0, 0
    for n in tries:
        progress("steps", n, tries.stop)
        name, factor = moves[n % len(moves)]
        moved = replace(best.settings, **{name: factor * getattr(best.settings, name)})
        tried = changed(best, moved)
        cost = cost_of(tried, known, shown, pictures)
        best, least, idle = (tried, cost, 0) if cost < least else (best, least, idle + 1)
        if idle == len(moves):
            break
    return best


def refitted(
    ready: Prepared, known: Mapping[str, Any], shown: list[View], pictures: list[np.ndarray], rounds: int
) -> Prepared:
    """§7.3.6 With colours that bring the decoded Gaussians nearest to the pictures of the source as `shown`."""
    order = np.concatenate(chunks(ready.values, known["chunk_size"]))
    decoded, _ = decoded_gaussians(ready, known)
    looks = decoded_views(ready, order, decoded, shown)
    colours = refit_colours(decoded, looks, pictures, ready.avatar.gaussians.sh[order, 0], rounds)
    appearance = ready.values.appearance.copy()
    appearance[order, 1:] = colour_values(colours[:, None], ready.steps)[:, 0]
    return replace(ready, values=replace(ready.values, appearance=appearance))


def decoded_views(ready: Prepared, order: np.ndarray, decoded: Canonical, shown: list[View]) -> list[View]:
    """The views `shown` of decoded Gaussians, which are those of the avatar in another order."""
    skin = {"skin_joints": decoded.joint, "skin_weights": np.array(decoded.weight) / 2**16}
    posed = replace(part_of(ready.avatar, order), **skin)
    posed = replace(posed, gaussians=replace(posed.gaussians, positions=np.array(decoded.position) / 2**20))
    again = picked(views(posed, ready.motion, ready.settings))
    return [replace(view, camera=source.camera) for view, source in zip(again, shown, strict=True)]


def cost_of(
    ready: Prepared, known: Mapping[str, Any], shown: list[View], pictures: list[np.ndarray]
) -> float:
    """What bits and errors of pictures cost together: halving the squared error is worth `_VALUES` / 2 bits each."""
    order = np.concatenate(chunks(ready.values, known["chunk_size"]))
    decoded, size = decoded_gaussians(ready, known)
    made = in_threads(
        lambda view: picture_of(decoded_projected(decoded, view), view.camera),
        decoded_views(ready, order, decoded, shown),
    )
    error = sum(float(np.square(one - true).sum()) for one, true in zip(made, pictures, strict=True))
    return np.log2(max(error, 1e-9)) * _VALUES / 2 + 8 * size / len(order)


def picked(groups: list[list[View]]) -> list[View]:
    """The views that colours are fitted to: all of a pose that is alone, else half of it and one of each other."""
    rest, *others = groups
    return [*rest[:: 2 if others else 1], *(views[n % len(views)] for n, views in enumerate(others))]


def decoded_gaussians(ready: Prepared, known: Mapping[str, Any]) -> tuple[Canonical, int]:
    """§7.3 What a decoder makes of the canonical units, and their bytes."""
    engine = Compiled()
    known = {**known, **step_elements(ready.steps)}
    values = {**known, "sh_step": engine.take(known["sh_step"])}
    canonical, size = Canonical.empty(engine, values), 0
    for index, rows in enumerate(chunks(ready.values, known["chunk_size"])):
        part = chunk_values(ready.values.part(rows), ready.steps, ready.theta)
        data = unit("canonical", {"chunk_index": index, **part}, known)
        read = dict(values)
        read_unit(data, next(iter(UnitReader(data))), read, engine.read_port, {})
        canonical.add_chunk(engine, read)
        size += len(data)
    return canonical, size


def structural_units(
    ready: Prepared, known: Mapping[str, Any], settings: Settings, progress: Progress
) -> Iterator[bytes]:
    """§5.6, §5.7 The canonical units, then the expression units."""
    done, positions, orders = 0, [], chunks(ready.values, known["chunk_size"])
    for index, rows in enumerate(orders):
        part = ready.values.part(rows)
        values = chunk_values(part, ready.steps, ready.theta)
        positions.append(decoded_positions(values, part, ready.steps))
        done += len(rows)
        progress("Gaussians", done, ready.avatar.gaussians.count)
        yield unit("canonical", {"chunk_index": index, **values}, known, checksum=settings.checksums)
    order, neighbour = np.concatenate(orders), surface_neighbours(np.concatenate(positions))
    reach = _C["OFFSET_LIMIT"] / 2**20
    expressions = ready.avatar.expressions
    for e in range(len(ready.avatar.expression_names)):
        offsets = to_integers(
            expressions[e][order].clip(-reach, reach), ready.steps.expression_offset / 2**20
        )
        values = {"expression_index": e, "surface_neighbour": neighbour, **offset_values(offsets, neighbour)}
        progress("expressions", e + 1, len(expressions))
        yield unit("expression", values, known, checksum=settings.checksums)
