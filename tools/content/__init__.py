"""The people, motions and cameras that ship with HGA, ready to encode: their sources are in SOURCES.md."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from reference_decoder.rendering import Camera
from reference_encoder.content import Avatar, ContentError, Motion
from reference_encoder.float_model import joint_matrices
from reference_encoder.motions import load_motion, resample
from reference_encoder.retarget import retarget
from reference_encoder.splats import load_lam_head
from tools.content.body import DATA, body_rig, make_body

CLIPS = {
    "walk": "cmu_12_01_walk.npz",
    "run": "cmu_02_03_run_jog.npz",
    "cartwheel": "cmu_49_08_cartwheel.npz",
    "wave": "fair1_wave_hello.npz",
    "punch": "cmu_02_05_punch_strike.npz",
    "dab": "fair1_dab.npz",
}
HEAD_FILE = "lam_webrender_p2-1.zip"
TRACK_FILE = "lam_test_expression_1s.json.gz"
RATE = Fraction(30)
BACKGROUND = (206, 208, 212)  # a light grey that skin, denim and hair all stand out from
_VIEW = 0.35  # radians across the height: a portrait lens
_TURN = 0.35  # radians by which the camera stands aside of the front
# How the head's rotation is shared out over the joints of a LAM rig.
_NECK_SHARES = {"neckUpper": 0.4, "head": 0.6}


@cache
def body_avatar() -> Avatar:
    """The dressed full body of `make_body` with its defaults: 64,000 Gaussians, made once per process."""
    return make_body()


@cache
def head_avatar() -> Avatar:
    """The LAM head: 20,018 Gaussians on 10 joints with 51 ARKit expressions."""
    return load_lam_head(DATA / HEAD_FILE)


def clip(name: str, *, fps: Fraction = RATE) -> Motion:
    """One of CLIPS on the body's rig at `fps`; it begins above the origin and facing +z. Raises ContentError."""
    if name not in CLIPS:
        raise ContentError(f"clip: {name!r} is not one of {', '.join(CLIPS)}")
    motion = resample(load_motion(DATA / CLIPS[name]), fps)
    pelvis = Rotation.from_rotvec(motion.rotations[:, 0])
    facing = pelvis[0].apply([0.0, 0.0, 1.0])
    turn = Rotation.from_rotvec([0.0, -np.arctan2(facing[0], facing[2]), 0.0])
    rotations = motion.rotations.copy()
    rotations[:, 0] = (turn * pelvis).as_rotvec()
    translations = turn.apply(motion.translations - motion.translations[0] * [1.0, 0.0, 1.0])
    return retarget(replace(motion, rotations=rotations, translations=translations), body_rig())


def head_track() -> Motion:
    """The ARKit track (973 frames at 30 fps) on the LAM head: its expressions by name, head and neck turned."""
    rig, names = head_avatar().rig, head_avatar().expression_names
    track = load_motion(DATA / TRACK_FILE)
    rotations = np.zeros((track.count, rig.count, 3))
    for joint, share in _NECK_SHARES.items():
        rotations[:, rig.names.index(joint)] = share * track.rotations[:, 0]
    column = {name: index for index, name in enumerate(track.expression_names)}
    return replace(
        track,
        rotations=rotations,
        expressions=track.expressions[:, [column[name] for name in names]],
        joint_names=rig.names,
        expression_names=names,
    )


def body_camera(
    width: int, height: int, *, motion: Motion | None = None, frame: int | None = None, turn: float = _TURN
) -> Camera:
    """A camera on the whole body, `turn` radians aside of its front (pi for the back).

    It frames the rest pose, or all the space that `motion` takes; with `frame` it goes with the body: it
    frames what the motion would take on the spot, around where the pelvis is in that frame.
    """
    rig = body_rig()
    if motion is None:
        points = rig.joints
    else:
        points = joint_matrices(rig, motion.rotations, motion.translations)[..., 3]
        if frame is not None:
            way = points[:, rig.names.index("pelvis")] * [1.0, 0.0, 1.0]
            points = points - way[:, None] + way[frame]
        points = points.reshape(-1, 3)
    margin = np.array([0.14, 0.22, 0.14])  # what is around the joints: the crown, finger tips, hair
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    low[1] = max(low[1], -0.06)
    return _framed((low, high), width, height, turn)


def head_camera(width: int, height: int, *, turn: float = 0.0) -> Camera:
    """A camera on the LAM head, from the neck up, `turn` radians aside of its front."""
    head = head_avatar().gaussians.positions
    low, high = np.quantile(head, 0.002, axis=0), np.quantile(head, 0.998, axis=0)
    return _framed((low, high), width, height, turn)


def _framed(box: tuple[np.ndarray, np.ndarray], width: int, height: int, turn: float) -> Camera:
    """A level camera from which a box just fits into the image, seen from `turn` aside of +z."""
    low, high = box
    middle, half = (low + high) / 2, (high - low) / 2
    towards = np.array([np.sin(turn), 0.0, np.cos(turn)])
    across = np.array([np.cos(turn), 0.0, -np.sin(turn)])
    corners = np.array(list(np.ndindex(2, 2, 2))) * 2 * half - half
    # The frustum's sides must lie outside every corner: its distance beyond the corner's own depth.
    slope = np.tan(_VIEW / 2)
    reach = np.maximum(np.abs(corners[:, 1]) / slope, np.abs(corners @ across) / (slope * width / height))
    distance = 1.04 * (reach + corners @ towards).max()
    return Camera.look_at(middle + distance * towards, middle, width, height, _VIEW, background=BACKGROUND)
