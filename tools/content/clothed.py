"""A ground truth that anyone may have: multi-view video of the shipped body in clothes that move with the pose.

It is content, not codec. Pictures, masks and calibration are laid out as in THuman4.0, so that the loader of
the public sets reads them; poses of the body's own rig and the bare avatar stand beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from reference_decoder.rendering import Camera, render
from reference_encoder.avatar_file import save_avatar
from reference_encoder.content import Avatar, Gaussians, Motion, Rig
from reference_encoder.float_model import blend_matrices, forward_kinematics, skin_points
from reference_encoder.quality import quaternion_matrices
from reference_encoder.retarget import match_expressions
from reference_encoder.splat_check import SH_C0
from tools import terminal
from tools.content import CLIPS, body_avatar, clip, head_track
from tools.content.drape import Drape

HELD_OUT = 0.2  # the last part of each clip, which no training picture shows
_DISTANCE, _HEIGHT, _TARGET, _VIEW = 3.6, 1.25, 1.02, 0.62  # metres, metres, metres, radians


@dataclass(frozen=True)
class Plan:
    """What is rendered: pictures of `size` x `size` from `cameras` on a ring, every `stride`-th pose of clips."""

    size: int = 256
    cameras: int = 8
    stride: int = 6
    clips: tuple[str, ...] = tuple(CLIPS)
    gaussians: int = 64_000  # of the person in the pictures
    template: int = 64_000  # of the bare avatar that training starts from

    @classmethod
    def tiny(cls) -> Plan:
        """A set for tests: it takes seconds."""
        return cls(size=64, cameras=4, stride=24, clips=("walk", "run"), gaussians=8_000, template=2_000)


def make_clothed(
    folder: Path, plan: Plan, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> None:
    """Writes the set: `avatar.npz`, `motion.npz`, `calibration.json`, `images/camNN`, `masks/camNN`.

    `motion.npz` also says which frames are for training and which are held out. Raises OSError.
    """
    avatar = thinned(body_avatar(), plan.gaussians)
    motion, held_out = poses(avatar, plan)
    folder.mkdir(parents=True, exist_ok=True)
    save_avatar(folder / "avatar.npz", thinned(avatar, plan.template))
    _save_motion(folder / "motion.npz", motion, held_out)
    cameras = ring(plan)
    (folder / "calibration.json").write_text(json.dumps(_calibration(cameras), indent=1))
    for name in cameras:
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        (folder / "masks" / name).mkdir(parents=True, exist_ok=True)
    for frame, pictures in enumerate(_pictures(avatar, motion, list(cameras.values()))):
        for name, picture in zip(cameras, pictures, strict=True):
            Image.fromarray(picture[..., :3]).save(folder / "images" / name / f"{frame:08d}.png")
            Image.fromarray(picture[..., 3]).save(folder / "masks" / name / f"{frame:08d}.png")
        progress("rendering", frame + 1, motion.count)


def thinned(avatar: Avatar, count: int) -> Avatar:
    """The avatar with only about `count` of its Gaussians, wider by as much as they are fewer."""
    every = max(1, avatar.gaussians.count // count)
    kept, g = slice(None, None, every), avatar.gaussians
    fewer = Gaussians(
        g.positions[kept], g.rotations[kept], g.scales[kept] * every**0.5, g.opacities[kept], g.sh[kept]
    )
    return replace(
        avatar,
        gaussians=fewer,
        skin_joints=avatar.skin_joints[kept],
        skin_weights=avatar.skin_weights[kept],
        expressions=avatar.expressions[:, kept],
    )


def poses(avatar: Avatar, plan: Plan) -> tuple[Motion, np.ndarray]:
    """The clips one after the other on the spot, the face by the ARKit track; which frames are held out."""
    faces = match_expressions(head_track(), avatar.expression_names).expressions
    parts, held_out, start = [], [], 0
    for name in plan.clips:
        moves = clip(name)
        still = moves.translations * [0.0, 1.0, 0.0]
        shown = np.arange(0, moves.count, plan.stride)
        face = faces[(start + np.arange(moves.count)) % len(faces)]
        parts.append((moves.rotations[shown], still[shown], face[shown]))
        held_out.append(shown >= (1 - HELD_OUT) * moves.count)
        start += moves.count
    rotations, translations, expressions = (np.concatenate(values) for values in zip(*parts, strict=True))
    rotations, translations = _rooted(avatar.rig, rotations, translations)
    motion = Motion(
        rotations,
        translations,
        expressions,
        Fraction(30, plan.stride),
        avatar.rig.names,
        avatar.expression_names,
    )
    return motion, np.concatenate(held_out)


def _rooted(rig: Rig, rotations: np.ndarray, translations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same poses with the turn of the whole body at the root joint, whose child the pelvis is.

    The rig's root stands on the floor and clips leave it alone; a generator looks at the body from its root.
    """
    turned = rotations.copy()
    turned[:, 0], turned[:, 1] = rotations[:, 1], 0.0
    lever = rig.joints[1] - rig.joints[0]
    return turned, translations + lever - Rotation.from_rotvec(rotations[:, 1]).apply(lever)


def ring(plan: Plan) -> dict[str, Camera]:
    """Cameras around the spot, every other one higher up, by name."""
    found = {}
    for number in range(plan.cameras):
        turn = 2 * np.pi * number / plan.cameras
        height = _HEIGHT + (0.6 if number % 2 else 0.0)
        eye = np.array([_DISTANCE * np.sin(turn), height, _DISTANCE * np.cos(turn)])
        found[f"cam{number:02d}"] = Camera.look_at(
            eye, np.array([0.0, _TARGET, 0.0]), plan.size, plan.size, _VIEW
        )
    return found


def _pictures(avatar: Avatar, motion: Motion, cameras: list[Camera]) -> Iterator[list[np.ndarray]]:
    drape, g = Drape(avatar), avatar.gaussians
    shape = quaternion_matrices(g.rotations) * g.scales[:, None, :]
    for frame in range(motion.count):
        moved, light = drape(motion.rotations[frame], motion.expressions[frame])
        positions = g.positions + np.tensordot(motion.expressions[frame], avatar.expressions, 1) + moved
        matrices = forward_kinematics(avatar.rig, motion.rotations[frame], motion.translations[frame])
        blends = blend_matrices(avatar.skin_joints, avatar.skin_weights, matrices)[..., :3]
        integers = (
            _rounded(skin_points(positions, avatar.skin_joints, avatar.skin_weights, matrices), 20),
            _rounded(blends @ shape, 24),
            _rounded(blends, 30),
            _rounded(g.opacities, 14),
            _rounded(lit(g.sh, light), 12),
        )
        yield [render(*integers, camera) for camera in cameras]


def lit(sh: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Coefficients (N, K, 3) of colours multiplied by `light` (N,)."""
    shaded = sh * light[:, None, None]
    shaded[:, 0] += 0.5 / SH_C0 * (light[:, None] - 1)
    return shaded


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(values * 2.0**bits).astype(np.int32)


def _calibration(cameras: dict[str, Camera]) -> dict[str, dict[str, object]]:
    """THuman4.0's entries, and `background`: the colour that is known to be behind the person."""
    return {
        name: {
            "K": [
                c.focal[0] / 256,
                0,
                c.principal[0] / 256,
                0,
                c.focal[1] / 256,
                c.principal[1] / 256,
                0,
                0,
                1,
            ],
            "R": (np.ravel(c.rotation) / 2**30).tolist(),
            "T": (c.translation / 2**20).tolist(),
            "imgSize": [c.width, c.height],
            "background": list(c.background),
        }
        for name, c in cameras.items()
    }


def _save_motion(path: Path, motion: Motion, held_out: np.ndarray) -> None:
    np.savez_compressed(
        path,
        rotations=motion.rotations.astype(np.float32),
        translations=motion.translations.astype(np.float32),
        expressions=motion.expressions.astype(np.float32),
        joint_names=np.array(motion.joint_names),
        expression_names=np.array(motion.expression_names),
        fps=float(motion.fps),
        held_out=held_out,
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--tiny", is_flag=True, help="A set for tests, in seconds.")
@click.option("--size", default=Plan.size, show_default=True, help="Width and height of the pictures.")
@click.option("--cameras", default=Plan.cameras, show_default=True)
@click.option("--stride", default=Plan.stride, show_default=True, help="Every how many frames of the clips.")
def main(folder: Path, tiny: bool, size: int, cameras: int, stride: int) -> None:
    """Render the shipped body in clothes that move with its pose into FOLDER, for `hga train`."""
    plan = Plan.tiny() if tiny else Plan(size=size, cameras=cameras, stride=stride)
    with terminal.progress() as progress:
        make_clothed(folder, plan, progress)


if __name__ == "__main__":
    main()
