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
from reference_encoder.quantise import Settings, Steps, integer_steps, to_integers
from reference_encoder.refit import refit_colours
from reference_encoder.sensitivity import View, poses, projected, ring, sensitivity
from reference_encoder.units import unit

_C = spec.standard().constant_values
_ROUNDS = 10

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    """§7.3 The canonical Gaussians as integers, and how they came about."""

    source: Avatar
    motion: Motion
    avatar: Avatar  # the source without the Gaussians that pictures do not need
    steps: Steps
    values: Quantised
    theta: float  # the squared error that a value may make in the pictures (levels squared)


def prepared(avatar: Avatar, motion: Motion, settings: Settings, progress: Progress) -> Prepared:
    """§7.3 The avatar without the Gaussians that pictures do not need, and its integers."""
    seen, kept, theta = None, avatar, 0.0
    if settings.effort > 1:
        groups = views(avatar, motion, settings)
        seen = sensitivity(avatar, groups, settings.smallest_scale, progress)
        theta = settings.picture_step**2 * seen.samples / (14 * avatar.gaussians.count)
    if seen is not None and settings.pruning:
        needed = seen.opacity * np.maximum(avatar.gaussians.opacities, 1e-3) ** 2
        rows = np.flatnonzero(needed >= min(settings.pruning * theta, needed.max()))
        kept, seen = part_of(avatar, rows), seen.part(rows)
    steps = integer_steps(kept, settings)
    return Prepared(avatar, motion, kept, steps, quantised(kept, steps, settings, seen), theta)


def views(avatar: Avatar, motion: Motion, settings: Settings) -> list[list[View]]:
    """For each pose the views that decide where Gaussians may be coarse; the rest pose is the first."""
    more = settings.effort >= 4
    result = []
    for n, (positions, blends) in enumerate(poses(avatar, motion, pose_count(motion, settings))):
        cameras = ring(positions, 8 if n == 0 else 4, n / 4, 0.35 * (n % 2))
        if n == 0 and more:
            cameras += ring(positions, 8, 0.5, 0.35)
        result.append([View(positions, blends, camera) for camera in cameras])
    return result


def pose_count(motion: Motion, settings: Settings) -> int:
    """How many frames are looked at besides the rest pose."""
    if not motion.rotations.any() and not motion.expressions.any():
        return 0
    return min(motion.count, 12 if settings.effort >= 7 else 8 if settings.effort >= 4 else 4)


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


def refined(ready: Prepared, known: Mapping[str, Any], settings: Settings, progress: Progress) -> Prepared:
    """§7.3.6 With colours that make up for what the quantisation of all else spoils, from effort 3 on.

    `known` holds the elements of the headers.
    """
    if settings.effort < 3:
        return ready
    order = np.concatenate(chunks(ready.values, known["chunk_size"]))
    decoded = decoded_gaussians(ready, known)
    shown = picked(views(ready.source, ready.motion, settings))
    posed = replace(
        part_of(ready.avatar, order), skin_joints=decoded.joint, skin_weights=np.array(decoded.weight) / 2**16
    )
    posed = replace(posed, gaussians=replace(posed.gaussians, positions=np.array(decoded.position) / 2**20))
    again = picked(views(posed, ready.motion, settings))
    looks = [replace(view, camera=source.camera) for view, source in zip(again, shown, strict=True)]
    progress("colours", 0, 1)
    pictures = in_threads(
        lambda view: picture_of(
            projected(ready.source.gaussians, view, settings.smallest_scale), view.camera
        ),
        shown,
    )
    colours = refit_colours(decoded, looks, pictures, posed.gaussians.sh[:, 0], _ROUNDS)
    appearance = ready.values.appearance.copy()
    appearance[order, 1:] = colour_values(colours[:, None], ready.steps)[:, 0]
    progress("colours", 1, 1)
    return replace(ready, values=replace(ready.values, appearance=appearance))


def picked(groups: list[list[View]]) -> list[View]:
    """The views that colours are fitted to: all of a pose that is alone, else half of it and one of each other."""
    rest, *others = groups
    return [*rest[:: 2 if others else 1], *(views[n % len(views)] for n, views in enumerate(others))]


def decoded_gaussians(ready: Prepared, known: Mapping[str, Any]) -> Canonical:
    """§7.3 What a decoder makes of the canonical units."""
    engine = Compiled()
    values = {**known, "sh_step": engine.take(known["sh_step"])}
    canonical = Canonical.empty(engine, values)
    for index, rows in enumerate(chunks(ready.values, known["chunk_size"])):
        part = chunk_values(ready.values.part(rows), ready.steps, ready.theta)
        data = unit("canonical", {"chunk_index": index, **part}, known)
        read = dict(values)
        read_unit(data, next(iter(UnitReader(data))), read, engine.read_port, {})
        canonical.add_chunk(engine, read)
    return canonical


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
