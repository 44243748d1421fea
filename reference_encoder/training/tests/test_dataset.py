"""Sets of two cameras and three frames in each of the public layouts, and what is wrong with damaged ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from reference_encoder.content import ContentError
from reference_encoder.skeletons import SMPLX_JOINTS
from reference_encoder.training.dataset import MultiView, load_multi_view

FRAMES, WIDTH, HEIGHT = 3, 12, 8
ROTATION = Rotation.from_rotvec([0.1, -0.7, 0.2]).as_matrix()
PLACE = np.array([0.3, -0.2, 2.5])
FOCAL, CENTRE = (20.0, 21.0), (6.5, 3.5)


def smplx_params(folder: Path, **changed: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    shapes = {"body_pose": 63, "global_orient": 3, "transl": 3, "jaw_pose": 3, "expression": 10,
              "left_hand_pose": 45, "right_hand_pose": 45}  # fmt: skip
    arrays = {name: rng.normal(0, 0.2, (FRAMES, count)).astype(np.float32) for name, count in shapes.items()}
    np.savez(folder / "smpl_params.npz", **{**arrays, "betas": np.zeros((1, 10)), **changed})


def picture(path: Path, frame: int, mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((HEIGHT, WIDTH), 40 * frame + 30, np.uint8)
    pixels[:, : WIDTH // 2] = 0 if mode == "L" else 200
    Image.fromarray(pixels).convert(mode).save(path, quality=100, subsampling=0)


def entry() -> dict[str, Any]:
    matrix = [FOCAL[0], 0, CENTRE[0], 0, FOCAL[1], CENTRE[1], 0, 0, 1]
    return {"K": matrix, "R": ROTATION.ravel().tolist(), "T": PLACE.tolist(), "imgSize": [WIDTH, HEIGHT],
            "distCoeff": [0, 0, 0, 0, 0]}  # fmt: skip


def thuman4(folder: Path) -> None:
    (folder / "calibration.json").write_text(json.dumps({"cam00": entry(), "cam01": entry()}))
    for camera in ("cam00", "cam01"):
        for frame in range(FRAMES):
            picture(folder / f"images/{camera}/{frame:08d}.jpg", frame, "RGB")
            picture(folder / f"masks/{camera}/{frame:08d}.jpg", frame, "L")
    smplx_params(folder)


def avatarrex(folder: Path) -> None:
    (folder / "calibration_full.json").write_text(json.dumps({"22010708": entry(), "22010710": entry()}))
    for camera in ("22010708", "22010710"):
        for frame in range(FRAMES):
            picture(folder / f"{camera}/{frame:08d}.jpg", frame, "RGB")
            picture(folder / f"{camera}/mask/pha/{frame:08d}.jpg", frame, "L")
    smplx_params(folder)


def actorshq(folder: Path) -> None:
    """Its calibration says where the camera stands, and lengths in terms of the picture's."""
    turned = Rotation.from_matrix(ROTATION.T).as_rotvec()
    eye = -ROTATION.T @ PLACE
    row = {"w": WIDTH, "h": HEIGHT, "rx": turned[0], "ry": turned[1], "rz": turned[2],
           "tx": eye[0], "ty": eye[1], "tz": eye[2], "fx": FOCAL[0] / WIDTH, "fy": FOCAL[1] / HEIGHT,
           "px": CENTRE[0] / WIDTH, "py": CENTRE[1] / HEIGHT}  # fmt: skip
    (folder / "4x").mkdir()
    with (folder / "4x/calibration.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["name", *row])
        writer.writeheader()
        for camera in ("Cam001", "Cam002"):
            writer.writerow({"name": camera, **row})
            for frame in range(FRAMES):
                picture(folder / f"4x/rgbs/{camera}/{camera}_rgb{frame:06d}.jpg", frame, "RGB")
                picture(folder / f"4x/masks/{camera}/{camera}_mask{frame:06d}.png", frame, "L")
    smplx_params(folder)


@pytest.mark.parametrize("layout", [thuman4, avatarrex, actorshq])
def test_reads_the_public_layouts(layout: Callable[[Path], None], tmp_path: Path) -> None:
    layout(tmp_path)
    data = load_multi_view(tmp_path, hold_out=0.34)
    assert len(data.cameras) == 2
    name, camera = next(iter(data.cameras.items()))
    np.testing.assert_allclose(camera.rotation, ROTATION, atol=1e-9)
    np.testing.assert_allclose(camera.translation, PLACE, atol=1e-9)
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose([*camera.focal, *camera.principal], [*FOCAL, *CENTRE])
    assert data.motion.joint_names == SMPLX_JOINTS and data.motion.rotations.shape == (FRAMES, 55, 3)
    assert data.frames(held_out=False) == [0, 1] and data.frames(held_out=True) == [2]
    assert_view(data, name)


def assert_view(data: MultiView, name: str) -> None:
    """The person is in the right half of each picture; what is left of it counts as black."""
    view = data.view(name, 2)
    assert view.image.shape == (HEIGHT, WIDTH, 3)
    assert abs(int(view.image[4, 10, 1]) - 110) <= 2 and view.mask[4, 10] == pytest.approx(110, abs=2)
    target, certainty = view.target(), view.certainty()
    assert target[:, :3].max() == 0 and target[4, 10, 0] == pytest.approx(110 / 255, abs=0.01)
    assert (
        certainty[4, 0] == 1 and certainty[4, 10] == 0
    )  # a mask of 110 is an edge: the background shines through


def test_smplx_parameters_are_in_the_order_of_the_joints(tmp_path: Path) -> None:
    thuman4(tmp_path)
    arrays = dict(np.load(tmp_path / "smpl_params.npz"))
    motion = load_multi_view(tmp_path).motion
    joint = SMPLX_JOINTS.index
    np.testing.assert_allclose(motion.rotations[:, joint("pelvis")], arrays["global_orient"], rtol=1e-6)
    np.testing.assert_allclose(
        motion.rotations[:, joint("left_wrist")], arrays["body_pose"][:, 57:60], rtol=1e-6
    )
    np.testing.assert_allclose(motion.rotations[:, joint("jaw")], arrays["jaw_pose"], rtol=1e-6)
    assert not motion.rotations[:, joint("left_eye")].any()
    np.testing.assert_allclose(
        motion.rotations[:, joint("right_thumb3")], arrays["right_hand_pose"][:, 42:], rtol=1e-6
    )
    np.testing.assert_allclose(motion.translations, arrays["transl"], rtol=1e-6)
    assert motion.expressions.shape == (FRAMES, 10)


def test_listed_pictures_are_missing(tmp_path: Path) -> None:
    thuman4(tmp_path)
    (tmp_path / "missing_img_files.txt").write_text("images\\cam01\\00000002.jpg\n")
    data = load_multi_view(tmp_path)
    assert not data.has("cam01", 2) and data.has("cam01", 1) and data.has("cam00", 2)


def test_a_known_background_is_certain(tmp_path: Path) -> None:
    thuman4(tmp_path)
    known = {"cam00": {**entry(), "background": [255, 0, 51]}, "cam01": entry()}
    (tmp_path / "calibration.json").write_text(json.dumps(known))
    data = load_multi_view(tmp_path)
    assert data.cameras["cam00"].background == (1.0, 0.0, 0.2)
    assert data.view("cam00", 2).certainty().min() == 1


def broken(what: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "calibration.json"
        cameras = json.loads(path.read_text())
        if what == "no R":
            del cameras["cam01"]["R"]
        elif what == "skewed":
            cameras["cam01"]["R"][0] = 2.0
        elif what == "distorted":
            cameras["cam01"]["distCoeff"] = [0.1, 0, 0, 0, 0]
        elif what == "short K":
            cameras["cam01"]["K"] = [1, 2, 3]
        path.write_text(json.dumps(cameras))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken("no R"), "calibration.json: camera cam01: no R"),
        (broken("skewed"), "camera cam01: R is not a rotation"),
        (broken("distorted"), "undistort"),
        (broken("short K"), "K has 3 values, 9 finite ones expected"),
        (lambda folder: (folder / "calibration.json").write_text("{"), "calibration.json: cannot be read"),
        (lambda folder: (folder / "calibration.json").unlink(), "not a multi-view set"),
        (lambda folder: (folder / "smpl_params.npz").unlink(), "neither smpl_params.npz nor motion.npz"),
        (lambda folder: smplx_params(folder, body_pose=np.zeros((3, 60))), "body_pose of shape"),
        (lambda folder: smplx_params(folder, transl=np.zeros((2, 3))), "of shape"),
    ],
)
def test_says_what_is_wrong(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    thuman4(tmp_path)
    change(tmp_path)
    with pytest.raises(ContentError, match=message):
        load_multi_view(tmp_path)


def test_says_which_picture_is_wrong(tmp_path: Path) -> None:
    thuman4(tmp_path)
    data = load_multi_view(tmp_path)
    (tmp_path / "masks/cam00/00000001.jpg").unlink()
    with pytest.raises(ContentError, match="cam00/00000001: no such picture"):
        data.view("cam00", 1)
    (tmp_path / "images/cam01/00000000.jpg").write_bytes(b"not a picture")
    with pytest.raises(ContentError, match=r"00000000.jpg: cannot be read as a picture"):
        data.view("cam01", 0)
    Image.new("RGB", (4, 4)).save(tmp_path / "images/cam01/00000001.jpg")
    with pytest.raises(ContentError, match="4x4 pixels, the calibration says 12x8"):
        data.view("cam01", 1)
