"""§5 The reference encoder: content -> quantised integers -> units -> bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

import spec
from reference_decoder import Camera, Decoder
from reference_decoder.units import UnitReader, level_limits, motion_units
from reference_encoder.content import Avatar, ContentError, Motion
from reference_encoder.headers import choose_level, counts, headers
from reference_encoder.motion_model import motion_model
from reference_encoder.motion_units import check_control, motion_stream
from reference_encoder.quantise import Settings, check_avatar, to_integers
from reference_encoder.structural import prepared, structural_units
from reference_encoder.units import unit

_C = spec.standard().constant_values
STAGES = {name: number for number, (name, _) in spec.standard().enumerations["stage"].items()}

Progress = Callable[[str, int, int], None]


def encode(
    avatar: Avatar,
    motion: Motion,
    settings: Settings | None = None,
    *,
    cameras: Sequence[Camera] = (),
    description: str = "",
    names: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> bytes:
    """§5 A complete stream; the same bytes for the same input, whatever the number of threads.

    Raises ContentError where the content does not fit the format or the motion does not fit the avatar.
    """
    settings = settings or Settings()
    several = encodings(
        avatar, motion, settings, (settings.random_access,), cameras, description, names, progress
    )
    return next(several)


def encodings(
    avatar: Avatar,
    motion: Motion,
    settings: Settings,
    intervals: Sequence[float],
    cameras: Sequence[Camera] = (),
    description: str = "",
    names: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> Iterator[bytes]:
    """§6.8 What `encode` gives with each of the intervals of random access, in seconds, for `random_access`.

    The Gaussians are coded once, for the first of them.
    """
    check_avatar(avatar)
    motion = motion.on(avatar)
    check_motion(avatar, motion)
    check_control(settings)
    choose_level(counts(avatar))
    ready = prepared(avatar, motion, settings, progress)
    sequence, header = headers(ready.avatar, motion, ready.steps, settings)
    limits = level_limits(spec.standard(), sequence["level"])
    model = motion_model(ready.avatar, motion)
    structural = b"".join(structural_units(ready, progress))
    for interval in intervals:
        chosen = replace(settings, random_access=interval)
        codes, motions = motion_stream(model, motion, chosen, limits | header, progress)
        stream = [
            unit("sequence", sequence, {}, checksum=settings.checksums),
            unit("avatar", {**header, "step_code": codes}, limits, checksum=settings.checksums),
            *metadata(ready.avatar, cameras, description, names),
            structural,
            *motions,
            unit("end", {"end_frame_count": motion.count}, {}, checksum=settings.checksums),
        ]
        yield b"".join(stream)


def check_motion(avatar: Avatar, motion: Motion) -> None:
    """Refuses a motion that does not fit the avatar, saying what each has."""
    frames, joints, _ = motion.rotations.shape
    if frames == 0:
        raise ContentError("the motion has no frames")
    if joints != avatar.rig.count:
        raise ContentError(f"the motion has {joints} joints, the avatar's rig has {avatar.rig.count}")
    if motion.expressions.shape[1] != len(avatar.expression_names):
        raise ContentError(
            f"the motion has {motion.expressions.shape[1]} expression weights, the avatar has "
            f"{len(avatar.expression_names)} expressions"
        )
    for name in ("rotations", "translations", "expressions"):
        bad = ~np.isfinite(getattr(motion, name)).reshape(frames, -1).all(axis=1)
        if bad.any():
            raise ContentError(f"the motion's {name} are not finite in frame {int(np.argmax(bad))}")


def metadata(avatar: Avatar, cameras: Sequence[Camera], description: str, names: bool) -> Iterator[bytes]:
    """§5.9 The metadata units of the start of a stream."""
    for number, camera in enumerate(cameras):
        yield unit("metadata", camera_values(number, camera), {})
    lists = (("JOINT_NAME", avatar.rig.names), ("EXPRESSION_NAME", avatar.expression_names))
    for kind, texts in lists if names else ():
        for number, text in enumerate(texts):
            values = {
                "metadata_type": _C[f"METADATA_TYPE_{kind}"],
                "name_index": number,
                "name_text": text.encode(),
            }
            yield unit("metadata", values, {})
    if description:
        values = {"metadata_type": _C["METADATA_TYPE_DESCRIPTION"], "description_text": description.encode()}
        yield unit("metadata", values, {})


def camera_values(number: int, camera: Camera) -> dict[str, Any]:
    """§5.9 The elements of a camera; its rotation becomes a rotation vector."""
    vector = Rotation.from_matrix(np.asarray(camera.rotation, float) / 2**30).as_rotvec()
    return {
        "metadata_type": _C["METADATA_TYPE_CAMERA"],
        "camera_id": number,
        "camera_width": camera.width,
        "camera_height": camera.height,
        "camera_background": camera.background,
        "camera_rotation": to_integers(vector, 2.0**-28),
        "camera_translation": camera.translation,
        "camera_focal": camera.focal,
        "camera_principal": camera.principal,
    }


def add_hashes(
    data: bytes,
    stages: Sequence[str],
    *,
    every: int = 1,
    camera: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> bytes:
    """§5.9 The stream with the hashes of `stages` for every `every`-th frame, behind the unit of that frame."""
    decoder = Decoder(data, strict=True)
    digests: dict[int, dict[str, bytes]] = {}
    for frame in decoder.frames():
        if frame.index % every == 0:
            view = decoder.cameras.get(camera)
            digests[frame.index] = {
                stage: frame.digest(stage, view)
                for stage in stages
                if stage in frame.stages and (stage not in ("projected", "pixels") or view)
            }
            progress("hashes", frame.index + 1, decoder.end_frame_count or 0)
    output, carried = [], {unit.index: range(first, first + n) for unit, _, first, n in motion_units(data)}
    for piece in UnitReader(data):
        output.append(data[piece.start : piece.end])
        output += [hash_unit(f, digests[f], camera) for f in carried.get(piece.index, ()) if f in digests]
    return b"".join(output)


def hash_unit(frame: int, digests: Mapping[str, bytes], camera: int) -> bytes:
    """§5.9 A metadata unit with the digests of one frame."""
    values = {
        "metadata_type": _C["METADATA_TYPE_HASHES"],
        "hash_frame": frame,
        "hash_camera": camera,
        "hash_stages": sum(1 << STAGES[stage] for stage in digests),
        "hash_digest": {STAGES[stage]: digest for stage, digest in digests.items()},
    }
    return unit("metadata", values, {})
