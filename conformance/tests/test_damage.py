"""§6.1 Damage: what the decoder survives, what its errors cost, and that the harness would notice a defect."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

import spec
from conformance import damage
from conformance.damage import Damaged, Defect, Original, damaged, seeds, survives, survivors
from reference_decoder import Decoder
from reference_decoder.motion import MotionState
from reference_decoder.units import level_limits, motion_place
from reference_encoder.units import frame_unit, unit

STREAMS = seeds(12)


def test_two_thousand_damaged_streams() -> None:
    summary = damage.campaign(2000, seed=20)
    assert summary["defects"] == []
    assert summary["without_error"] < 1200 and summary["frames"] > 5000
    assert len(summary["kinds"]) == len(set(damage.DAMAGES)) and len(summary["errors"]) > 25


def test_damage_is_decided_by_its_seed() -> None:
    first, again, other = (
        [piece.data for piece in itertools.islice(damaged(STREAMS, seed), 30)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_every_kind_of_damage_changes_most_streams() -> None:
    changed, seen = Counter[str](), Counter[str]()
    for stream in itertools.islice(damaged(STREAMS, 3), 400):
        seen[stream.kind] += 1
        changed[stream.kind] += stream.data != stream.original.data
    assert len(seen) == len(set(damage.DAMAGES))
    assert all(changed[kind] > seen[kind] / 3 for kind in seen)


def test_whatever_motion_is_missing_the_rest_is_judged() -> None:
    """§6.8 Every run of up to three motion units is left out; in some stream their numbers hide the loss."""
    unsure = 0
    for original in map(Original, seeds()):
        motion = sorted(original.frames)
        for first, count in itertools.product(range(len(motion)), (1, 2, 3)):
            stream = damage.without(original, set(motion[first : first + count]))
            survives(stream)
            unsure += stream.survivors is None
    assert 0 < unsure < 5


def undamaged(data: bytes = STREAMS[1], kept: dict[int, bool] | None = None) -> Damaged:
    original = Original(data)
    return Damaged(data, "nothing", original, survivors(original, set()) if kept is None else kept)


def test_an_intact_stream_survives() -> None:
    outcome = survives(undamaged())
    assert outcome.errors == () and outcome.frames == len(list(Decoder(STREAMS[1]).frames()))


@pytest.mark.parametrize("error", [IndexError("x"), MemoryError(), RecursionError(), KeyError("y")])
def test_the_harness_sees_an_error_that_escapes(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    stream = undamaged()

    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(MotionState, "decode", broken)
    with pytest.raises(Defect, match=type(error).__name__):
        survives(stream)


def test_the_harness_sees_a_frame_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, decode = undamaged(), MotionState.decode

    def shifted(self: MotionState, values: Any) -> Any:
        frames = decode(self, values)
        frames[-1][0][0] += self.place["next_frame"] > 3
        return frames

    monkeypatch.setattr(MotionState, "decode", shifted)
    with pytest.raises(Defect, match="is lost or changed"):
        survives(stream)


def test_the_harness_sees_frames_that_should_be_lost_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Defect, match="decoded the frames"):
        survives(undamaged(kept={}))
    monkeypatch.setattr(damage, "SECONDS", 0.0)
    with pytest.raises(Defect, match=r"took .* s twice"):
        survives(undamaged())


def claim(level: int, **changes: int) -> bytes:
    """A stream of a few hundred bytes whose avatar header asks for as much as its level allows, or for more."""
    limits = level_limits(spec.standard(), level)
    joints = limits["max_joints"]
    sequence = {
        "signature": 0x48474131, "version": 1, "profile": 0, "level": level, "frame_rate_numerator": 1,
        "frame_rate_denominator": 1, "coordinates": 0, "sequence_tools": 0,
    }  # fmt: skip
    avatar: dict[str, Any] = {
        "template_family": 0, "joint_count": joints, "joint_parent": [0, *range(joints)],
        "joint_offset": [[0] * 3] * joints,
        "gaussian_count": limits["max_gaussians"],
        "chunk_size": limits["max_gaussians"], "sh_degree": 3, "influence_limit": 7, "skin_weight_bits": 7,
        "position_step": 1, "scale_step": 1, "gaussian_rotation_step": 1, "scale_blur": 0,
        "opacity_step": 1, "opacity_power": 1, "sh_step": [1] * 4,
        "expression_count": limits["max_expression_offsets"] // limits["max_gaussians"],
        "expression_offset_step": 1, "step_code": [0] * 1023,
    }  # fmt: skip
    beyond = dict.fromkeys(limits, 1 << 40)
    data = unit("sequence", sequence, {}) + unit("avatar", avatar | changes, beyond, checksum=True)
    if not changes:
        frames = limits["max_unit_frames"]
        count = 3 + 3 * joints + avatar["expression_count"]
        zeros = {"step_shift": (), "residual_magnitude": (count,), "residual_sign": (count,)}
        values = {name: np.zeros((frames, *shape), np.int64) for name, shape in zeros.items()}
        values |= {"key_flag": 1, "several_flag": 1, "group_shift": 0, "unit_order": 0}
        values |= {"frame_count": frames - 1, "first_frame": 0}
        data += unit("motion", values, {**limits, **avatar, **motion_place()}, {})
    return data


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize(
    ("element", "value", "constraint"),
    [
        ("gaussian_count", 1 << 24, "level_gaussians"),
        ("gaussian_count", "one more", "level_gaussians"),
        ("expression_count", "one more", "level_expression_offsets"),
    ],
)
def test_a_claim_beyond_the_level_fails_before_memory_is_taken(
    level: int, element: str, value: int | str, constraint: str
) -> None:
    limits = level_limits(spec.standard(), level)
    if level == 1 and element == "expression_count":
        constraint = "level_expressions"  # both limits are met at once there, and this one stands first
    most = {
        "gaussian_count": limits["max_gaussians"],
        "expression_count": limits["max_expression_offsets"] // limits["max_gaussians"],
    }
    data = claim(level, **{element: most[element] + 1 if isinstance(value, str) else value})
    decoder = Decoder(data)
    assert peak(lambda: list(decoder.frames())) < 1 << 20
    assert [error.constraint for error in decoder.errors] == [constraint]
    assert decoder.canonical is None


BYTES_A_GAUSSIAN = 12 + 36 + 4 + 96 + 8 + 32
"""What a Gaussian of degree 3 takes in the decoder: position, factor, opacity, colours, joints, weights."""


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_most_that_a_level_allows_fits_its_bound(level: int) -> None:
    """A few kilobytes that claim all there is: frames come, and take what the Gaussians take and little more."""
    limits = level_limits(spec.standard(), level)
    data = claim(level)
    assert len(data) < 6000
    decoder = Decoder(data, strict=True)
    bound = limits["max_gaussians"] * BYTES_A_GAUSSIAN + (16 << 20)
    assert peak(lambda: sum(1 for _ in decoder.frames())) < bound


def peak(action: Any) -> int:
    """Bytes that Python and NumPy take at most during an action."""
    import tracemalloc

    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "constraint", "bit"),
    [
        (b"", "sequence_first", 0),
        (b"\x00", "unit_size.range", 0),
        (b"\xff", "unit_truncated", 8),
        (b"\xff\xff\xff\xff\xff\xff", "leb128_length", 40),
        (b"\xff\xff\xff\xff\x0f", "unit_size.range", 0),
        (b"\x02\x08", "unit_size_fits", 8),
        (b"\x01\x0c", "unit_checksum_fits", 16),
        (b"\x01\x09", "unit_reserved_bit.range", 15),
        (b"\x01\x0a", "unit_truncated", 16),
        (frame_unit("end", b"\x00"), "sequence_first", 0),
        (frame_unit("sequence", b"HGA2"), "signature.range", 16),
        (frame_unit("sequence", b"HGA1\x02"), "version.range", 48),
        (frame_unit("sequence", b"HGA1\x01\x00\x04"), "level.range", 64),
    ],
)
def test_streams_of_a_few_bytes(data: bytes, constraint: str, bit: int) -> None:
    decoder = Decoder(data)
    assert list(decoder.frames()) == []
    assert (decoder.errors[0].constraint, decoder.errors[0].bit_offset) == (constraint, bit)
    assert damage.first_error(data) is not None


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert damage.main(["--count", "20", "--seed", "4"]) == 0
    assert '"streams": 20' in capsys.readouterr().out
