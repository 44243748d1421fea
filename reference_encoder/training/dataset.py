"""§1 Multi-view video of a person, in the layouts of AvatarReX, THuman4.0 and ActorsHQ and of our own content.

The layouts are as those sets publish them and as the loaders of Animatable Gaussians (Li et al. 2024) read them:

- THuman4.0: `calibration.json`, `images/camNN/FFFFFFFF.jpg`, `masks/camNN/FFFFFFFF.jpg`
- AvatarReX: `calibration_full.json`, `NAME/FFFFFFFF.jpg`, `NAME/mask/pha/FFFFFFFF.jpg`
- ActorsHQ: `4x/calibration.csv`, `4x/rgbs/NAME/NAME_rgbFFFFFF.jpg`, `4x/masks/NAME/NAME_maskFFFFFF.png`

with `smpl_params.npz` (SMPL-X) beside them and optionally `missing_img_files.txt`. Instead of SMPL-X parameters
`motion.npz` may hold poses of another rig; .png may stand for .jpg.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.spatial.transform import Rotation

from reference_encoder.arrays import load_arrays, take, take_numbers
from reference_encoder.content import ContentError, Motion
from reference_encoder.float_render import FloatCamera
from reference_encoder.skeletons import SMPLX_JOINTS

FOREGROUND = 8  # a mask's value from which a pixel shows something of the person
_CERTAIN = 248  # and from which it shows nothing else
_SMPLX_PARTS = {"global_orient": 1, "body_pose": 21, "jaw_pose": 1, "leye_pose": 1, "reye_pose": 1,
                "left_hand_pose": 15, "right_hand_pose": 15}  # fmt: skip


@dataclass(frozen=True)
class View:
    """One picture: colours (H, W, 3) and mask (H, W) as bytes."""

    image: np.ndarray
    mask: np.ndarray
    known_background: bool  # whether what is behind the person is the camera's background colour

    def target(self) -> np.ndarray:
        """(H, W, 3) in 0..1: the person before the camera's background, which is black unless known."""
        shown = self.mask >= FOREGROUND
        return np.where(shown[..., None] | self.known_background, self.image, 0).astype(np.float32) / 255

    def certainty(self) -> np.ndarray:
        """(H, W): 1 where the target is certain, 0 on the person's edge before an unknown background."""
        edge = (self.mask >= FOREGROUND) & (self.mask < _CERTAIN)
        return np.where(edge & (not self.known_background), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class MultiView:
    """A multi-view video: pictures are read when they are asked for."""

    cameras: dict[str, FloatCamera]
    motion: Motion
    held_out: np.ndarray  # (F,) bool: frames that training must not see
    known_background: dict[str, bool]
    _paths: Callable[[str, int], tuple[Path, Path]]
    _missing: frozenset[tuple[str, int]]

    def frames(self, *, held_out: bool) -> list[int]:
        """The frames to train on, or those held out."""
        return np.flatnonzero(self.held_out == held_out).tolist()

    def has(self, camera: str, frame: int) -> bool:
        """Whether the set says that there is this picture."""
        return (camera, frame) not in self._missing

    def view(self, camera: str, frame: int) -> View:
        """One picture with its mask. Raises ContentError with the file when it is missing or of another size."""
        image, mask = self._paths(camera, frame)
        size = (self.cameras[camera].width, self.cameras[camera].height)
        return View(_load(image, "RGB", size), _load(mask, "L", size), self.known_background[camera])


def load_multi_view(folder: str | Path, *, hold_out: float = 0.2) -> MultiView:
    """§1 The multi-view video in a folder of one of the layouts above; only what is described is looked at.

    Without frames marked as held out in `motion.npz`, the last `hold_out` of them is. Raises ContentError with
    the file and what is wrong in it.
    """
    folder = Path(folder)
    if (folder / "calibration.json").exists():
        cameras, known, paths = _json_layout(
            folder, "calibration.json", ("images/{0}/{1:08d}", "masks/{0}/{1:08d}")
        )
    elif (folder / "calibration_full.json").exists():
        cameras, known, paths = _json_layout(
            folder, "calibration_full.json", ("{0}/{1:08d}", "{0}/mask/pha/{1:08d}")
        )
    elif scaled := sorted(folder.glob("*x/calibration.csv")):
        cameras, known, paths = _csv_layout(scaled[0])
    else:
        raise ContentError(
            f"{folder.name}: no calibration.json, calibration_full.json or 4x/calibration.csv: not a multi-view set"
        )
    motion, held_out = _motion(folder)
    if held_out is None:
        held_out = np.arange(motion.count) >= round((1 - hold_out) * motion.count)
    return MultiView(cameras, motion, held_out, known, paths, _missing(folder))


Layout = tuple[dict[str, FloatCamera], dict[str, bool], Callable[[str, int], tuple[Path, Path]]]


def _json_layout(folder: Path, name: str, places: tuple[str, str]) -> Layout:
    try:
        entries = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ContentError(f"{name}: cannot be read: {error}") from error
    if not isinstance(entries, dict) or not entries:
        raise ContentError(f"{name}: no cameras by name")
    cameras = {camera: _json_camera(entry, f"{name}: camera {camera}") for camera, entry in entries.items()}
    known = {camera: "background" in entry for camera, entry in entries.items()}
    return cameras, known, lambda camera, frame: _pair(*(folder / p.format(camera, frame) for p in places))


def _json_camera(entry: object, where: str) -> FloatCamera:
    if not isinstance(entry, dict):
        raise ContentError(f"{where}: not an object")
    matrix, rotation, place = (
        _numbers(entry, name, count, where) for name, count in (("K", 9), ("R", 9), ("T", 3))
    )
    width, height = _numbers(entry, "imgSize", 2, where).astype(int).tolist()
    if any(np.ravel(entry.get("distCoeff", [0]))):
        raise ContentError(f"{where}: distCoeff is not 0: undistort the pictures first")
    red, green, blue = _numbers({"background": [0, 0, 0], **entry}, "background", 3, where) / 255
    return _camera(
        rotation.reshape(3, 3), place, matrix.reshape(3, 3), (width, height), where, (red, green, blue)
    )


def _numbers(entry: dict[str, object], name: str, count: int, where: str) -> np.ndarray:
    try:
        values = np.asarray(entry[name], dtype=np.float64).ravel()
    except KeyError:
        raise ContentError(f"{where}: no {name}") from None
    except (TypeError, ValueError):
        raise ContentError(f"{where}: {name} is not made of numbers") from None
    if len(values) != count or not np.isfinite(values).all():
        raise ContentError(f"{where}: {name} has {len(values)} values, {count} finite ones expected")
    return values


def _camera(
    rotation: np.ndarray,
    place: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    where: str,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> FloatCamera:
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ContentError(f"{where}: R is not a rotation")
    if min(size) < 1 or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ContentError(f"{where}: image size {size} and focal lengths {matrix[0, 0]}, {matrix[1, 1]}")
    focal, principal = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2], matrix[1, 2])
    return FloatCamera(rotation, place, focal, principal, *size, background)


def _csv_layout(path: Path) -> Layout:
    """ActorsHQ: poses are those of the camera in the world, focal lengths and centres in image sizes."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ContentError(f"{path.name}: no cameras")
    cameras = {}
    for number, row in enumerate(rows):
        where = f"{path.name}: row {number + 1}"
        value = {
            name: float(_numbers(dict(row), name, 1, where)[0])
            for name in ("w", "h", "rx", "ry", "rz", "tx", "ty", "tz", "fx", "fy", "px", "py")
        }
        rotation = Rotation.from_rotvec([value["rx"], value["ry"], value["rz"]]).as_matrix().T
        place = -rotation @ [value["tx"], value["ty"], value["tz"]]
        size = (int(value["w"]), int(value["h"]))
        matrix = np.eye(3)
        matrix[:2, :2] = np.diag([value["fx"] * size[0], value["fy"] * size[1]])
        matrix[:2, 2] = value["px"] * size[0], value["py"] * size[1]
        cameras[row.get("name") or where] = _camera(rotation, place, matrix, size, where)
    root = path.parent
    return (
        cameras,
        dict.fromkeys(cameras, False),
        lambda camera, frame: _pair(
            root / f"rgbs/{camera}/{camera}_rgb{frame:06d}", root / f"masks/{camera}/{camera}_mask{frame:06d}"
        ),
    )


def _pair(image: Path, mask: Path) -> tuple[Path, Path]:
    return _with_suffix(image), _with_suffix(mask)


def _with_suffix(path: Path) -> Path:
    for suffix in (".jpg", ".png"):
        if path.with_suffix(suffix).exists():
            return path.with_suffix(suffix)
    raise ContentError(f"{path.parent.name}/{path.name}: no such picture (.jpg, .png)")


def _load(path: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert(mode))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ContentError(f"{path.name}: cannot be read as a picture: {error}") from error
    if pixels.shape[1::-1] != size:
        found = "x".join(map(str, pixels.shape[1::-1]))
        raise ContentError(f"{path.name}: {found} pixels, the calibration says {size[0]}x{size[1]}")
    return pixels


def _missing(folder: Path) -> frozenset[tuple[str, int]]:
    """The pictures that `missing_img_files.txt` lists, as paths in the style of any system."""
    listed = folder / "missing_img_files.txt"
    if not listed.exists():
        return frozenset()
    lines = listed.read_text(encoding="utf-8").replace("\\", "/").split()
    try:
        return frozenset((Path(line).parent.name, int(Path(line).stem)) for line in lines)
    except ValueError as error:
        raise ContentError(f"{listed.name}: {error}") from None


def _motion(folder: Path) -> tuple[Motion, np.ndarray | None]:
    if (folder / "motion.npz").exists():
        return _rig_motion(load_arrays(folder / "motion.npz"), "motion.npz")
    if (folder / "smpl_params.npz").exists():
        return _smplx_motion(load_arrays(folder / "smpl_params.npz"), "smpl_params.npz"), None
    raise ContentError(f"{folder.name}: neither smpl_params.npz nor motion.npz")


def _rig_motion(arrays: dict[str, np.ndarray], where: str) -> tuple[Motion, np.ndarray | None]:
    joints = tuple(take(arrays, "joint_names", where).tolist())
    names = tuple(take(arrays, "expression_names", where).tolist())
    rotations, translations, expressions = (
        take_numbers(arrays, name, where) for name in ("rotations", "translations", "expressions")
    )
    count = len(translations)
    shapes = (rotations.shape, translations.shape, expressions.shape)
    if shapes != ((count, len(joints), 3), (count, 3), (count, len(names))):
        raise ContentError(
            f"{where}: rotations, translations, expressions of shapes {shapes} do not fit together"
        )
    fps = Fraction(float(take_numbers(arrays, "fps", where))).limit_denominator(1001)
    motion = Motion(rotations, translations, expressions, fps, joints, names)
    held_out = arrays["held_out"].astype(bool) if "held_out" in arrays else None
    if held_out is not None and held_out.shape != (count,):
        raise ContentError(f"{where}: held_out of shape {held_out.shape}, ({count},) expected")
    return motion, held_out


def _smplx_motion(arrays: dict[str, np.ndarray], where: str) -> Motion:
    """SMPL-X parameters; `transl` displaces the root joint. Hands are full poses, as the sets publish them."""
    translations = take_numbers(arrays, "transl", where)
    count = len(translations)
    parts = []
    for name, joints in _SMPLX_PARTS.items():
        if name not in arrays and name in ("jaw_pose", "leye_pose", "reye_pose"):
            part = np.zeros((count, joints, 3))
        else:
            part = take_numbers(arrays, name, where)
        if part.size != count * joints * 3:
            raise ContentError(f"{where}: {name} of shape {part.shape}, ({count}, {3 * joints}) expected")
        parts.append(part.reshape(count, joints, 3))
    rotations = np.concatenate(parts, axis=1)
    expressions = (
        take_numbers(arrays, "expression", where) if "expression" in arrays else np.zeros((count, 0))
    )
    if translations.shape != (count, 3) or expressions.shape[:1] != (count,):
        raise ContentError(
            f"{where}: transl of shape {translations.shape}, expression of {expressions.shape}"
        )
    names = tuple(f"expression_{index}" for index in range(expressions.shape[1]))
    return Motion(rotations, translations, expressions, Fraction(30), SMPLX_JOINTS, names)


def spread(count: int, wanted: int) -> list[int]:
    """At most so many of `count` things, evenly spread, by number."""
    return [int(n) for n in np.linspace(0, count - 1, min(wanted, count)).round()]
