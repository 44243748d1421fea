"""§5 The encoder: what it writes decodes to what went in, the same bytes every time, and errors that name content."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numba
import numpy as np
import pytest

import spec
from reference_decoder import Camera, Decoder
from reference_decoder.units import UnitReader, motion_units
from reference_encoder import float_model
from reference_encoder.content import Avatar, ContentError, Gaussians, Motion, Rig
from reference_encoder.encode import add_hashes, encode
from reference_encoder.gaussians import (
    chunk_values,
    chunks,
    luma_chroma,
    offset_values,
    quantised,
    skin_values,
)
from reference_encoder.quantise import Settings, integer_steps
from reference_encoder.structural import as_coded


def avatar(count: int = 200, joints: int = 5, degree: int = 1, expressions: int = 2, seed: int = 0) -> Avatar:
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(count, 4))
    gaussians = Gaussians(
        rng.uniform(-1, 1, (count, 3)),
        quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True),
        np.exp(rng.uniform(-6, -2, (count, 3))),
        rng.uniform(0, 1, count),
        rng.normal(scale=0.5, size=(count, (degree + 1) ** 2, 3)),
    )
    parents = np.array([-1, *(int(rng.integers(0, j)) for j in range(1, joints))])
    rig = Rig(tuple(f"joint {n}" for n in range(joints)), parents, rng.uniform(-0.5, 0.5, (joints, 3)))
    weights = rng.dirichlet(np.ones(4), count)
    skin = np.stack([rng.permutation(max(joints, 4))[:4] % joints for _ in range(count)])
    moved = rng.normal(scale=0.01, size=(expressions, count, 3)) * (rng.random((expressions, count, 1)) < 0.3)
    return Avatar(gaussians, rig, skin, weights, tuple(f"e{n}" for n in range(expressions)), moved)


def motion(frames: int = 40, joints: int = 5, expressions: int = 2, seed: int = 1) -> Motion:
    rng = np.random.default_rng(seed)
    rotations = np.cumsum(rng.normal(scale=0.05, size=(frames, joints, 3)), axis=0)
    translations = np.cumsum(rng.normal(scale=0.01, size=(frames, 3)), axis=0)
    return Motion(rotations, translations, rng.uniform(0, 1, (frames, expressions)), Fraction(30))


def test_what_is_encoded_is_decoded_within_the_steps() -> None:
    subject, moving = avatar(), motion()
    fine = Settings(effort=1, position_step=2**-16, scale_step=1 / 256, rotation_step=1 / 512, weight_bits=16,
                    expression_step=2**-16, expression_weight_step=1 / 4096, motion_tolerance=2**-14)  # fmt: skip
    frames = list(Decoder(encode(subject, moving, fine), strict=True).frames())
    assert [frame.index for frame in frames] == list(range(40))
    order = np.lexsort(np.round(subject.gaussians.positions, 3).T)
    rest = frames[0].canonical.position / 2**20
    matched = np.lexsort(np.round(rest, 3).T)
    assert np.abs(rest[matched] - subject.gaussians.positions[order]).max() <= 2**-17 + 1e-9
    for frame in frames[::13]:
        matrices = float_model.forward_kinematics(
            subject.rig, moving.rotations[frame.index], moving.translations[frame.index]
        )
        points = subject.gaussians.positions + np.einsum(
            "e,enc->nc", moving.expressions[frame.index], subject.expressions
        )
        exact = float_model.skin_points(points, subject.skin_joints, subject.skin_weights, matrices)
        assert np.abs(frame.gaussians[0][matched] / 2**20 - exact[order]).max() < 0.002


@pytest.mark.parametrize(
    "settings",
    [
        Settings(), Settings(random_access=0), Settings(frames_per_unit=1),
        Settings(frames_per_unit=7, random_access=0.4), Settings(group_shift=3), Settings(group_shift=1),
        Settings(chunk_size=33, checksums=False), Settings(influences=8, weight_bits=16),
        Settings(influences=1, weight_bits=9), Settings(effort=1), Settings(effort=9, opacity_power=1),
    ],
)  # fmt: skip
def test_every_structure_of_stream_decodes(settings: Settings) -> None:
    data = encode(avatar(), motion(), settings)
    decoder = Decoder(data, strict=True)
    frames = list(decoder.frames())
    assert (len(frames), decoder.end_frame_count, decoder.errors) == (40, 40, [])
    units = list(UnitReader(data))
    keys = [first for _, key, first, _ in motion_units(data) if key]
    assert keys == list(range(0, 40, {0: 40, 0.4: 12}.get(settings.random_access, 30)))
    assert all(
        (u.payload_end < u.end) == settings.checksums for u in units if u.type in ("canonical", "motion")
    )
    longest = max(count for *_, count in motion_units(data))
    assert longest <= settings.frames_per_unit
    assert sum(u.type == "canonical" for u in units) == -(-200 // settings.chunk_size)
    assert decoder.joint_names[2] == "joint 2" and decoder.expression_names[1] == "e1"


def test_the_finest_and_the_coarsest_settings_decode() -> None:
    tiny, huge = 1e-30, 1e30
    for step in (tiny, huge):
        settings = Settings(
            1, 0.4, 0, step, step, step, step, step, step, expression_step=step, expression_weight_step=step
        )
        settings = replace(settings, motion_tolerance=step, shell_tolerance=step)
        decoder = Decoder(encode(avatar(), motion(3), settings), strict=True)
        assert len(list(decoder.frames())) == 3


def _changed(subject: Avatar, **arrays: object) -> Avatar:
    return replace(subject, gaussians=replace(subject.gaussians, **arrays))  # type: ignore[arg-type]


EXTREMES = {
    "one Gaussian": lambda: avatar(1),
    "all transparent": lambda: _changed(avatar(24), opacities=np.zeros(24)),
    "metres wide": lambda: _changed(avatar(24), scales=np.full((24, 3), 3.0)),
    "thinner than atoms": lambda: _changed(avatar(24), scales=np.full((24, 3), 1e-13)),
    "all in one place": lambda: _changed(avatar(24), positions=np.full((24, 3), 0.3)),
    "huge harmonics": lambda: _changed(avatar(24, degree=3), sh=avatar(24, degree=3).gaussians.sh * 1e6),
}


@pytest.mark.parametrize(
    ("name", "effort"),
    [*((name, 3) for name in EXTREMES), ("one Gaussian", 9), ("all in one place", 9)],
)
def test_extreme_content_passes_at_every_kind_of_effort(name: str, effort: int) -> None:
    subject = EXTREMES[name]()
    data = encode(subject, motion(1), Settings(effort=effort, chunk_size=17))
    frames = list(Decoder(data, strict=True).frames())
    assert len(frames) == 1 and np.isfinite(frames[0].gaussians[0]).all()
    assert 1 <= len(frames[0].canonical.opacity) <= subject.gaussians.count


def test_extreme_content_decodes_to_the_ends_of_the_ranges() -> None:
    subject = avatar(60, degree=3)
    subject.gaussians.scales[:20] = 1e-12
    subject.gaussians.scales[20:40] = 1e6
    subject.gaussians.sh[:] *= 1e6
    subject.gaussians.opacities[::2] = 1
    subject.gaussians.positions[::2] = 7.99 * np.sign(subject.gaussians.positions[::2])
    subject.expressions[:] = 50.0 * np.sign(np.arange(60) % 2 - 0.5)[:, None]
    for settings in (Settings(effort=1), Settings(1, 0, 0, *[1e-9] * 6, expression_step=1e-9)):
        frame = next(Decoder(encode(subject, motion(2), settings), strict=True).frames())
        assert np.abs(frame.canonical.sh).max() == 32767
        assert frame.canonical.factor.max() / 2**24 == pytest.approx(2, rel=0.02)
        dense = frame.engine.dense_offsets(frame.canonical.offsets[0], 60)
        assert np.abs(np.abs(dense) / 2**20 - 2).max() < 0.01


def test_a_spin_of_many_turns_is_the_same_rotation() -> None:
    moving = motion(20)
    moving.rotations[:, 1] = np.linspace(0, 40, 20)[:, None] * [0, 0.6, 0.8]
    subject = avatar()
    frames = list(Decoder(encode(subject, moving), strict=True).frames())
    for n in (5, 12, 19):
        exact = float_model.forward_kinematics(subject.rig, moving.rotations[n], moving.translations[n])
        assert np.abs(frames[n].joints[:, :9] / 2**30 - exact[:, :, :3].reshape(-1, 9)).max() < 0.03


def test_one_frame_one_joint_one_gaussian() -> None:
    decoder = Decoder(encode(avatar(1, 1, 0, 0), motion(1, 1, 0)), strict=True)
    (frame,) = decoder.frames()
    assert frame.random_access and len(frame.gaussians[0]) == 1


def test_skin_values_by_hand() -> None:
    """The second Gaussian has the joints of the first: its weights less those; 100 is limited by what is left, 62."""
    joints = np.array([[1, 2, 3, 0], [1, 2, 3, 0], [1, 2, 0, 0]])
    weights = np.array([[300, 100, 112, 0], [450, 50, 12, 0], [500, 12, 0, 0]])
    neighbour = np.array([[0, 0], [0, 0], [1, 0]])
    values = skin_values(joints, weights, np.array([3, 3, 2]), neighbour)
    assert values["same_joints_flag"].tolist() == [0, 1, 0]
    assert values["weight_residual"][:, :2].tolist() == [[300, 100], [150, 50 - 62], [500, 12]]
    assert values["influence_count"].tolist() == [2, 2, 1]


def test_offset_values_by_hand() -> None:
    """The neighbours of Gaussian 3 are 1 and 2, of which 1 moves; those of 4 are 3 and 1: (7 + 5 + 1) >> 1 is 6."""
    offsets = np.array([[0, 0, 0], [5, 0, 1], [0, 0, 0], [7, 0, -1], [6, 1, 0]])
    values = offset_values(offsets, np.array([[0, 0], [0, 0], [1, 0], [2, 1], [3, 1]]))
    assert values["offset_flag"].tolist() == [0, 1, 0, 1, 1]
    assert values["offset_residual"].tolist() == [[0, 0, 0], [5, 0, 1], [0, 0, 0], [2, 0, -2], [0, 1, 0]]


def test_luma_and_chroma_are_the_inverse_of_the_decoder() -> None:
    colours = np.array([[0, 0, 0], [5, 2, -3], [-32767, 32767, 32767], [1, 0, 1]])
    back = [[spec.document().functions["colour_component"](*map(int, row), c) for c in range(3)]
            for row in luma_chroma(colours)]  # fmt: skip
    assert back == colours.tolist()


def test_a_chunk_by_hand() -> None:
    """Two Gaussians, x = 0 and 5 steps: 3 bits, so x is halved first: one in each half, 8 bits of each unread."""
    subject = avatar(2, 1, 0, 0)
    subject.gaussians.positions[:] = [[5 * 2**-10, 0, 0], [0, 0, 0]]
    steps = integer_steps(subject, Settings(effort=1, position_step=2**-10))
    values = quantised(subject, steps, Settings(effort=1), None)
    (rows,) = chunks(values, 8)
    assert rows.tolist() == [1, 0]
    elements = chunk_values(values.part(rows), steps, 0.0)
    assert (elements["position_bits"], elements["chunk_origin"].tolist()) == (3, [0, 0, 0])
    assert [elements[name].tolist() for name in ("one_side_flag", "upper_flag", "lower_count")] == [
        [0],
        [],
        [1],
    ]
    assert elements["position_low"].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert elements["coarseness"].tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("chunk_size", [65_536, 70_000])
def test_more_gaussians_than_16_bits_can_number(chunk_size: int) -> None:
    """In two chunks and in one: positions, skin, opacities and an expression of all 70,000 come back."""
    subject = avatar(70_000, 3, 0, 1)
    settings = Settings(effort=1, chunk_size=chunk_size)
    moving = Motion(np.zeros((2, 3, 3)), np.zeros((2, 3)), np.array([[0.0], [1.0]]), Fraction(30))
    coded = as_coded(subject, moving, settings)
    frames = list(Decoder(encode(subject, moving, settings), strict=True).frames())
    canonical, g = frames[0].canonical, coded.gaussians
    assert np.abs(canonical.position / 2**20 - g.positions).max() < 2**-14 + 2**-20
    assert np.abs(canonical.opacity / 2**14 - g.opacities).max() < 0.01
    heaviest = np.argmax(coded.skin_weights, axis=1)[:, None]
    joint = np.take_along_axis(coded.skin_joints, heaviest, 1)
    assert ((np.array(canonical.joint) == joint) & (np.array(canonical.weight) > 0)).any(axis=1).all()
    rest, moved = (np.array(frame.gaussians[0]) / 2**20 for frame in frames)
    assert np.abs(moved - rest - coded.expressions[0]).max() < 1e-4


def test_what_pictures_do_not_show_is_coarse_or_left_out() -> None:
    """Gaussians that are hardly opaque change nothing; the effort pays in bytes."""
    subject = avatar(300, 1, 0, 0)
    subject.gaussians.opacities[:200] = 0.004
    still = motion(1, 1, 0)
    frames = [
        next(Decoder(encode(subject, still, Settings(pruning=pruning)), strict=True).frames())
        for pruning in (0, 5)
    ]
    whole, pruned = (len(frame.canonical.position) for frame in frames)
    assert whole == 300 and pruned <= 100
    sizes = [len(encode(subject, still, Settings(effort=effort, pruning=0))) for effort in (1, 5)]
    assert sizes[1] < sizes[0]


def test_the_same_bytes_whatever_the_threads() -> None:
    before, streams = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            streams.append(encode(avatar(), motion()))
    finally:
        numba.set_num_threads(before)
    assert streams[0] == streams[1]


def test_the_same_bytes_in_every_process() -> None:
    program = (
        "import sys, hashlib, importlib.util\n"
        "spec = importlib.util.spec_from_file_location('content', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(hashlib.sha256(module.encode(module.avatar(), module.motion())).hexdigest())\n"
    )
    expected = hashlib.sha256(encode(avatar(), motion())).hexdigest()
    for hash_seed, threads in (("1", "1"), ("2", "2")):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        run = [sys.executable, "-c", program, __file__]
        output = subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout
        assert output.strip() == expected


def test_hashes_are_those_that_a_decoder_obtains() -> None:
    camera = Camera.look_at(np.array([0, 0, 4.0]), np.zeros(3), 24, 24)
    stages = ["symbols", "pose", "joints", "gaussians", "canonical", "projected", "pixels"]
    data = add_hashes(encode(avatar(), motion(6), cameras=[camera], description="six"), stages, every=2)
    decoder = Decoder(data, strict=True)
    frames = {frame.index: frame for frame in decoder.frames()}
    assert sorted(decoder.hashes) == [0, 2, 4] and decoder.description == "six"
    for index, expected in decoder.hashes.items():
        assert expected == {
            s: (decoder.cameras[0], frames[index].digest(s, decoder.cameras[0])) for s in stages
        }


def test_a_motion_that_does_not_fit_is_refused() -> None:
    subject = avatar()
    with pytest.raises(ContentError, match="4 joints"):
        encode(subject, motion(joints=4))
    with pytest.raises(ContentError, match="no frames"):
        encode(subject, motion(0))
    damaged = motion()
    damaged.rotations[7, 1, 2] = np.inf
    with pytest.raises(ContentError, match="rotations are not finite in frame 7"):
        encode(subject, damaged)


def test_more_than_any_level_allows_is_refused() -> None:
    subject = avatar(40, expressions=0)
    names = ("positions", "rotations", "scales", "opacities", "sh")
    many = {name: np.repeat(getattr(subject.gaussians, name), 20000, axis=0) for name in names}
    skin = {
        name: np.repeat(getattr(subject, name), 20000, axis=0) for name in ("skin_joints", "skin_weights")
    }
    with pytest.raises(ContentError, match="800000 Gaussians"):
        encode(
            replace(subject, gaussians=replace(subject.gaussians, **many), **skin), motion(2, expressions=0)
        )
