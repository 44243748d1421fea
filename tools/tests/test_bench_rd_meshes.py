"""Gaussians put into formats of meshes and points."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from reference_encoder.content import Gaussians
from tools.bench_rd_meshes import from_instances, instances, mesh_peers
from tools.bench_rd_peers import Coded
from tools.tests.conftest import small_avatar


def plain() -> Gaussians:
    """Gaussians of one colour each, of which none is cut off at black or white."""
    gaussians = small_avatar().gaussians
    return replace(gaussians, sh=gaussians.sh[:, :1])


def test_instances_hold_what_gaussians_are_made_of() -> None:
    gaussians = plain()
    assert np.abs(gaussians.sh).max() < 1.7
    back = from_instances(instances(gaussians))
    for name in ("positions", "rotations", "scales", "opacities", "sh"):
        assert getattr(back, name) == pytest.approx(getattr(gaussians, name), abs=1e-6), name


def test_peers_lose_only_what_their_bits_cost() -> None:
    gaussians = plain()
    for peer in mesh_peers():
        if peer.setting == "16 bit":
            coded = peer.code(gaussians)
            if isinstance(coded, str):  # both are optional
                assert "not installed" in coded or "npm" in coded
                continue
            assert isinstance(coded, Coded) and coded.bytes < 200 * 14 * 2 + 2000
            _, found = cKDTree(coded.gaussians.positions).query(gaussians.positions)  # Draco orders anew
            for name in ("positions", "scales", "opacities", "sh"):
                away = getattr(coded.gaussians, name)[found] - getattr(gaussians, name)
                assert np.abs(away).max() < 2e-4 * np.ptp(getattr(gaussians, name)), (peer.name, name)


def test_what_cannot_be_coded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians = small_avatar().gaussians
    assert {peer.code(gaussians) for peer in mesh_peers() if peer.name != "draco"} == {
        "an instance has one colour: SH degree 0 only"
    }
    monkeypatch.setattr(shutil, "which", lambda name: None)
    peers = {peer.name: peer for peer in mesh_peers()}
    assert peers["gltfpack -cz"].code(plain()) == "neither gltfpack nor npx is installed"
    monkeypatch.setattr("importlib.import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    assert peers["draco"].code(gaussians) == "the DracoPy package is not installed (the extra `bench` has it)"
