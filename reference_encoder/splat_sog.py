"""§1 Gaussians from SOG version 2: `meta.json` beside WebP planes, in a folder or in a `.sog` zip."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_check import checked_gaussians, read_bytes, smallest_three

META = "meta.json"
QUATERNION_MODE = 252  # alpha of a quaternion pixel, plus the index of its largest component
CENTROIDS_A_ROW = 64
SH_REST = (0, 3, 8, 15)  # coefficients above band 0, by number of bands


class _Planes:
    """meta.json and the images it names, from wherever they are stored."""

    def __init__(self, where: str, read: Callable[[str], bytes]) -> None:
        self.where, self._read = where, read
        try:
            self.meta = json.loads(read(META))
        except ValueError as error:
            raise ContentError(f"{where}: {META} is not JSON ({error})") from None
        version = self.meta.get("version") if isinstance(self.meta, dict) else None
        if version != 2:
            raise ContentError(f"{where}: SOG version {version} is not supported (2 is)")
        self.count = self.field("count")
        if not isinstance(self.count, int) or self.count < 0:
            raise ContentError(f"{where}: count in {META} is not a whole number")

    def field(self, *path: str) -> Any:
        """A value of meta.json by its path of keys."""
        value = self.meta
        for key in path:
            if not isinstance(value, dict) or key not in value:
                raise ContentError(f"{self.where}: {META} has no {'.'.join(path)}")
            value = value[key]
        return value

    def numbers(self, count: int, *path: str) -> np.ndarray:
        """A list of `count` finite numbers in meta.json."""
        try:
            values = np.array(self.field(*path), np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ContentError(
                f"{self.where}: {'.'.join(path)} in {META} is not a list of {count} finite numbers"
            )
        return values

    def image(self, group: str, index: int = 0) -> np.ndarray:
        """The RGBA pixels (H, W, 4) of the index-th file of a group."""
        files = self.field(group, "files")
        if not isinstance(files, list) or index >= len(files) or Path(str(files[index])).name != files[index]:
            raise ContentError(f"{self.where}: {group}.files in {META} names no file number {index}")
        try:
            with Image.open(BytesIO(self._read(files[index]))) as image:
                return np.asarray(image.convert("RGBA"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ContentError(f"{self.where}: {files[index]} is not a readable image ({error})") from None

    def pixels(self, group: str, index: int = 0) -> np.ndarray:
        """One RGBA pixel (count, 4) for each Gaussian, row by row from the top left."""
        pixels = self.image(group, index).reshape(-1, 4)
        if len(pixels) < self.count:
            raise ContentError(f"{self.where}: {group} has {len(pixels)} pixels for {self.count} Gaussians")
        return pixels[: self.count]


def _positions(planes: _Planes) -> np.ndarray:
    low, high = planes.pixels("means", 0), planes.pixels("means", 1)
    code = low[:, :3].astype(np.int64) | high[:, :3].astype(np.int64) << 8
    mins, maxs = planes.numbers(3, "means", "mins"), planes.numbers(3, "means", "maxs")
    logs = mins + (maxs - mins) * (code / 65535)
    with np.errstate(over="ignore"):
        return np.sign(logs) * np.expm1(np.abs(logs))


def _rotations(planes: _Planes) -> np.ndarray:
    pixels = planes.pixels("quats")
    largest = pixels[:, 3].astype(np.int64) - QUATERNION_MODE
    if (largest < 0).any():
        index = (largest < 0).argmax()
        raise ContentError(
            f"{planes.where}: rotation mode of Gaussian {index} is {pixels[index, 3]}, not 252 to 255"
        )
    return smallest_three(largest, (pixels[:, :3] / 255 - 0.5) * np.sqrt(2))


def _rest(planes: _Planes) -> np.ndarray:
    """SH bands 1.. (N, K, 3): a label names a centroid, K pixels whose bytes index the codebook."""
    if "shN" not in planes.meta:
        return np.zeros((planes.count, 0, 3))
    bands, palette = planes.field("shN", "bands"), planes.field("shN", "count")
    if bands not in (1, 2, 3) or not isinstance(palette, int):
        raise ContentError(f"{planes.where}: shN in {META} has {bands} bands and {palette} centroids")
    size = SH_REST[bands]
    image = planes.image("shN", 0)
    if image.shape[1] != CENTROIDS_A_ROW * size or image.shape[0] * CENTROIDS_A_ROW < palette:
        raise ContentError(
            f"{planes.where}: {image.shape[:2]} pixels do not hold {palette} SH centroids of {size}"
        )
    labels = planes.pixels("shN", 1).astype(np.int64)
    label = labels[:, 0] | labels[:, 1] << 8
    if (label >= palette).any():
        index = (label >= palette).argmax()
        raise ContentError(f"{planes.where}: SH label of Gaussian {index} is {label[index]} of {palette}")
    centroids = planes.numbers(256, "shN", "codebook")[image[..., :3]].reshape(-1, size, 3)
    return centroids[label]


def _gaussians(planes: _Planes) -> Gaussians:
    if planes.count == 0:
        raise ContentError(f"{planes.where}: holds no Gaussians")
    colour = planes.pixels("sh0")
    dc = planes.numbers(256, "sh0", "codebook")[colour[:, :3]]
    with np.errstate(over="ignore"):
        scales = np.exp(planes.numbers(256, "scales", "codebook")[planes.pixels("scales")[:, :3]])
    sh = np.concatenate([dc[:, None, :], _rest(planes)], axis=1)
    return checked_gaussians(
        planes.where, _positions(planes), _rotations(planes), scales, colour[:, 3] / 255, sh
    )


def load_sog(path: Path) -> Gaussians:
    """§1 Gaussians of a SOG version 2 folder, its meta.json or a .sog zip, axes as stored.

    Raises ContentError. Layout: the SOG format description of PlayCanvas.
    """
    if path.is_dir() or path.name == META:
        folder = path if path.is_dir() else path.parent
        return _gaussians(_Planes(str(path), lambda name: read_bytes(folder / name)))
    try:
        with zipfile.ZipFile(BytesIO(read_bytes(path))) as archive:

            def member(name: str) -> bytes:
                if name not in archive.namelist():
                    raise ContentError(f"{path}: the zip holds no {name}")
                return archive.read(name)

            return _gaussians(_Planes(str(path), member))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise ContentError(f"{path}: damaged zip ({error})") from None
