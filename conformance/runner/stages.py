"""§7.8 Where two serialisations of a stage first differ, in the terms of the stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_ROW = {"joints": 12, "gaussians": 21, "projected": 11, "pixels": 4}
_ENTRIES = {
    "gaussians": ["mean"] * 3 + ["factor"] * 9 + ["blend"] * 9,
    "projected": [
        "index",
        "depth",
        "mean x",
        "mean y",
        "l00",
        "l01",
        "l11",
        "red",
        "green",
        "blue",
        "opacity",
    ],
    "pixels": ["red", "green", "blue", "coverage"],
}


@dataclass(frozen=True)
class Difference:
    """The first stage of a frame that is not as it should be."""

    frame: int
    stage: str
    about: str  # the stage in words, with its clause
    where: str  # the first entry that differs, or the two digests

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.stage:
            return f"frame {self.frame} {self.where}"
        return f"frame {self.frame} differs first in {self.stage}, {self.about}: {self.where}"


def locate(stage: str, found: bytes, expected: bytes, width: int | None, gaussians: int | None = None) -> str:
    """The first entry in which two serialisations of a stage differ.

    width: that of the picture, gaussians: how many the frame has, if known.
    """
    kind = np.dtype(np.uint8 if stage == "pixels" else "<i4")
    if len(found) != len(expected) and stage != "projected":
        return f"{len(found)} bytes, expected {len(expected)}"
    length = min(len(found), len(expected)) // kind.itemsize
    ours = np.frombuffer(found, kind, length)
    theirs = np.frombuffer(expected, kind, length)
    differing = np.flatnonzero(ours != theirs)
    if not len(differing):
        return f"{len(found) // 44} Gaussians visible, expected {len(expected) // 44}"
    at = int(differing[0])
    place = _place(stage, at, ours, width)
    if stage == "gaussians" and gaussians and at >= gaussians * _ROW[stage]:
        index, column = divmod(at - gaussians * _ROW[stage], 4)
        place = f"Gaussian {index}, {'opacity' if column == 0 else f'colour[{column - 1}]'}"
    return f"{place} is {ours[at]}, expected {theirs[at]}; {len(differing)} of {length} entries differ"


def _place(stage: str, at: int, values: np.ndarray, width: int | None) -> str:
    row, column = divmod(at, _ROW.get(stage, 1))
    entry = _ENTRIES[stage][column] if stage in _ENTRIES else str(column)
    if stage == "joints":
        return f"joint {row}, entry {column}"
    if stage == "gaussians":
        return f"Gaussian {row}, {entry}[{column - _ENTRIES[stage].index(entry)}]"
    if stage == "projected":
        return f"place {row} in the list (Gaussian {values[row * _ROW[stage]]}), {entry}"
    if stage == "pixels" and width is not None:
        return f"pixel x={row % width} y={row // width}, {entry}"
    return f"entry {at}"
