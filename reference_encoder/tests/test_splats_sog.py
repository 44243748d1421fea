"""SOG: planes painted pixel by pixel, in a folder and in a zip; every damage named."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reference_encoder.content import ContentError
from reference_encoder.splats import load_gaussians

CODES = [0.0] * 250 + [-3.0, -2.0, -1.0, 0.5, 1.0, 2.0]  # codebook: 250 is -3, ..., 255 is 2


def paint(path: Path, pixels: list[tuple[int, ...]], width: int = 2) -> None:
    """Pixels row by row from the top left, the rest black."""
    padded = pixels + [(0, 0, 0, 255)] * (-len(pixels) % width)
    image = np.array([(*p, 255)[:4] for p in padded], np.uint8).reshape(-1, width, 4)
    Image.fromarray(image).save(path, lossless=True, exact=True)


def meta() -> dict[str, Any]:
    return {
        "version": 2,
        "count": 3,
        "means": {
            "mins": [-1, 0, np.log(2)],
            "maxs": [1, np.log(3), np.log(2)],
            "files": ["l.webp", "u.webp"],
        },
        "scales": {"codebook": CODES, "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": CODES, "files": ["sh0.webp"]},
        "shN": {"count": 65, "bands": 1, "codebook": CODES, "files": ["centroids.webp", "labels.webp"]},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paint(tmp_path / "l.webp", [(0, 0, 0), (255, 255, 9), (0, 0, 0)])
    paint(tmp_path / "u.webp", [(0, 0, 0), (255, 255, 9), (128, 0, 0)])
    paint(tmp_path / "scales.webp", [(252, 253, 254), (250, 251, 252), (0, 0, 0)])
    # The largest component is w, x and z; 255 is 1 / sqrt(2), 0 the negative, 204 is 0.6 of it.
    paint(tmp_path / "quats.webp", [(255, 0, 0, 252), (204, 51, 51, 253), (204, 51, 204, 255)])
    paint(tmp_path / "sh0.webp", [(253, 254, 255, 0), (250, 251, 252, 51), (0, 0, 0, 255)])
    # 65 centroids of 3 pixels, 64 a row; the last is alone in the second row.
    centroids = [(0, 0, 0)] * 192 + [(253, 250, 0), (254, 251, 0), (255, 252, 0)] + [(0, 0, 0)] * 189
    paint(tmp_path / "centroids.webp", centroids, width=192)
    paint(tmp_path / "labels.webp", [(0, 0, 0), (64, 0, 0), (1, 0, 0)])
    (tmp_path / "meta.json").write_text(json.dumps(meta()))
    return tmp_path


def test_planes_are_looked_up(folder: Path) -> None:
    loaded = load_gaussians(folder)
    top = np.e - 1  # positions are stored as sign(x) log(1 + |x|)
    middle = 2 * (128 * 256) / 65535 - 1
    expected = [[-top, 0, 1], [top, 2, 1], [np.expm1(middle), 0, 1]]
    np.testing.assert_allclose(loaded.positions, expected, atol=1e-12)
    np.testing.assert_allclose(np.log(loaded.scales), [[-1, 0.5, 1], [-3, -2, -1], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(loaded.opacities, [0, 0.2, 1])
    small = 0.6 / np.sqrt(2)
    last = np.sqrt(1 - 3 * small**2)
    rotations = [[0, *np.array([1, -1, -1]) / np.sqrt(3)], [small, last, -small, -small]]
    np.testing.assert_allclose(loaded.rotations[:2], rotations, atol=1e-12)
    np.testing.assert_allclose(loaded.rotations[2], [small, -small, small, last], atol=1e-12)
    assert loaded.sh[:, 0].tolist() == [[0.5, 1, 2], [-3, -2, -1], [0, 0, 0]]
    assert loaded.sh[1, 1:].tolist() == [[0.5, -3, 0], [1, -2, 0], [2, -1, 0]]
    assert not loaded.sh[[0, 2], 1:].any()


def test_zip_and_meta_json_give_the_same(folder: Path) -> None:
    bundle = folder / "a.sog"
    with zipfile.ZipFile(bundle, "w") as archive:
        for path in [folder / "meta.json", *folder.glob("*.webp")]:
            archive.write(path, path.name)
    for path in (bundle, folder / "meta.json"):
        np.testing.assert_array_equal(load_gaussians(path).sh, load_gaussians(folder).sh)


def test_without_harmonics(folder: Path) -> None:
    (folder / "meta.json").write_text(json.dumps({k: v for k, v in meta().items() if k != "shN"}))
    assert load_gaussians(folder).sh_degree == 0


def broken_meta(*path: str, value: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = meta()
        node = content
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        (folder / "meta.json").write_text(json.dumps(content))

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_meta("version", value=1), "SOG version 1 is not supported (2 is)"),
        (broken_meta("count", value=0), "holds no Gaussians"),
        (broken_meta("count", value=9), "sh0 has 4 pixels for 9 Gaussians"),
        (broken_meta("count", value="3"), "count in meta.json is not a whole number"),
        (broken_meta("means", value={}), "meta.json has no means.files"),
        (
            broken_meta("scales", "codebook", value=[0] * 255),
            "scales.codebook in meta.json is not a list of 256",
        ),
        (
            broken_meta("means", "maxs", value=[1, 1, float("nan")]),
            "means.maxs in meta.json is not a list of 3",
        ),
        (broken_meta("means", "maxs", value=[1, 1, 1e5]), "position of Gaussian 1 is not finite"),
        (broken_meta("scales", "codebook", value=[-800] * 256), "scale of Gaussian 0 is not positive"),
        (
            broken_meta("quats", "files", value=["../q.webp"]),
            "quats.files in meta.json names no file number 0",
        ),
        (broken_meta("means", "files", value=["l.webp"]), "means.files in meta.json names no file number 1"),
        (broken_meta("shN", "bands", value=4), "shN in meta.json has 4 bands"),
        (broken_meta("shN", "bands", value=2), "do not hold 65 SH centroids of 8"),
        (broken_meta("shN", "count", value=64), "SH label of Gaussian 1 is 64 of 64"),
        (lambda f: (f / "meta.json").write_text("{"), "meta.json is not JSON"),
        (lambda f: (f / "meta.json").write_text("[]"), "SOG version None is not supported"),
        (lambda f: (f / "meta.json").unlink(), "cannot be read"),
        (lambda f: (f / "u.webp").unlink(), "cannot be read"),
        (lambda f: (f / "u.webp").write_bytes(b"RIFF"), "u.webp is not a readable image"),
        (lambda f: paint(f / "quats.webp", [(0, 0, 0, 252), (0, 0, 0, 17)]), "quats has 2 pixels"),
        (
            lambda f: paint(f / "quats.webp", [(0, 0, 0, 252), (0, 0, 0, 17), (0, 0, 0, 252)]),
            "rotation mode of Gaussian 1 is 17, not 252 to 255",
        ),
    ],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(ContentError) as error:
        load_gaussians(folder)
    assert str(error.value).startswith(str(folder))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_zip_damage_is_named(folder: Path) -> None:
    bundle = folder / "a.sog"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.write(folder / "l.webp", "l.webp")
    with pytest.raises(ContentError, match=r"the zip holds no meta\.json"):
        load_gaussians(bundle)
    bundle.write_bytes(bundle.read_bytes()[:-10])
    with pytest.raises(ContentError, match="damaged zip"):
        load_gaussians(bundle)
