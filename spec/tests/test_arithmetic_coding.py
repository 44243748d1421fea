"""§8, §C The arithmetic decoder and encoder against bytes worked out by hand.

The computations use hexadecimal. A fresh context gives 0 the probability 0x4000 of 0x8000. `low` and
`range` are the encoder's; a payload ends as the byte string of the multiple of 0x1000000 in
[low, low + range) without trailing zero bytes.

    start              low 00000000  range ffffffff
    fresh 0            bound = (ffffffff >> f) * 4000 = 1ffff * 4000 = 7fffc000
                       low 00000000  range 7fffc000                                          -> nothing
    fresh 1            low 7fffc000  range ffffffff - 7fffc000 = 80003fff                    -> 80
    fresh 1, fresh 0   bound = (80003fff >> f) * 4000 = 10000 * 4000 = 40000000
                       low 7fffc000  range 40000000                                          -> 80
    fresh 1, fresh 1   low bfffc000  range 40003fff                                          -> c0
    fresh 0, fresh 1   bound = (7fffc000 >> f) * 4000 = ffff * 4000 = 3fffc000
                       low 3fffc000  range 40000000                                          -> 40
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spec

F = spec.document().functions
C = spec.document().constants
COUNT = 64


def encode(*calls: tuple) -> bytes:
    """The payload of (binarisation, context, size, value) after one another."""
    engine, contexts, output = [0, 0, 0], [0] * (2 * COUNT), [0] * 4096
    F["reset_contexts"](contexts, COUNT)
    F["start_encoder"](engine)
    for name, context, size, value in calls:
        F["encode_" + name](output, engine, contexts, context, size, value)
    return bytes(output[: F["finish_encoder"](output, engine)])


def decode(data: bytes, *calls: tuple) -> list[int] | None:
    """The values of (binarisation, context, size), or None if the payload does not end as §8.2.5 says."""
    engine, contexts = [0, 0, 0, 0], [0] * (2 * COUNT)
    F["reset_contexts"](contexts, COUNT)
    F["start_engine"](data, engine, 0, len(data))
    values = [F["decode_" + name](data, engine, contexts, context, size) for name, context, size in calls]
    return values if F["payload_end_is_valid"](engine) else None


BY_HAND = {
    "flag 0": ([("flag", 0, 0, 0)], ""),
    "flag 1": ([("flag", 0, 0, 1)], "80"),
    "flags 1 and 0 of two contexts": ([("flag", 0, 0, 1), ("flag", 1, 0, 0)], "80"),
    "flags 1 and 1 of two contexts": ([("flag", 0, 0, 1), ("flag", 1, 0, 1)], "c0"),
    # One context: after a 1 its estimates are 8000 - 800 = 7800 and 8000 - 100 = 7f00; 0 has (7800 + 7f00) >> 2 = 3dc0.
    # bound = 10000 * 3dc0 = 3dc00000: low 7fffc000 + 3dc00000 = bdbfc000, range 80003fff - 3dc00000 = 42403fff.
    "flags 1 and 1 of one context": ([("flag", 0, 0, 1), ("flag", 0, 0, 1)], "be"),
    # After a 0: 8000 + (8000 >> 4) = 8800, 8000 + (8000 >> 7) = 8100, (8800 + 8100) >> 2 = 4240.
    # bound = ffff * 4240 = 423fbdc0 = low; range 7fffc000 - 423fbdc0.
    "flags 0 and 1 of one context": ([("flag", 0, 0, 0), ("flag", 0, 0, 1)], "43"),
    # Bypass bins halve: ffffffff, 7fffffff | 80000000, 40000000, 20000000; 1 adds the lower half to low.
    "raw 1 of 1": ([("raw", 0, 1, 1)], "80"),
    "raw 101": ([("raw", 0, 3, 5)], "a0"),  # low 7fffffff, then 9fffffff, range 20000000
    "raw of size 0": ([("raw", 0, 0, 0)], ""),
    # A tree's second bin has context 1 after a 0 and context 2 after a 1: all fresh, as in the list above.
    "tree 00": ([("tree", 0, 2, 0)], ""),
    "tree 01": ([("tree", 0, 2, 1)], "40"),
    "tree 10": ([("tree", 0, 2, 2)], "80"),
    "tree 11": ([("tree", 0, 2, 3)], "c0"),
    "magnitude 0": ([("magnitude", 0, 0, 0)], ""),
    "magnitude 1": ([("magnitude", 0, 0, 1)], "80"),  # class bins 1, 0
    # Class bins 1, 1, 0: low bfffc000, range (40003fff >> f) * 4000 = 8000 * 4000 = 20000000. Then the bit below
    # the leading one, fresh: bound 4000 * 4000 = 10000000; for 3 low rises to cfffc000.
    "magnitude 2": ([("magnitude", 0, 0, 2)], "c0"),
    "magnitude 3": ([("magnitude", 0, 0, 3)], "d0"),
    # 5 = 101: class bins 1, 1, 1, 0: low bfffc000 + 20000000 = dfffc000, range 20003fff, then 10000000; a fresh 0:
    # 8000000; a bypass 1: low e3ffc000, range 4000000.
    "magnitude 5": ([("magnitude", 0, 0, 5)], "e4"),
    # Magnitude bins 1, 0, then the sign in the first context: bound = (40000000 >> f) * 4000 = 20000000.
    "signed 0": ([("signed", 0, 0, 0)], ""),
    "signed 1": ([("signed", 0, 0, 1)], "80"),
    "signed -1": ([("signed", 0, 0, -1)], "a0"),
    # low 7fffc000, range 80003fff; eight zeros at once: 80003f, below 1000000: the byte 7f goes out, low ffc00000,
    # range 80003f00. The bypass 1 adds 40001f80: low 13fc01f80 carries into the byte before, which becomes 80;
    # 40000000 lies in what is left.
    "a carry into the byte before": ([("flag", 0, 0, 1), ("raw", 0, 8, 0), ("raw", 0, 1, 1)], "8040"),
    # Eight more zeros: 80003f: the byte ff goes out, low c0000000, range 80003f00. The 1 adds 40001f80:
    # low 100001f80 carries: ff becomes 00 and 7f becomes 80; 1000000 lies in [1f80, 40003f00).
    "a carry through ff": (
        [("flag", 0, 0, 1), ("raw", 0, 8, 0), ("raw", 0, 8, 0), ("raw", 0, 1, 1)], "800001"
    ),
    # Sixteen ones at once: parts of ffff; low ffff * ffff = fffe0001, and the last part has the rest: 1fffe. The byte
    # ff goes out: low fe000100, range 1fffe00; one more adds ffff00: low ff000000, range ffff00: the byte ff again.
    "seventeen bypass ones": ([("raw", 0, 17, (1 << 17) - 1)], "ffff"),
    # Class 1 is the tree 001: low 1fffc000, range 20000000; the sign halves it.
    "residual 0": ([("residual", 0, 0, 0)], ""),
    "residual 1": ([("residual", 0, 0, 1)], "20"),
    "residual -1": ([("residual", 0, 0, -1)], "30"),
    # 1 of 1 to 3 is the lower half; 2 and 3 are the upper one, halved once more with the context after a 1.
    "split of 2": ([("split", 0, 2, 1)], ""),
    "split 1 of 4": ([("split", 0, 4, 1)], ""),
    "split 2 of 4": ([("split", 0, 4, 2)], "80"),
    "split 3 of 4": ([("split", 0, 4, 3)], "c0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(case: str) -> None:
    calls, payload = BY_HAND[case]
    assert encode(*calls).hex() == payload
    assert decode(bytes.fromhex(payload), *(call[:3] for call in calls)) == [call[3] for call in calls]


def test_start_of_the_engine_by_hand() -> None:
    engine = [0, 0, 0, 0]
    F["start_engine"](b"\xaa\x12\x34\x56\x78\x9a", engine, 1, 4)  # the fourth byte is beyond the end: 0
    assert engine == [5, 4, 0x12345600, 0xFFFFFFFF]
    F["start_engine"](b"\xff\xff\xff\xff", engine, 0, 4)
    assert engine == [4, 4, 0xFFFFFFFE, 0xFFFFFFFF]  # lowered below the range


@pytest.mark.parametrize(("taken", "valid"), [(9, 0), (10, 1), (14, 1), (15, 0)])
def test_end_of_a_payload_both_ends(taken: int, valid: int) -> None:
    assert F["payload_end_is_valid"]([taken, 10, 0, 0]) == valid


def test_context_update_by_hand_and_its_fixed_points() -> None:
    contexts = [0] * 4
    F["reset_contexts"](contexts, 2)
    assert contexts == [32768] * 4
    F["update_context"](contexts, 1, 0)
    assert contexts == [32768, 32768, 34816, 33024]
    F["update_context"](contexts, 1, 1)
    assert contexts == [32768, 32768, 34816 - 2176, 33024 - 258]
    for bin, estimates, probability in ((0, [65521, 65409], 32732), (1, [15, 127], 35)):
        contexts = [32768, 32768]
        for _ in range(2000):
            F["update_context"](contexts, 0, bin)
        assert contexts == estimates
        assert F["zero_probability"](contexts, 0) == probability


def test_the_longest_magnitude() -> None:
    """24 class bins and no terminating 0: 2^24 - 1 is the largest, and the last context is the 47th."""
    for value in (1 << 23, (1 << 24) - 1):
        data = encode(("magnitude", 0, 0, value))
        assert decode(data, ("magnitude", 0, 0)) == [value]
    engine, contexts, output = [0, 0, 0], [32768] * (2 * COUNT), [0] * 64
    F["start_encoder"](engine)
    F["encode_magnitude"](output, engine, contexts, 0, 0, (1 << 24) - 1)
    assert [n for n in range(COUNT) if contexts[2 * n] != 32768] == [*range(24), 46]
    assert spec.standard().binarisations["magnitude"].contexts.evaluate({}) == 47
    assert spec.standard().binarisations["signed"].contexts.evaluate({}) == 48


def test_an_unlikely_bin_at_the_extreme_probabilities() -> None:
    for likely in (0, 1):
        bins = [likely] * 3000 + [1 - likely] + [likely] * 3000 + [1 - likely] * 40
        calls = [("flag", 0, 0, bin) for bin in bins]
        data = encode(*calls)
        # 32732 / 32768 of certainty: 0.0016 bit a likely bin, and about 10 for the unlikely one, after the learning.
        assert len(data) < 40
        assert decode(data, *(call[:3] for call in calls)) == bins


def calls_of(name: str, contexts: int, largest_size: int) -> st.SearchStrategy[tuple]:
    """Calls of one binarisation whose values have all numbers of bits alike."""

    def of_size(size: int) -> st.SearchStrategy[tuple]:
        low = 1 - (1 << size) if name == "signed" else 0
        declared = size if name in ("tree", "raw") else 0
        values = st.integers(low, (1 << size) - 1)
        return st.tuples(st.just(name), st.integers(0, contexts), st.just(declared), values)

    return st.integers(0 if name != "flag" else 1, largest_size).flatmap(of_size)


CALLS = st.one_of(
    calls_of("flag", 5, 1),
    calls_of("tree", 9, 5),
    calls_of("raw", 0, 24),
    calls_of("magnitude", 9, 24),
    calls_of("signed", 9, 24),
)


@given(st.lists(CALLS, max_size=60))
def test_what_is_encoded_is_decoded_and_needs_its_last_byte(calls: list[tuple]) -> None:
    data = encode(*calls)
    elements, values = [call[:3] for call in calls], [call[3] for call in calls]
    assert decode(data, *elements) == values
    if data:
        assert decode(data[:-1], *elements) != values


@given(st.binary(max_size=40))
def test_any_bytes_decode_within_the_declared_ranges(data: bytes) -> None:
    """Every state of the engine stays in range whatever the payload: the checked functions would say otherwise."""
    engine, contexts = [0, 0, 0, 0], [0] * (2 * COUNT)
    F["reset_contexts"](contexts, COUNT)
    F["start_engine"](data, engine, 0, len(data))
    for _ in range(12):
        assert abs(F["decode_signed"](data, engine, contexts, 0, 0)) < 1 << 24
        assert 0 <= engine[2] < engine[3] <= 0xFFFFFFFF and engine[3] >= 1 << 24


def test_low_near_its_top_carries_at_the_end() -> None:
    """Termination itself may carry: low ffffff01, range 1000000: the multiple above is 1 0000 0000."""
    output, engine = [0x12, 0xFF, 0, 0, 0, 0, 0, 0], [0xFFFFFF01, 0x1000000, 2]
    assert F["finish_encoder"](output, engine) == 2  # 13 00: bytes already out are kept even if zero
    assert output[:2] == [0x13, 0x00]


@pytest.mark.parametrize("value", [1, 2, 3, 255, 256, 257, 1 << 24, (1 << 24) + 1, 0xFFFFFFFF, (1 << 33) - 1])
def test_binary_logarithm(value: int) -> None:
    import math

    assert F["log2_q8"](value) == pytest.approx(256 * math.log2(value), abs=1)


def test_information_by_hand() -> None:
    """After the four bytes of the start, 32 bits less the log2 of the range: nothing is spent yet."""
    assert F["engine_information"]([4, 0, 0, 0xFFFFFFFF]) == 4 * 2048 - 8191
    assert F["engine_information"]([4, 0, 0, 1 << 31]) == 256  # one bit


def test_checksum_by_hand() -> None:
    """The check value of CRC-32 that its catalogue gives, and nothing at all."""
    data = list(b"x123456789y")
    assert F["checksum"](data, 1, 10) == 0xCBF43926
    assert F["checksum"](data, 3, 3) == 0


def test_the_longest_residual() -> None:
    """The escape bins of classes 7 to 23 have contexts 7 to 23, the second bits of classes 2 to 24 those to 46."""
    for value in (1 << 23, (1 << 24) - 1, 1 - (1 << 24), 64, 63, -127):
        assert decode(encode(("residual", 0, 0, value)), ("residual", 0, 0)) == [value]
    engine, contexts, output = [0, 0, 0], [32768] * (2 * COUNT), [0] * 64
    F["start_encoder"](engine)
    F["encode_residual"](output, engine, contexts, 0, 0, (1 << 24) - 1)
    assert [n for n in range(COUNT) if contexts[2 * n] != 32768] == [0, 2, 6, *range(7, 24), 46]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 17, 1000])
def test_a_split_says_every_part(size: int) -> None:
    for value in {1, 2, size // 2, size - 2, size - 1} & set(range(1, size)):
        data = encode(("split", 0, size, value), ("flag", 9, 0, 1))
        assert decode(data, ("split", 0, size), ("flag", 9, 0)) == [value, 1]
