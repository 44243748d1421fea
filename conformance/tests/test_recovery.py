"""§6.3 to §6.10 What depends on which unit: random access, losses, repetitions, and units that are skipped."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

import spec
from conformance.generate import generate
from reference_decoder import Decoder, decode
from reference_decoder.units import Unit, UnitReader, motion_units
from reference_encoder.encode import add_hashes, camera_values
from reference_encoder.units import frame_unit, unit_from_source
from reference_encoder.units import unit as write_unit
from spec.errors import ConstraintViolation, Malformed
from spec.ports import chosen

PRESETS = {
    "gaussian_count": 20,
    "chunk_size": 8,
    "expression_count": 2,
    "several_flag": 1,
    "frame_count": 1,
    "joint_count": 3,
}


def cut(data: bytes) -> list[tuple[Unit, bytes]]:
    return [(unit, data[unit.start : unit.end]) for unit in UnitReader(data)]


def plain(seed: int, units: int = 9, shape: dict[str, Any] | None = None, **presets: int) -> bytes:
    """A random stream with all its structural units before motion and nothing that is skipped."""
    pieces = cut(generate(seed, PRESETS | presets, units=units, **(shape or {})))
    kinds = ("canonical", "expression")
    structural = [p for u, p in pieces if u.type in kinds and u.layer == 0]
    rest = [p for u, p in pieces if u.type in ("motion", "end") and u.layer == 0]
    camera = [p for u, p in pieces if u.type == "metadata" and u.layer == 0][:1]
    return b"".join([piece for _, piece in pieces[:2]] + structural + camera + rest)


def digests(data: bytes, start: int = 0, **options: Any) -> dict[int, tuple[bytes, bytes]]:
    frames = decode(data, start=start, **options)
    return {frame.index: (frame.digest("symbols"), frame.digest("gaussians")) for frame in frames}


def motion(data: bytes) -> list[tuple[Unit, bool, int, int]]:
    """(unit, key, first frame, frames) of every motion unit."""
    return list(motion_units(data))


def without(data: bytes, *lost: int) -> bytes:
    return b"".join(piece for unit, piece in cut(data) if unit.index not in lost)


def broken(data: bytes, index: int) -> bytes:
    """The same stream with a unit whose checksum does not agree."""
    pieces = []
    for unit, piece in cut(data):
        if unit.index == index:
            payload = data[unit.payload_start : unit.payload_end]
            piece = frame_unit(unit.type_number, payload, layer=unit.layer, checksum=True)
            piece = piece[:-1] + bytes([piece[-1] ^ 1])
        pieces.append(piece)
    return b"".join(pieces)


def seed_with(*keys: bool) -> bytes:
    """A stream of four motion units of two frames whose key flags are `keys`."""
    for seed in range(400):
        data = plain(seed, len(keys))
        if [key for _, key, _, _ in motion(data)] == list(keys):
            return data
    raise AssertionError(f"no seed gives the keys {keys}")


@pytest.mark.parametrize("seed", range(20, 28))
def test_decoding_from_any_frame_gives_what_decoding_all_gives(seed: int) -> None:
    data = plain(seed)
    whole = digests(data)
    for start in range(max(whole) + 2):
        assert digests(data, start) == {index: value for index, value in whole.items() if index >= start}


@pytest.mark.parametrize("seed", range(20, 24))
def test_entering_reads_no_motion_before_the_key_unit(seed: int) -> None:
    """Everything between the structural units and the key unit may be missing."""
    data = plain(seed)
    whole = digests(data)
    for unit, key, first, _ in motion(data):
        if key:
            earlier = [u.index for u, *_ in motion(data) if u.index < unit.index]
            joined = without(data, *earlier)
            assert digests(joined) == {index: value for index, value in whole.items() if index >= first}
            damaged = data
            for index in earlier:
                damaged = broken(damaged, index)
            if first:
                assert digests(damaged, first, strict=True) == digests(joined)


def test_a_lost_unit_costs_the_predicted_units_after_it() -> None:
    data = seed_with(True, False, False, True)
    units = motion(data)
    whole = digests(data)
    for position, kept in ((0, [3]), (1, [0, 3]), (2, [0, 1, 3]), (3, [0, 1, 2])):
        frames = {f for n in kept for f in range(units[n][2], units[n][2] + 2)}
        expected = {index: whole[index] for index in whole if index in frames}
        for lossy in (without(data, units[position][0].index), broken(data, units[position][0].index)):
            assert digests(lossy, strict=False) == expected


def test_which_errors_a_loss_makes() -> None:
    """A missing unit shows in each predicted unit after it as long as none was refused; then they are skipped."""
    data = seed_with(True, False, False, True)
    units = [unit.index for unit, *_ in motion(data)]
    decoder = Decoder(without(data, units[1]))
    assert [frame.index for frame in decoder.frames()] == [*_frames(data, 0), *_frames(data, 3)]
    assert [(e.constraint, e.unit) for e in decoder.errors] == [("motion_order", units[1])]
    decoder = Decoder(broken(data, units[1]))
    list(decoder.frames())
    assert [(e.constraint, e.unit) for e in decoder.errors] == [("unit_checksum_matches", units[1])]
    with pytest.raises(ConstraintViolation, match="motion_order"):
        digests(without(data, units[1]), strict=True)
    with pytest.raises(Malformed, match="unit_checksum_matches"):
        digests(broken(data, units[1]), strict=True)


def _frames(data: bytes, position: int) -> range:
    _, _, first, count = motion(data)[position]
    return range(first, first + count)


def test_a_stream_that_begins_with_a_predicted_unit() -> None:
    data = seed_with(True, False, True)
    decoder = Decoder(without(data, motion(data)[0][0].index))
    assert [frame.index for frame in decoder.frames()] == list(_frames(data, 2))
    assert [e.constraint for e in decoder.errors] == ["motion_order"]


def test_a_repeated_motion_unit_is_refused() -> None:
    data = seed_with(True, False, True)
    pieces = [piece for _, piece in cut(data)]
    second = motion(data)[1][0].index
    decoder = Decoder(b"".join([*pieces[: second + 1], *pieces[second:]]))
    assert {frame.index for frame in decoder.frames()} == set(digests(data))
    assert [(e.constraint, e.unit) for e in decoder.errors] == [("motion_order", second + 1)]


def test_units_that_a_decoder_skips_change_nothing() -> None:
    """Unlisted types, the reserved generator, other layers, unlisted metadata: anywhere behind the first unit."""
    data = plain(3)
    extra = [frame_unit(n, b"\xff\x00", checksum=True) for n in (0, 5, 9, 31)]
    extra += [frame_unit(n, b"\xff" * 5, layer=layer) for n in (1, 2, 3, 4, 6, 7, 8) for layer in (1, 255)]
    extra.append(frame_unit("metadata", b"\xc8anything"))
    pieces = [piece for _, piece in cut(data)]
    for place in range(1, len(pieces) + 1, 3):
        stream = b"".join([*pieces[:place], *extra, *pieces[place:]])
        assert digests(stream, strict=True) == digests(data)


def test_a_first_unit_of_another_layer_is_no_sequence_header() -> None:
    data = plain(3)
    payload = cut(data)[0][0]
    layered = frame_unit("sequence", data[payload.payload_start : payload.payload_end], layer=2)
    decoder = Decoder(layered + data)
    assert len(list(decoder.frames())) == len(digests(data))
    assert [(e.constraint, e.unit, e.bit_offset) for e in decoder.errors] == [("sequence_first", 0, 0)]


def test_repeated_headers_are_skipped_and_changed_ones_refused() -> None:
    data = plain(4)
    (first, sequence), (second, avatar), *rest = cut(data)
    tail = b"".join(piece for _, piece in rest)
    assert digests(sequence + avatar + sequence + avatar + tail, strict=True) == digests(data)
    for unit, name in ((first, "sequence_repeated"), (second, "avatar_repeated")):
        payload = bytearray(data[unit.payload_start : unit.payload_end])
        payload[-1] ^= 1
        decoder = Decoder(sequence + avatar + frame_unit(unit.type_number, bytes(payload)) + tail)
        assert len(list(decoder.frames())) == len(digests(data))
        assert [(e.constraint, e.unit) for e in decoder.errors] == [(name, 2)]


def test_a_repetition_stands_in_for_a_header_that_was_damaged() -> None:
    data = plain(4)
    (_, sequence), (_, avatar), *rest = cut(data)
    tail = b"".join(piece for _, piece in rest)
    repeated = sequence + avatar + sequence + avatar + tail
    for index in (0, 1):
        decoder = Decoder(broken(repeated, index))
        assert len(list(decoder.frames())) == len(digests(data))
        assert [e.constraint for e in decoder.errors] == ["unit_checksum_matches"]
    decoder = Decoder(avatar + sequence + avatar + tail)  # an avatar header first is one error, not two
    assert len(list(decoder.frames())) == len(digests(data))
    assert [e.constraint for e in decoder.errors] == ["sequence_first"]


def test_headers_that_are_missing_are_reported_once() -> None:
    (_, sequence), (_, avatar), *rest = cut(plain(4))
    tail = b"".join(piece for _, piece in rest)
    for data, constraint in (
        (sequence + tail, "avatar_first"),
        (avatar + tail, "sequence_first"),
        (b"", "sequence_first"),
    ):
        decoder = Decoder(data)
        assert list(decoder.frames()) == []
        assert [e.constraint for e in decoder.errors] == [constraint]


def test_a_chunk_that_is_missing_is_not_visible() -> None:
    data = plain(5, expression_count=0)
    chunk = next(u for u, _ in cut(data) if u.type == "canonical" and data[u.payload_start] == 1)
    full = next(decode(data)).canonical
    frame = next(decode(without(data, chunk.index)))
    part = frame.canonical
    assert full.chunks == {0, 1, 2} and part.chunks == {0, 2}
    gone = slice(8, 16)
    for name in ("position", "factor", "opacity", "sh", "joint", "weight"):
        assert not getattr(part, name)[gone].any()
        for kept in (slice(0, 8), slice(16, 20)):
            assert (getattr(part, name)[kept] == getattr(full, name)[kept]).all()
    assert [not array[gone].any() for array in frame.gaussians] == [True] * 3


def test_frames_are_made_of_what_was_received_before_them() -> None:
    """A chunk that comes late changes later frames only; frames handed out keep what they were made from."""
    data = plain(6, units=3, expression_count=0)
    pieces = cut(data)
    late = next(u.index for u, _ in pieces if u.type == "canonical")
    second = motion(data)[1][0].index
    order = [i for i in range(len(pieces)) if i != late]
    order.insert(order.index(second), late)
    frames = list(decode(b"".join(pieces[i][1] for i in order)))
    whole = digests(data)
    missing = digests(without(data, late))
    for frame in frames:
        expected = missing if frame.index in _frames(data, 0) else whole
        assert (frame.digest("symbols"), frame.digest("gaussians")) == expected[frame.index]


def test_a_damaged_chunk_may_come_again_and_an_intact_one_is_skipped() -> None:
    data = plain(7)
    pieces = cut(data)
    index = next(u.index for u, _ in pieces if u.type == "canonical")
    again = [*(p for _, p in pieces[: index + 1]), *(p for _, p in pieces[index:])]
    assert digests(b"".join(again), strict=True) == digests(data)
    assert digests(broken(b"".join(again), index), strict=False) == digests(data)


def test_an_expression_needs_all_chunks() -> None:
    """Without one it is an error if nothing was damaged before, else it is skipped; it may come again in time."""
    data = plain(5)
    pieces = cut(data)
    chunk = next(u.index for u, _ in pieces if u.type == "canonical")
    expressions = [u.index for u, _ in pieces if u.type == "expression"]
    assert expressions and chunk < expressions[0]
    with pytest.raises(ConstraintViolation, match="expression_after_canonical"):
        digests(without(data, chunk))
    for lossy, constraint in (
        (without(data, chunk), "expression_after_canonical"),
        (broken(data, chunk), "unit_checksum_matches"),
    ):
        decoder = Decoder(lossy)
        frame = next(decoder.frames())
        assert [error.constraint for error in decoder.errors] == [constraint]
        assert frame.canonical.expressions == set()
    repaired = [*(p for _, p in pieces[: expressions[-1] + 1]), *(p for _, p in pieces[chunk:])]
    frame = next(Decoder(b"".join(repaired)).frames())
    damaged = cut(broken(b"".join(repaired), chunk))
    again = next(Decoder(b"".join(p for _, p in damaged)).frames())
    assert again.digest("canonical") == frame.digest("canonical")


def test_an_expression_that_is_missing_displaces_nothing() -> None:
    for seed in range(60):
        data = plain(seed)
        lost = next((u for u, _ in cut(data) if u.type == "expression"), None)
        if lost is None or digests(data) == digests(without(data, lost.index)):
            continue
        frame = next(decode(without(data, lost.index)))
        expression = data[lost.payload_start]
        assert expression not in frame.canonical.expressions
        dense = frame.engine.dense_offsets(frame.canonical.offsets[expression], 20)
        assert not dense.any()
        return
    raise AssertionError("no seed has an expression that moves anything")


def test_end_of_sequence_and_time() -> None:
    data = plain(8)
    decoder = Decoder(data)
    frames = list(decoder.frames())
    assert decoder.end_frame_count == frames[-1].index + 1
    rate = Fraction(decoder.sequence["frame_rate_numerator"], decoder.sequence["frame_rate_denominator"])
    assert [frame.time for frame in frames] == [frame.index / rate for frame in frames]
    assert [frame.random_access for frame in frames] == [
        key and n == 0 for _, key, _, count in motion(data) for n in range(count)
    ]
    cut_off = Decoder(without(data, cut(data)[-1][0].index))
    assert len(list(cut_off.frames())) == len(frames) and cut_off.end_frame_count is None


def test_names_cameras_and_description_are_kept() -> None:
    c = spec.standard().constant_values
    import random

    def item(kind: str, **values: Any) -> bytes:
        return unit_from_source(
            "metadata", chosen(random.Random(1), {"metadata_type": c[f"METADATA_TYPE_{kind}"], **values}), {}
        )

    extra = item("JOINT_NAME", name_index=2, name_text="knee é".encode())
    extra += item("EXPRESSION_NAME", name_index=1, name_text=b"\xffjaw")
    extra += item("DESCRIPTION", description_text=b"a test") + item("CAMERA", camera_id=200, camera_width=7)
    decoder = Decoder(plain(9) + extra, strict=True)
    list(decoder.frames())
    assert decoder.joint_names == {2: "knee é"} and decoder.expression_names == {1: "\ufffdjaw"}
    assert decoder.description == "a test" and decoder.cameras[200].width == 7


def test_motion_that_lacked_the_avatar_header_is_lost_up_to_the_next_key_unit() -> None:
    data = next(
        d for d in map(plain, range(60)) if [key for _, key, _, _ in motion(d)][:3] == [True, False, True]
    )
    pieces = cut(data)
    header, first = pieces[1][1], motion(data)[0][0].index
    late = broken(data, 1)
    at = cut(late)[first][0].end
    decoder = Decoder(late[:at] + header + late[at:])
    frames = [frame.index for frame in decoder.frames()]
    assert [error.constraint for error in decoder.errors] == ["unit_checksum_matches"]
    assert frames[0] == motion(data)[2][2]


def test_hashes_mean_the_camera_that_stands_before_them() -> None:
    data = plain(3)
    camera = next(piece for unit, piece in cut(data) if unit.type == "metadata")
    hashed = add_hashes(data, ["pixels"])
    decoder = Decoder(data)
    frames = list(decoder.frames())
    other = replace(decoder.cameras[0], width=decoder.cameras[0].width + 8)
    late = Decoder(hashed + write_unit("metadata", camera_values(0, other), {}))
    assert [frame.index for frame in late.frames()] == [frame.index for frame in frames]
    assert late.cameras[0].width == other.width
    for frame in frames:
        kept, digest = late.hashes[frame.index]["pixels"]
        assert kept is not None and digest == frame.digest("pixels", kept)
    early = Decoder(hashed.replace(camera, b"", 1) + camera)
    list(early.frames())
    assert {kept for stages in early.hashes.values() for kept, _ in stages.values()} == {None}


def test_motion_units_are_counted_modulo_sixteen() -> None:
    """Twenty units of one frame: any loss up to fifteen in a row shows, one of sixteen does not by itself."""
    data = plain(1, units=20, several_flag=0, shape={"keys": 0.0})
    units = [unit.index for unit, *_ in motion(data)]
    assert sorted(digests(data)) == list(range(motion(data)[0][2], motion(data)[0][2] + 20))
    for lost in (1, 7, 15):
        with pytest.raises(ConstraintViolation, match="motion_order"):
            digests(without(data, *units[2 : 2 + lost]))
    decoder = Decoder(without(data, *units[2:18]))
    list(decoder.frames())
    assert "motion_order" not in {error.constraint for error in decoder.errors}


def test_frames_beyond_the_last_index_are_refused() -> None:
    """Behind the last frame that there can be, one more unit with the next `unit_order`."""
    last = spec.standard().constant_values["FRAME_LIMIT"] - 1
    data = plain(1, units=2, shape={"keys": 0.0, "first_frame": last - 1}, several_flag=0)
    unit = motion(data)[1][0]
    payload = bytearray(data[unit.payload_start : unit.payload_end])
    payload[0] = payload[0] & 0xF0 | (payload[0] + 1) & 0x0F
    decoder = Decoder(data + frame_unit("motion", bytes(payload)))
    assert [frame.index for frame in decoder.frames()] == [last - 1, last]
    assert [e.constraint for e in decoder.errors] == ["motion_extent"]


def test_frames_come_in_the_order_of_time_whatever_that_of_the_stream() -> None:
    data = plain(2, units=3, several_flag=1, frame_count=8, group_shift=3)
    assert [f.index for f in decode(data)] == sorted(digests(data)) and len(digests(data)) == 27
