"""From files to an avatar and the motion that fits it, and the encoder's settings as options."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from reference_decoder import Camera
from reference_encoder.avatar_file import load_avatar
from reference_encoder.bind import NO_FIT, Fit, align, better_orientation, bind, measure_fit
from reference_encoder.content import Avatar, ContentError, Motion, Rig
from reference_encoder.motions import load_bvh, load_motion, resample
from reference_encoder.quantise import Settings
from reference_encoder.retarget import match_expressions, retarget, t_pose
from reference_encoder.rigs import BodyMesh, load_rig
from reference_encoder.skeletons import smplx_names
from reference_encoder.splats import load_gaussians
from tools import terminal
from tools.cameras import Bounds, parse_view
from tools.parameters import Span

QUALITIES = {"high": 0.5, "normal": 1.0, "small": 2.0, "tiny": 4.0}
"""By how much each preset multiplies every quantiser step."""

_HELP = {  # of the settings whose unit, which stands beside them in `Settings`, does not say all
    "position_step": "At effort 1: quantiser step of positions, m",
    "scale_step": "At effort 1: quantiser step of the sizes of Gaussians, octaves",
    "rotation_step": "At effort 1: quantiser step of the rotations of Gaussians, rad",
    "opacity_step": "At effort 1: quantiser step of opacities",
    "colour_step": "At effort 1: quantiser step of colours: spherical harmonics band 0, in units of the coefficient",
    "sh_step": "At effort 1: quantiser step of spherical harmonics bands 1 to 3, in units of the coefficient",
    "smallest_scale": "Thinner Gaussians become as thick as this, m: they look the same",
    "face_priority": "How many times smaller errors of face and hands shall be; the rest gets coarser for it",
    "closeness": "How much errors count in pictures of the head alone, beside those of everything; 0: not at all",
    "influences": "Joints per Gaussian, 1 to 8",
    "weight_bits": "Skinning weights sum to 2 to this power, 9 to 16",
    "expression_step": "Quantiser step of expression offsets, m",
    "expression_weight_step": "Quantiser step of the weights of expressions in a frame",
    "effort": "1 to 9: how much the encoder tries, as said above",
    "picture_step": "Error that a picture may have, in 8-bit levels: from effort 2 on all steps of Gaussians follow",
    "pruning": "Leave Gaussians out if pictures change so little; 0 for none",
    "opacity_power": "1 to 3: the greater, the finer the steps of faint Gaussians; 0 to choose",
    "scale_blur": "Quantised scales are widened by this, m; 0 to choose",
    "motion_tolerance": "Largest error of a joint, m",
    "shell_tolerance": "Largest error of the body around a joint, m",
    "motion_quantum": "What one quantiser step of a joint moves, in motion tolerances",
    "motion_lambda": "Bits that an error as large as the tolerance is worth",
    "motion_starts": "Searches of a frame that are compared at least; more take longer and find fewer bits",
    "motion_step": "Constant step: what one quantiser step of a joint moves, m, whatever the errors; 0 for none",
    "mean_error": "Mean error of the joints that is wanted, m; 0 for none",
    "bitrate": "kbit/s that the motion may take, its tolerances scaled to fit; 0 for any",
    "random_access": "Seconds between random access points; 0 for the first frame alone",
    "group_shift": "Binary logarithm of the frames in a group, 0 to 3; -1 for 0, and from effort 7 on for the best",
    "frames_per_unit": "Most frames in a unit; 1 for the lowest delay",
    "chunk_size": "Gaussians that decode together",
    "checksums": "Carry a checksum in each unit",
}
_MAY_BE_ZERO = (
    "random_access", "bitrate", "motion_step", "mean_error", "group_shift", "pruning", "opacity_power", "scale_blur",
    "closeness",
)  # fmt: skip
_WITHIN = {"effort": (1, 9), "group_shift": (-1, 3)}
_FIELD = re.compile(r"^ +(\w+): \w+ = [^#\n]+(?:# *(.+))?$", re.MULTILINE)
_STEPS = re.compile(r"_(step|tolerance)$")


@dataclass(frozen=True)
class SettingOption:
    """One field of the encoder's Settings as a command-line option."""

    name: str
    default: float | int | bool
    help: str


def setting_options() -> list[SettingOption]:
    """The fields of Settings; where the table above is silent, the comment beside a field is its help."""
    comments = dict(_FIELD.findall(inspect.getsource(Settings)))
    return [
        SettingOption(field.name, field.default, _HELP.get(field.name) or comments.get(field.name, ""))
        for field in dataclasses.fields(Settings)
        if isinstance(field.default, bool | int | float)
    ]


def settings(quality: str, motion_mode: str, chosen: dict[str, float | int | bool]) -> Settings:
    """The preset's settings, with `chosen` fields over them. Raises ContentError for values that cannot be."""
    for name, value in chosen.items():
        option = f"--{name.replace('_', '-')}"
        if name in _WITHIN:
            least, most = _WITHIN[name]
            if not least <= value <= most:
                raise ContentError(f"{option} {value}: {least} to {most} is needed")
        elif not isinstance(value, bool) and not 0 <= value < float("inf"):
            raise ContentError(f"{option} {value}: a finite number, not negative, is needed")
        elif value == 0 and name not in _MAY_BE_ZERO and not isinstance(value, bool):
            raise ContentError(f"{option} must not be 0")
    delay = {"frames_per_unit": 1} if motion_mode == "low-delay" else {}
    return replace(scaled(QUALITIES[quality]), **(delay | chosen))  # type: ignore[arg-type]


def scaled(factor: float) -> Settings:
    """The default settings with every quantiser step multiplied by `factor`."""
    steps = {
        option.name: option.default * factor for option in setting_options() if _STEPS.search(option.name)
    }
    return replace(Settings(), **steps)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Placement:
    """How a splat stands in the frame of a rig, for binding."""

    rig: Path
    pose: str = "rest"
    arkit: Path | None = None
    shape: str | None = None
    up: str = "y"
    yaw: float = 0.0  # degrees
    height: float | None = None  # metres

    @property
    def files(self) -> list[Path]:
        """The files that it is read from."""
        pose = [] if self.pose in ("rest", "t") else [Path(self.pose)]
        return [path for path in (self.rig, self.arkit, *pose) if path is not None and path.exists()]


@dataclass(frozen=True)
class Bound:
    """A bound splat, how well it fits the body, and a warning when it seems to stand another way."""

    avatar: Avatar
    fit: Fit
    warning: str


def bound_avatar(splat: Path, placement: Placement, influences: int = 4) -> Bound:
    """The splat bound to the rig it is placed in; `pose` is rest, t, or a motion whose first frame counts."""
    if placement.height is not None and not 0 < placement.height < float("inf"):
        raise ContentError(f"--height {placement.height:g}: a height above 0 m is needed")
    mesh = load_rig(placement.rig, shape=placement.shape, arkit=placement.arkit)
    if placement.pose == "t":
        mesh = t_pose(mesh)
    gaussians = load_gaussians(splat)
    rotations = _pose_rotations(placement.pose, mesh)
    yaw, height = np.radians(placement.yaw), placement.height
    aligned = align(gaussians, mesh, up=placement.up, yaw=yaw, height=height)
    avatar = bind(aligned, mesh, rotations, influences=influences)
    better, own = better_orientation(gaussians, mesh, rotations, up=placement.up, yaw=yaw, height=height)
    warning = ""
    if better is None and own > NO_FIT * np.ptp(mesh.vertices[:, 1]):
        warning = "this is far from the body: another --up or --pose, or a splat with its surroundings?"
    if better is not None:
        other = f" (or --yaw {(better.yaw + 180) % 360})" if better.opposite else ""
        warning = (
            f"--up={better.up} --yaw {better.yaw}{other} fits better "
            f"({centimetres(better.median)} instead of {centimetres(own)})"
        )
    return Bound(avatar, measure_fit(aligned, mesh, rotations), warning)


def centimetres(metres: float) -> str:
    """A distance for people."""
    return f"{100 * metres:.{1 if metres < 0.095 else 0}f} cm"


def _pose_rotations(pose: str, mesh: BodyMesh) -> np.ndarray | None:
    if pose in ("rest", "t"):
        return None
    path = Path(pose)
    if not path.exists():
        raise ContentError(f"pose {pose!r}: neither rest nor t nor a motion file")
    return fitted(path, mesh.rig).rotations[0]


def open_avatar(path: Path, placement: Placement | None, influences: int) -> Avatar:
    """A bound avatar (.npz), a LAM head (.zip), or with a placement any splat."""
    if placement is not None:
        bound = bound_avatar(path, placement, influences)
        if bound.warning:
            terminal.say(f"warning: {bound.warning}")
        return bound.avatar
    if path.suffix.lower() not in (".npz", ".zip"):
        raise ContentError(
            f"{path}: neither a bound avatar (.npz) nor a LAM head (.zip); a splat needs --rig to be bound"
        )
    return load_avatar(path)


def fitted(path: Path, rig: Rig) -> Motion:
    """The motion of a file on `rig`: taken as it is when the joints have the same names, else retargeted.

    A track of a face alone turns the joint called head and leaves the others at rest.
    """
    if path.suffix.lower() == ".bvh":
        motion, skeleton = load_bvh(path)
    else:
        motion, skeleton = load_motion(path), None
    if motion.joint_names == ("head",):
        return _on_head(motion, rig)
    if same := _renamed(motion, rig):
        return same
    moved = retarget(motion, rig, source=skeleton)
    _say_how_many(motion, rig)
    return moved


def _say_how_many(motion: Motion, rig: Rig) -> None:
    """A word when most of a motion is lost, as that of a body is on a rig of a head."""
    known, there = smplx_names(motion.joint_names), smplx_names(rig.names)
    shared = [name for name in known if name in there]
    if len(shared) < len(known) / 2:
        terminal.say(
            f"only {len(shared)} of the motion's {len(motion.joint_names)} joints found a joint among the rig's "
            f"{rig.count}: {', '.join(shared)}"
        )


def _renamed(motion: Motion, rig: Rig) -> Motion | None:
    """The motion with its joints in the order of `rig`, if they have the same names."""
    if set(motion.joint_names) != set(rig.names):
        return None
    order = [motion.joint_names.index(name) for name in rig.names]
    return replace(motion, rotations=motion.rotations[:, order], joint_names=rig.names)


def _on_head(motion: Motion, rig: Rig) -> Motion:
    rotations = np.zeros((motion.count, rig.count, 3))
    for number, name in enumerate(rig.names):
        if name.lower() == "head":
            rotations[:, number] = motion.rotations[:, 0]
    return replace(motion, rotations=rotations, joint_names=rig.names)


def open_motion(avatar: Avatar, path: Path, face: Path | None, fps: Fraction | None, span: Span) -> Motion:
    """The motion for an avatar, with the expressions and the head of a face track if there is one."""
    motion = fitted(path, avatar.rig)
    if fps is not None:
        motion = resample(motion, fps)
    if face is not None:
        motion = _with_face(motion, load_motion(face))
    motion = match_expressions(motion, avatar.expression_names)
    if span.start >= motion.count:
        raise ContentError(f"{path}: has {motion.count} frames, none from {span.start} on")
    part = slice(span.start, span.stop)
    return replace(
        motion,
        rotations=motion.rotations[part],
        translations=motion.translations[part],
        expressions=motion.expressions[part],
    )


def _with_face(motion: Motion, face: Motion) -> Motion:
    """Body and face together, at the body's rate, as long as the shorter of the two."""
    if not face.expression_names:
        raise ContentError("the face track has no expression weights")
    face = resample(face, motion.fps)
    count = min(motion.count, face.count)
    return replace(
        motion,
        rotations=motion.rotations[:count],
        translations=motion.translations[:count],
        expressions=face.expressions[:count],
        expression_names=face.expression_names,
    )


def avatar_corners(avatar: Avatar, motion: Motion) -> np.ndarray:
    """(N, 3) metres: the corners of the box around the avatar at rest, carried along the way of its root."""
    rest = Bounds.of(avatar.gaussians.positions, avatar.gaussians.opacities)
    return (rest.corners[:, None] + motion.translations).reshape(-1, 3)


def stream_cameras(texts: Sequence[str], corners: np.ndarray, size: tuple[int, int]) -> list[Camera]:
    """The cameras to put into a stream, which show `corners` (N, 3); `none` stands for no camera."""
    return [parse_view(text, {}, size).camera(corners, size, None) for text in texts if text != "none"]
