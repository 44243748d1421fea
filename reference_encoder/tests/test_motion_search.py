"""§7.5 The search: it predicts what is decoded, errors stay in their limits, stillness costs nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import spec
from reference_decoder import Decoder
from reference_decoder.units import UnitReader
from reference_encoder import motion_search
from reference_encoder.content import ContentError, Motion
from reference_encoder.encode import encode
from reference_encoder.motion_model import motion_model, step_codes
from reference_encoder.motion_search import search
from reference_encoder.motion_units import planned_units
from reference_encoder.quantise import Settings
from tools.bench_rd_motion import CLIPS, acl, peer_clip, pose_errors, skeleton_avatar

STANDARD = spec.standard()
F = spec.document().functions


def smooth(frames: int = 40, scale: float = 0.3) -> Motion:
    """Every joint swings on its own, the root walks."""
    rng = np.random.default_rng(3)
    speed, phase = rng.uniform(0.05, 0.2, (55, 3)), rng.uniform(0, 7, (55, 3))
    time = np.arange(frames)[:, None, None]
    rotations = scale * np.sin(speed * time + phase)
    translations = np.arange(frames)[:, None] * [0.0, 0.001, 0.03]
    return Motion(rotations, translations, np.zeros((frames, 0)), Fraction(30))


def decoded(data: bytes) -> np.ndarray:
    return np.array([frame.pose for frame in Decoder(data, strict=True).frames()])


def motion_bytes(data: bytes) -> list[int]:
    return [unit.end - unit.start for unit in UnitReader(data) if unit.type == "motion"]


@pytest.mark.parametrize(("tolerance", "group_shift"), [(0.0001, 0), (0.001, 3), (0.003, 0), (0.003, 2)])
def test_errors_stay_within_their_limits_and_poses_are_those_of_the_decoder(
    tolerance: float, group_shift: int
) -> None:
    avatar, motion = skeleton_avatar(), smooth()
    settings = Settings(
        motion_tolerance=tolerance,
        shell_tolerance=1.5 * tolerance,
        random_access=0.5,
        group_shift=group_shift,
        frames_per_unit=11,
    )
    model = motion_model(avatar, motion)
    found = search(model, step_codes(model, settings), planned_units(motion, settings, 128), settings)
    poses = decoded(encode(avatar, motion, settings))
    assert np.array_equal(poses, found.poses)
    joint, shell = pose_errors(avatar, motion, poses)
    assert joint.max() <= 1000 * tolerance and shell.max() <= 1500 * tolerance
    assert joint.max() > 500 * tolerance  # and the limit is made use of


def test_coarser_limits_cost_less() -> None:
    avatar, motion = skeleton_avatar(), smooth()
    sizes = [
        sum(motion_bytes(encode(avatar, motion, Settings(motion_tolerance=t, shell_tolerance=2 * t))))
        for t in (0.0002, 0.0005, 0.002)
    ]
    assert sizes[0] > 1.1 * sizes[1] > 1.2 * sizes[2]


def test_a_frame_that_repeats_costs_next_to_nothing() -> None:
    motion = smooth(2)
    still = replace(
        motion,
        rotations=np.repeat(motion.rotations[:1], 120, axis=0),
        translations=np.repeat(motion.translations[:1], 120, axis=0),
        expressions=np.zeros((120, 0)),
    )
    settings = Settings(random_access=0, checksums=False, frames_per_unit=20)
    sizes = motion_bytes(encode(skeleton_avatar(), still, settings))
    assert sizes[-1] < 20  # 20 frames of 168 components, 4 bytes of headers among them


def test_what_cannot_be_kept_is_made_as_good_as_the_finest_steps_allow() -> None:
    avatar, motion = skeleton_avatar(), smooth(6)
    settings = Settings(motion_tolerance=1e-7, shell_tolerance=1e-7)
    joint, _ = pose_errors(avatar, motion, decoded(encode(avatar, motion, settings)))
    assert joint.max() < 0.1


def test_rotations_and_weights_at_the_ends_of_their_ranges() -> None:
    """A joint that jumps between full turns, weights beyond 4, a root at the end of the world."""
    motion = smooth(8)
    motion.rotations[::2, 5] = [0, 2 * math.pi, 0]
    motion.rotations[1::2, 5] = [0, -2 * math.pi, 0]
    motion.translations[:] = 63.99 * (-1.0) ** np.arange(8)[:, None]
    weights = np.array([[-5.0, 5.0]] * 8)
    avatar = replace(skeleton_avatar(), expression_names=("a", "b"), expressions=np.full((2, 55, 3), 0.01))
    poses = decoded(encode(avatar, replace(motion, expressions=weights), Settings()))
    joint, _ = pose_errors(avatar, motion, poses)
    assert joint.max() < 1000 * Settings().motion_tolerance
    limit = STANDARD.constant_values["EXPRESSION_WEIGHT_LIMIT"]
    assert np.abs(np.abs(poses[:, -2:]) - limit).max() <= 16


def test_costs_by_hand() -> None:
    """Fresh contexts: one bit a bin. 5 is 111, a stop, the bit below the leading one and a bypass bin."""
    bases = np.array(
        [STANDARD.context_bases[n] for n in ("step_shift", "residual_magnitude", "residual_sign")]
    )
    contexts = np.full(2 * STANDARD.context_count("motion_frames"), 32768)
    magnitudes, signs, shifts = motion_search._costs(contexts, bases, 0)
    assert magnitudes[4, [0, 1, 2, 3, 5, 15]].tolist() == [1, 2, 4, 4, 6, 8]
    assert (signs == 1).all() and (shifts == 2).all()
    contexts[2 * (bases[1] + 47 * 3) :][:2] = 57344  # a probability of 7/8 for 0 in class 3
    magnitudes = motion_search._costs(contexts, bases, 3)[0]
    assert magnitudes[3, 0] == pytest.approx(math.log2(8 / 7)) and magnitudes[3, 1] == 4
    assert magnitudes[2, 1] == 2


def test_contexts_adapt_as_those_of_the_encoder_do() -> None:
    rng = np.random.default_rng(0)
    symbols = (rng.normal(size=60) * 10.0 ** rng.integers(-1, 6, 60)).astype(np.int64)
    classes, sets = rng.integers(0, 15, 60), rng.integers(0, 4, 60)
    bases = np.array(
        [STANDARD.context_bases[n] for n in ("step_shift", "residual_magnitude", "residual_sign")]
    )
    ours = np.full(2 * STANDARD.context_count("motion_frames"), 32768)
    motion_search._adapt(ours, bases, 1, symbols, 2, classes, sets)
    theirs, engine, output = [32768] * len(ours), [0, 0, 0], [0] * 4000
    F["start_encoder"](engine)
    F["encode_tree"](output, engine, theirs, int(bases[0]) + 3, 2, 2)
    for k, class_, sign_set in zip(symbols.tolist(), classes.tolist(), sets.tolist(), strict=True):
        F["encode_magnitude"](output, engine, theirs, int(bases[1]) + 47 * class_, 0, abs(k))
        if k:
            F["encode_flag"](output, engine, theirs, int(bases[2]) + sign_set, 0, int(k < 0))
    assert ours.tolist() == theirs


def test_a_key_unit_is_decoded_as_if_it_came_first() -> None:
    data = encode(skeleton_avatar(), smooth(), Settings(random_access=0.5))
    assert np.array_equal(
        decoded(data)[15:], np.array([frame.pose for frame in Decoder(data).frames(start=15)])
    )


def real() -> Motion:
    """A clip of 44 frames of a man who begins to run."""
    return peer_clip(next(peer for peer in acl() if peer.clip == "cmu_02_03_run_jog"), CLIPS)


@pytest.mark.parametrize("bitrate", [4.0, 12.0])
def test_a_bit_rate_is_kept_and_used(bitrate: float) -> None:
    motion = real()
    data = encode(skeleton_avatar(), motion, Settings(bitrate=bitrate, checksums=False))
    rate = sum(motion_bytes(data)) * 8 * float(motion.fps) / motion.count / 1000
    assert 0.95 * bitrate < rate <= bitrate


@pytest.mark.parametrize("millimetres", [0.3, 3.0])
def test_a_mean_error_is_kept_and_used(millimetres: float) -> None:
    motion = real()
    data = encode(skeleton_avatar(), motion, Settings(mean_error=millimetres / 1000, group_shift=2))
    joint, _ = pose_errors(skeleton_avatar(), motion, decoded(data))
    assert 0.95 * millimetres < joint.mean() <= millimetres


def test_a_largest_error_is_kept_and_used() -> None:
    motion = real()
    data = encode(skeleton_avatar(), motion, Settings(motion_tolerance=0.001, shell_tolerance=0.1))
    joint, _ = pose_errors(skeleton_avatar(), motion, decoded(data))
    assert 0.95 < joint.max() <= 1


def test_a_constant_step_is_kept_whatever_the_errors() -> None:
    """No frame halves its steps, errors beyond the tolerances are left, and a coarser step costs less."""
    avatar, sizes = skeleton_avatar(), []
    for step in (0.0005, 0.002):
        settings = Settings(motion_step=step, motion_tolerance=1e-4, shell_tolerance=1e-4)
        model = motion_model(avatar, real())
        codes = step_codes(model, settings)
        assert np.array_equal(codes, step_codes(model, replace(settings, motion_tolerance=1.0)))
        found = search(model, codes, planned_units(real(), settings, 128), settings)
        assert not found.shifts.any()
        sizes.append(sum(motion_bytes(encode(avatar, real(), settings))))
    assert sizes[0] > 1.3 * sizes[1]


def test_two_masters_are_refused() -> None:
    with pytest.raises(ContentError, match="mean_error and bitrate"):
        encode(skeleton_avatar(), smooth(2), Settings(mean_error=0.001, bitrate=9.0))
    with pytest.raises(ContentError, match="at most 8 frames"):
        encode(skeleton_avatar(), smooth(2), Settings(group_shift=4))
