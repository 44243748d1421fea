"""§A.3.3 Streams of real content, cut down to a few Gaussians and frames: what random streams do not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import spec
from conformance.edits import EditError, Made, cut
from reference_decoder import Camera
from reference_encoder.bind import bind
from reference_encoder.content import Avatar, Gaussians, Motion
from reference_encoder.encode import encode
from reference_encoder.motions import load_motion
from reference_encoder.quantise import Settings
from reference_encoder.retarget import retarget
from reference_encoder.rigs import BodyMesh, load_rig
from reference_encoder.splats import load_lam_head

DATA = Path(spec.__file__).parents[1] / "tools" / "content" / "data"


@dataclass(frozen=True)
class Content:
    """What is taken of the shipped content."""

    avatar: str  # head or body
    clip: str  # the file of its motion
    gaussians: int = 300
    frames: int = 8
    first: int = 0  # frame of the clip
    stride: int = 1  # frames of the clip for one of the stream
    size: int = 48  # width and height of the picture in pixels
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the encoder


def content_units(settings: Mapping[str, Any]) -> list[Made]:
    """§5 The units of the stream of some real content; raises EditError for settings that there are not."""
    known = {each.name for each in fields(Content)}
    if unknown := settings.keys() - known:
        raise EditError(f"content has no setting '{min(unknown)}', only {', '.join(sorted(known))}")
    wanted = Content(**settings)
    if wanted.avatar not in ("head", "body"):
        raise EditError(f"there is no avatar '{wanted.avatar}', only head and body")
    avatar, motion = _head(wanted) if wanted.avatar == "head" else _body(wanted)
    chosen = np.linspace(0, avatar.gaussians.count - 1, wanted.gaussians).astype(np.int64)
    camera = _camera(avatar, wanted.size)
    options = Settings(**{"effort": 1, **wanted.settings})
    return cut(encode(_part(avatar, chosen), _cut(motion, wanted), options, cameras=[camera]))


def _head(wanted: Content) -> tuple[Avatar, Motion]:
    """A captured head with its expressions, moved by a track of ARKit weights."""
    avatar, track = _captured_head(), load_motion(DATA / wanted.clip)
    column = {name: index for index, name in enumerate(track.expression_names)}
    rotations = np.zeros((track.count, avatar.rig.count, 3))
    rotations[:, -1] = track.rotations[:, 0]
    expressions = track.expressions[:, [column[name] for name in avatar.expression_names]]
    return avatar, replace(track, rotations=rotations, expressions=expressions)


@cache
def _captured_head() -> Avatar:
    return load_lam_head(DATA / "lam_webrender_p2-1.zip")


@cache
def _rig() -> BodyMesh:
    return load_rig(DATA / "makehuman_body_53j.npz")


def _body(wanted: Content) -> tuple[Avatar, Motion]:
    """Round Gaussians on the skin of a body, coloured by where they are, moved by a motion capture clip."""
    mesh = _rig()
    points = mesh.vertices[np.linspace(0, mesh.count - 1, wanted.gaussians).astype(np.int64)]
    count = len(points)
    low, high = points.min(axis=0), points.max(axis=0)
    colour = (points - low) / (high - low) * 2 - 1
    skin = Gaussians(
        points, np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)), np.full((count, 3), 0.03), np.full(count, 0.9),
        colour[:, None, :],
    )  # fmt: skip
    return bind(skin, mesh), retarget(load_motion(DATA / wanted.clip), mesh.rig)


def _part(avatar: Avatar, chosen: np.ndarray) -> Avatar:
    """The avatar with some of its Gaussians."""
    g = avatar.gaussians
    kept = Gaussians(*(array[chosen] for array in (g.positions, g.rotations, g.scales, g.opacities, g.sh)))
    expressions = avatar.expressions[:, chosen] if len(avatar.expression_names) else avatar.expressions
    return replace(
        avatar, gaussians=kept, skin_joints=avatar.skin_joints[chosen],
        skin_weights=avatar.skin_weights[chosen], expressions=expressions,
    )  # fmt: skip


def _cut(motion: Motion, wanted: Content) -> Motion:
    """The frames of the clip that are wanted."""
    frames = slice(wanted.first, wanted.first + wanted.frames * wanted.stride, wanted.stride)
    return replace(
        motion, rotations=motion.rotations[frames], translations=motion.translations[frames],
        expressions=motion.expressions[frames], fps=motion.fps / wanted.stride,
    )  # fmt: skip


def _camera(avatar: Avatar, size: int) -> Camera:
    """A camera before the middle of the avatar from which it fits into the picture."""
    points = avatar.gaussians.positions
    low, high = np.quantile(points, 0.01, axis=0), np.quantile(points, 0.99, axis=0)
    middle = (low + high) / 2
    away = 2.2 * float(np.max(high - low))
    eye = middle + np.array([0.3 * away, 0.0, away])
    return Camera.look_at(eye, middle, size, size, 0.5, background=(40, 60, 80))
