"""A small avatar with its motion on disk, and `hga` to run on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from reference_encoder.avatar_file import save_avatar
from reference_encoder.content import Avatar, Gaussians, Rig
from tools.cli import main

FRAMES = 5

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def hga() -> Run:
    """Runs `hga` in this process."""
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with avatar.npz (3 joints, 200 Gaussians, 2 expressions), walk.npz (AMASS) and face.json."""
    folder = tmp_path_factory.mktemp("content")
    save_avatar(folder / "avatar.npz", small_avatar())
    generator = np.random.default_rng(2)
    poses = np.cumsum(generator.normal(0, 0.02, (FRAMES, 165)), axis=0)
    trans = np.linspace(0, 0.1, 3 * FRAMES).reshape(FRAMES, 3)
    np.savez(folder / "walk.npz", poses=poses, trans=trans, mocap_frame_rate=30.0)
    frames = [{"time": i / 30, "weights": [i / 10, 0.5]} for i in range(FRAMES)]
    (folder / "face.json").write_text(json.dumps({"names": ["jawOpen", "smile"], "frames": frames}))
    return folder


@pytest.fixture(scope="session")
def stream(hga: Run, content: Path) -> Path:
    """The stream of that avatar, with the digests of every stage of every frame."""
    path = content / "small.hga"
    arguments = ("--size", "48x48", "--hashes", "all", "--stages", "all", "--random-access", "0.1", "--face")
    result = hga(
        "encode", content / "avatar.npz", content / "walk.npz", "-o", path, *arguments, content / "face.json"
    )
    assert result.exit_code == 0, result.output
    return path


def small_avatar() -> Avatar:
    """A column of 200 Gaussians on pelvis, spine and head; two expressions move the top."""
    generator = np.random.default_rng(1)
    count = 200
    positions = generator.uniform((-0.2, 0.0, -0.1), (0.2, 0.6, 0.1), (count, 3))
    rotations = generator.normal(size=(count, 4))
    sh = generator.normal(0, 0.2, (count, 4, 3))
    gaussians = Gaussians(
        positions,
        rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        generator.uniform(0.01, 0.04, (count, 3)),
        generator.uniform(0.3, 1, count),
        sh,
    )
    rig = Rig(
        ("pelvis", "spine1", "head"), np.array([-1, 0, 1]), np.array([[0.0, 0, 0], [0, 0.2, 0], [0, 0.4, 0]])
    )
    height = positions[:, 1] / 0.6
    weights = np.stack([1 - height, height], axis=1)
    joints = np.stack([np.zeros(count, int), np.where(height > 0.5, 2, 1)], axis=1)
    moved = np.where(height > 0.8, 0.05, 0)[:, None] * np.array([[[0, -1, 0]], [[1, 0, 0]]])
    return Avatar(gaussians, rig, joints, weights, ("jawOpen", "smile"), moved)
