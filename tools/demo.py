"""The demonstration: both shipped avatars go from content to stream to Gaussians to pixels to hashes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from reference_decoder import Camera, Decoder
from reference_decoder.units import UnitReader
from reference_encoder.content import Avatar, Motion
from reference_encoder.encode import add_hashes, encode
from reference_encoder.quality import decoded_float_picture, fidelity, source_picture
from tools import content, pictures, terminal
from tools.verification import carried, compare

SIZE = 512
HASHED_STAGES = ("symbols", "pose", "joints", "gaussians", "projected", "pixels")
HASH_EVERY = 10
MEASURED_FRAMES = 5
HEAD_FRAMES = 300


@dataclass(frozen=True)
class Subject:
    """An avatar, what it does, the stream's camera and the camera of the pictures, which may go with it."""

    name: str
    avatar: Avatar
    motion: Motion
    camera: Camera
    following: Callable[[int], Camera]


def subjects() -> Iterator[Subject]:
    """The full body walking through a whole CMU clip, and 300 frames of the LAM head's own ARKit track."""
    walk = content.clip("walk")
    whole = content.body_camera(SIZE, SIZE, motion=walk)
    follow = partial(content.body_camera, SIZE, SIZE, motion=walk)
    yield Subject("body", content.body_avatar(), walk, whole, lambda frame: follow(frame=frame))
    track = content.head_track()
    track = replace(
        track,
        rotations=track.rotations[:HEAD_FRAMES],
        translations=track.translations[:HEAD_FRAMES],
        expressions=track.expressions[:HEAD_FRAMES],
    )
    portrait = content.head_camera(SIZE, SIZE)
    yield Subject("head", content.head_avatar(), track, portrait, lambda frame: portrait)


def run(folder: Path) -> bool:
    """Makes everything in `folder`; whether every hash of both streams was confirmed."""
    folder.mkdir(parents=True, exist_ok=True)
    confirmed, sheets = True, []
    for subject in subjects():
        terminal.say(
            f"\n{subject.name}: {subject.avatar.gaussians.count:,} Gaussians, {subject.motion.count} frames"
        )
        start = time.perf_counter()
        with terminal.progress() as progress:
            plain = encode(subject.avatar, subject.motion, cameras=[subject.camera], progress=progress)
        encoding = time.perf_counter() - start
        with terminal.progress() as progress:
            data = add_hashes(plain, HASHED_STAGES, every=HASH_EVERY, progress=progress)
        path = folder / f"{subject.name}.hga"
        path.write_bytes(data)
        _print_bytes(subject, plain, data, encoding)
        images = _decode_and_draw(subject, data, folder)
        sheets += images
        confirmed &= _print_verification(path)
    pictures.save_png(folder / "contact_sheet.png", pictures.sheet(sheets, 2, MEASURED_FRAMES))
    terminal.say(
        f"\nLook at {folder / 'contact_sheet.png'}, {folder / 'body.mp4'} and {folder / 'head.mp4'}."
    )
    return confirmed


def _print_bytes(subject: Subject, plain: bytes, data: bytes, encoding: float) -> None:
    layers: Counter[str] = Counter()
    for unit in UnitReader(plain):
        layers[unit.type] += unit.end - unit.start
    rows = [(name, f"{size:,}", f"{100 * size / len(plain):.1f} %") for name, size in layers.most_common()]
    rows.append(("stream", f"{len(plain):,}", f"{encoding:.1f} s to encode"))
    rows.append(("stage hashes for verification", f"{len(data) - len(plain):,}", "can be left out"))
    terminal.table(f"{subject.name}.hga by layer", ("layer", "bytes>", ">"), rows)
    per_frame = layers["motion"] / subject.motion.count
    rate = per_frame * 8 * float(subject.motion.fps) / 1000
    print(f"motion: {per_frame:.1f} bytes per frame, {rate:.1f} kbit/s at {subject.motion.fps} frames/s")


def _decode_and_draw(subject: Subject, data: bytes, folder: Path) -> list[np.ndarray]:
    """Writes the video, prints fidelity and speed, and returns the pictures for the contact sheet."""
    start = time.perf_counter()
    frames = [pictures.fresh(frame) for frame in Decoder(data, strict=True).frames()]
    decoding = time.perf_counter() - start
    cameras = [subject.following(frame.index) for frame in frames]
    start = time.perf_counter()
    images = [pictures.fresh(frame).render(camera) for frame, camera in zip(frames, cameras, strict=True)]
    drawing = time.perf_counter() - start
    print(
        f"Gaussians: {len(frames[0].canonical.position):,} of {subject.avatar.gaussians.count:,}, "
        "the rest being none that pictures miss"
    )
    pictures.save_video(folder / f"{subject.name}.mp4", (i[..., :3] for i in images), subject.motion.fps)
    chosen = pictures.spread(frames, MEASURED_FRAMES)
    rows = []
    for frame in chosen:
        decoded, camera = images[frame.index], cameras[frame.index]
        source = fidelity(decoded, source_picture(subject.avatar, subject.motion, frame.index, camera))
        arithmetic = fidelity(decoded, decoded_float_picture(pictures.fresh(frame), camera))
        figures = (source.picture, source.object, arithmetic.picture, arithmetic.object)
        rows.append((frame.index, *(f"{figure:.1f}" for figure in figures)))
    terminal.table(
        f"{subject.name}: PSNR in dB at {SIZE}x{SIZE} of the integer picture of the decoded avatar",
        (
            "frame>",
            "against float64 of the source>",
            "on the avatar>",
            "float64 of the decoded>",
            "on the avatar>",
        ),
        rows,
    )
    print(
        f"decoded {len(frames)} frames in {decoding:.2f} s, with the avatar; "
        f"skinned and drawn in {1000 * drawing / len(frames):.1f} ms per frame"
    )
    return [images[frame.index][..., :3] for frame in chosen]


def _print_verification(path: Path) -> bool:
    """Decodes the file again and compares every stage hash that it carries."""
    decoder = Decoder(path.read_bytes())
    frames = list(decoder.frames())
    expected, cameras = carried(decoder)
    compared, differences = 0, []
    for frame in frames:
        stages, difference = compare(frame, expected, cameras.get(frame.index))
        compared += len(stages)
        differences += [difference] if difference else []
    for difference in differences[:1]:
        print(f"{path.name}: frame {difference.frame} differs in {difference.stage}: {difference.where}")
    if not differences:
        print(f"{path.name}: all {compared} stage hashes of the stream confirmed")
    return compared > 0 and not differences


if __name__ == "__main__":
    sys.exit(0 if run(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")) else 1)
