"""§5.11 Generator units: what is written is what a decoder has, and what may not be is refused before it is used."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from copy import deepcopy
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import spec
from reference_decoder import Compiled, Decoder, Executed
from reference_decoder.units import UnitReader, level_limits
from reference_encoder.content import Avatar, ContentError, Gaussians, Motion
from reference_encoder.encode import add_hashes, encode
from reference_encoder.generator import (
    HEADS,
    GeneratorModel,
    add_generator,
    changes,
    generator_unit,
    quantised_levels,
    random_layers,
)
from reference_encoder.quantise import Settings
from reference_encoder.skeletons import smplx_skeleton
from reference_encoder.units import frame_unit
from spec.bits import BitWriter
from spec.load import Check
from spec.ports import WritePort, given
from spec.walk import walk

F = spec.document().functions
EDGE = 65793  # the largest sum of absolute weights: 65793 * 255 = 2^24 - 1
COUNT = 40


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A still body of a few Gaussians, without a generator."""
    random = np.random.default_rng(2)
    rig = smplx_skeleton()
    gaussians = Gaussians(
        random.uniform(-0.5, 0.5, (COUNT, 3)), np.tile([1.0, 0, 0, 0], (COUNT, 1)), np.full((COUNT, 3), 0.02),
        np.full(COUNT, 0.8), random.normal(0, 0.3, (COUNT, 1, 3)),
    )  # fmt: skip
    avatar = Avatar(gaussians, rig, np.zeros((COUNT, 1), np.int64), np.ones((COUNT, 1)))
    rotations = random.normal(0, 0.2, (4, rig.count, 3))
    motion = Motion(rotations, np.zeros((4, 3)), np.zeros((4, 0)), Fraction(30))
    return encode(avatar, motion, Settings(effort=1, frames_per_unit=1))


def model(layers: bool = True, **changed: Any) -> GeneratorModel:
    """A small random generator for the body."""
    values: dict[str, Any] = {
        "map_bits": 4, "input_level": 1, "encoder_channels": [5, 6], "decoder_channels": [4, 5, 6],
        "modulation": [True, False, True], "mapping_size": 7, "heads": HEADS, "head_width": 1,
        "map_origin": (-(1 << 19), -(1 << 19)), "map_scale": 16 << 8, "posed_shift": 14, "rest_shift": 14,
        "side": np.arange(COUNT) % 3 // 2, "identity": 5,
    }  # fmt: skip
    made = GeneratorModel(**(values | changed))
    if layers:
        random_layers(made, 3 * 54, np.random.default_rng(4))
    return made


def decoded(data: bytes, **options: Any) -> tuple[Decoder, list[Any]]:
    decoder = Decoder(data, **options)
    return decoder, list(decoder.frames())


def test_a_decoder_has_the_integers_of_the_model(plain: bytes) -> None:
    made = model()
    decoder, frames = decoded(add_generator(plain, made), strict=True)
    generator = decoder.generator
    assert generator is not None and generator.identity == 5 and generator.updates == 0
    assert all(np.array_equal(a, b) for a, b in zip(generator.parameters, made.flat(), strict=True))
    assert np.array_equal(generator.side, made.side)
    assert all(frame.generator is generator for frame in frames)
    assert decoder.sequence["profile"] == 1


def test_engines_agree_and_a_generator_moves_the_gaussians(plain: bytes) -> None:
    data = add_generator(plain, model())
    _, ours = decoded(data, strict=True)
    _, texts = decoded(data, engine=Executed(), strict=True)
    _, before = decoded(plain, strict=True)
    for frame, text, old in zip(ours, texts, before, strict=True):
        for stage in ("maps", "gaussians"):
            assert frame.digest(stage) == text.digest(stage)
        assert frame.digest("joints") == old.digest("joints")
        for new, plain_part in zip(
            (*frame.gaussians[:2], frame.appearance[0]), (*old.gaussians[:2], old.appearance[0]), strict=True
        ):
            assert (np.asarray(new) != np.asarray(plain_part)).any()
        assert "maps" not in old.stages
        with pytest.raises(ValueError, match="no generator is active"):
            _ = old.maps


def changed_model(made: GeneratorModel) -> GeneratorModel:
    other = deepcopy(made)
    other.layers[4].weights[0, 0] = -other.layers[4].weights[0, 0]
    other.layers[-1].bias += 300
    other.layers[-1].shift[:] = np.maximum(other.layers[-1].shift - 1, 1)
    return other


def test_an_update_holds_from_its_frame_on_and_takes_few_bytes(plain: bytes) -> None:
    made, units = model(), {}
    other = changed_model(made)
    data = add_generator(plain, made, {2: other})
    for unit in UnitReader(data):
        if unit.type == "generator":
            units[unit.index] = unit.end - unit.start
    first, second = units.values()
    assert second < first / 10
    decoder, frames = decoded(data, strict=True)
    assert decoder.generator is not None and decoder.generator.updates == 1
    assert all(np.array_equal(a, b) for a, b in zip(decoder.generator.parameters, other.flat(), strict=True))
    _, without = decoded(add_generator(plain, made), strict=True)
    _, replaced = decoded(add_generator(plain, other), strict=True)
    same = [frame.digest("maps") for frame in (*without[:2], *replaced[2:])]
    assert [frame.digest("maps") for frame in frames] == same != [frame.digest("maps") for frame in without]


def test_a_lost_update_shows_by_the_next_and_leaves_the_weights(plain: bytes) -> None:
    made = model()
    data = add_generator(plain, made, {1: changed_model(made), 2: made})
    pieces = list(UnitReader(data))
    lost = [unit for unit in pieces if unit.type == "generator"][1]
    decoder, frames = decoded(data[: lost.start] + data[lost.end :])
    assert [error.constraint for error in decoder.errors] == ["generator_order"]
    assert len(frames) == 4 and decoder.generator is not None and decoder.generator.updates == 0


def test_a_generator_before_its_chunks_and_in_a_stream_without_one(plain: bytes) -> None:
    data = add_generator(plain, model())
    pieces = list(UnitReader(data))
    unit = next(piece for piece in pieces if piece.type == "generator")
    chunk = next(piece for piece in pieces if piece.type == "canonical")
    moved = (
        data[: chunk.start] + data[unit.start : unit.end] + data[chunk.start : unit.start] + data[unit.end :]
    )
    decoder, _ = decoded(moved)
    assert [error.constraint for error in decoder.errors] == ["generator_after_canonical"]
    first = next(iter(UnitReader(plain)))
    decoder, frames = decoded(plain[: first.end] + data[pieces[0].end :], strict=True)  # profile canonical
    assert decoder.generator is None and len(frames) == 4


class Lenient(WritePort):
    """Writes what `generator_accumulator` forbids."""

    def check(self, check: Check) -> None:
        if check.constraint != "generator_accumulator":
            super().check(check)


def with_sums(total: int) -> GeneratorModel:
    """A generator with one output channel whose absolute weights have this sum, after channels at the edge."""
    made = model(decoder_channels=[130, 4, 6], heads=["opacity"], head_width=3)
    for layer in made.layers:
        layer.weights[:] = 0
    weights = made.layers[-1].weights.reshape(2, -1)
    for row, limit in ((0, EDGE), (1, total)):
        weights[row, : limit // 63] = np.where(np.arange(limit // 63) % 2, -63, 63)
        weights[row, -1] = limit % 63
    return made


def forced(made: GeneratorModel, plain: bytes) -> bytes:
    """The stream with a generator that is written whatever its sums."""
    decoder, _ = decoded(plain, strict=True)
    assert decoder.canonical is not None
    known = decoder.avatar | level_limits(spec.standard(), 3)
    known["surface_neighbour"] = decoder.canonical.neighbours(decoder.engine, decoder.avatar)
    values = (
        changes(made, None) | made.topology() | {"generator_id": 5, "update_flag": 0, "side_flag": made.side}
    )
    flags = iter(values["dependent_flag"])
    source = given(values | {"dependent_flag": 0})
    writer = BitWriter()
    assert not any(flags)
    walk(
        spec.standard(),
        "generator_unit",
        Lenient(spec.standard(), known, writer, spec.document().unchecked, source),
    )
    data = add_generator(plain, model())
    unit = next(piece for piece in UnitReader(data) if piece.type == "generator")
    return data[: unit.start] + frame_unit("generator", writer.bytes()) + data[unit.end :]


@pytest.mark.parametrize("engine", [Compiled, Executed])
def test_one_step_beyond_the_edge_is_refused_with_unit_and_bit(plain: bytes, engine: Any) -> None:
    decoder, frames = decoded(forced(with_sums(EDGE), plain), engine=engine(), strict=True)
    assert decoder.generator is not None and len(frames) == 4
    data = forced(with_sums(EDGE + 1), plain)
    decoder, frames = decoded(data, engine=engine())
    unit = next(piece for piece in UnitReader(data) if piece.type == "generator")
    (error,) = decoder.errors
    assert (error.kind, error.constraint, error.unit) == (
        "ConstraintViolation",
        "generator_accumulator",
        unit.index,
    )
    assert unit.payload_start * 8 < error.bit_offset <= unit.end * 8 + 32
    assert "magnitude_sum = 65794" in error.message
    assert (
        decoder.generator is None and len(frames) == 4 and all("maps" not in frame.stages for frame in frames)
    )


def test_both_engines_place_the_error_alike(plain: bytes) -> None:
    data = forced(with_sums(EDGE + 1), plain)
    errors = [decoded(data, engine=engine)[0].errors[0].as_dict() for engine in (Compiled(), Executed())]
    assert errors[0] == errors[1]


def test_the_writer_refuses_it_too(plain: bytes) -> None:
    with pytest.raises(spec.errors.ConstraintViolation, match="magnitude_sum = 65794"):
        add_generator(plain, with_sums(EDGE + 1))


@pytest.mark.parametrize(
    ("changed", "constraint"),
    [
        ({"map_bits": 10}, "level_map_size"),
        ({"map_bits": 8, "decoder_channels": [60, 60, 6]}, "level_generator_macs"),
        (
            {"map_bits": 9, "decoder_channels": [40, 1, 1], "encoder_channels": [1, 1]},
            "level_generator_values",
        ),
        ({"decoder_channels": [9, 9, 400], "encoder_channels": [9, 400]}, "level_generator_weights"),
    ],
)
def test_what_a_level_does_not_allow_is_refused_before_memory_is_taken(
    plain: bytes, changed: dict[str, Any], constraint: str
) -> None:
    data = add_generator(plain, model())
    unit = next(piece for piece in UnitReader(data) if piece.type == "generator")
    writer = BitWriter()
    beyond = dict.fromkeys(level_limits(spec.standard(), 1), 1 << 50) | {
        "joint_count": 55,
        "expression_count": 0,
    }
    values = model(layers=False, **changed).topology() | {"generator_id": 5, "update_flag": 0}
    port = WritePort(
        spec.standard(), beyond | {"update_flag": 0}, writer, spec.document().unchecked, given(values)
    )
    walk(spec.standard(), "generator_topology", port)
    claim = frame_unit("generator", b"\x05" + writer.bytes() + bytes(20))
    claim = data[: unit.start] + claim + data[unit.end :]
    decoded(data)  # whatever is compiled or kept at first use
    tracemalloc.start()
    decoder, _ = decoded(claim)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [error.constraint for error in decoder.errors] == [constraint] and peak < 1 << 22


def test_a_level_is_raised_for_what_needs_it_and_no_further(plain: bytes) -> None:
    big = model(map_bits=10, heads=["opacity"])
    decoder, _ = decoded(add_generator(plain, big), strict=True)
    assert decoder.sequence["level"] == 2
    with pytest.raises(ContentError, match="more than the highest level allows"):
        add_generator(plain, model(map_bits=11, decoder_channels=[300, 9, 9]))


def test_layers_that_do_not_fit_are_named(plain: bytes) -> None:
    made = model()
    made.layers[3].weights = made.layers[3].weights[:, :2]
    with pytest.raises(ContentError, match="layer 3"):
        add_generator(plain, made)


def test_dependent_levels_by_hand() -> None:
    # the states are 0, 2, 1, 5, 6: in the odd ones a change is one nearer to 0 than twice the level
    assert quantised_levels(np.array([2, 0, 3, -1, 0])).tolist() == [1, 0, 2, -1, 0]
    trellis, state, found = spec.document().constants["TRELLIS"], 0, []
    for level in (1, 0, 2, -1, 0):
        found.append(F["dequantise_weight"](level, 1, state & 1))
        state = trellis[2 * state + (level & 1)]
    assert found == [2, 0, 3, -1, 0]
    with pytest.raises(ContentError, match=r"change 0 .* is 1: not on the trellis"):
        quantised_levels(np.array([1]))


def test_samples_by_hand() -> None:
    maps = [10, 20, 30, 50] + [0] * 12  # of 4 x 4 texels
    assert F["sample_map"](maps, 0, 2, 128, 128) == 10 << 16  # the centre of the first texel
    assert F["sample_map"](maps, 0, 2, 0, 0) == 10 << 16  # beyond the centres: the nearest
    assert F["sample_map"](maps, 0, 2, 256, 128) == 15 << 16  # between two
    assert F["sample_map"](maps, 0, 2, 1023, 128) == 50 << 16
    assert F["sample_map"](maps, 0, 2, 128, 256) == 5 << 16  # half a row up


def test_places_by_hand() -> None:
    assert F["map_place"](0, -(1 << 20), 4 << 8, 3) == 4 << 8  # a metre from the corner, four texels a metre
    assert F["map_place"](-(1 << 21), -(1 << 20), 4 << 8, 3) == 0
    assert F["map_place"](1 << 22, -(1 << 20), 4 << 8, 3) == 8 * 256 - 1


def test_hashes_of_maps_are_confirmed(plain: bytes) -> None:
    data = add_hashes(add_generator(plain, model()), ["maps", "gaussians"])
    decoder, frames = decoded(data, strict=True)
    assert all(frame.digest("maps") == decoder.hashes[frame.index]["maps"][1] for frame in frames)
    assert all(
        "maps" not in stages for stages in decoded(add_hashes(plain, ["maps", "pose"]))[0].hashes.values()
    )


def test_decoding_a_generator_does_not_import_torch(plain: bytes) -> None:
    program = (
        "import sys\nfrom reference_decoder import decode\n"
        "maps = [frame.maps for frame in decode(sys.stdin.buffer.read())]\n"
        "assert len(maps) == 4 and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], input=add_generator(plain, model()), check=True)


def test_a_generator_unit_is_the_same_every_time(plain: bytes) -> None:
    decoder, _ = decoded(plain, strict=True)
    assert decoder.canonical is not None
    known = decoder.avatar | {
        "surface_neighbour": decoder.canonical.neighbours(decoder.engine, decoder.avatar)
    }
    assert generator_unit(model(), known) == generator_unit(model(), known)
