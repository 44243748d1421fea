"""§1 Gaussian splats in and out: finds the format of a file by what it holds."""

from __future__ import annotations

from pathlib import Path

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_check import read_bytes
from reference_encoder.splat_lam import load_lam_head
from reference_encoder.splat_ply import load_ply, save_ply
from reference_encoder.splat_sog import META, load_sog
from reference_encoder.splat_spz import load_spz, save_spz
from reference_encoder.splat_transform import transform

__all__ = ["load_gaussians", "load_lam_head", "save_ply", "save_spz", "transform"]

_LOADERS = {
    b"ply\n": load_ply,
    b"ply\r": load_ply,
    b"NGSP": load_spz,
    b"\x1f\x8b": load_spz,
    b"PK\x03\x04": load_sog,
}


def load_gaussians(path: Path | str) -> Gaussians:
    """§1 Gaussians of a 3DGS .ply, a PlayCanvas .compressed.ply, an .spz (version 2 to 4) or a SOG.

    A SOG is a folder, its meta.json or a .sog zip. Otherwise the first bytes decide, not the name. Axes and
    unit are those of the file: `transform` turns them. Raises ContentError for what cannot be used.
    """
    path = Path(path)
    if path.is_dir() or path.name == META:
        return load_sog(path)
    start = read_bytes(path)[:4]
    for magic, loader in _LOADERS.items():
        if start.startswith(magic):
            return loader(path)
    raise ContentError(f"{path}: neither .ply nor .spz nor SOG, it starts with {start!r}")
