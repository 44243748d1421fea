"""§5.2 The descriptors u, s, b and leb128 against bytes worked out by hand, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.bits import BitReader, BitWriter

# kind, size, value, bits by hand
BY_HAND = [
    ("u", 1, 1, "1"),
    ("u", 5, 6, "00110"),
    ("u", 8, 0, "00000000"),
    ("u", 8, 255, "11111111"),
    ("u", 12, 0xABC, "101010111100"),
    ("u", 32, 0x48474131, "01001000010001110100000100110001"),
    ("s", 4, -1, "1111"),
    ("s", 4, -8, "1000"),
    ("s", 4, 7, "0111"),
    ("s", 24, -8388608, "1" + 23 * "0"),
    ("s", 24, 8388607, "0" + 23 * "1"),
    ("s", 32, -2, 31 * "1" + "0"),
    ("b", 0, b"", ""),
    ("b", 2, b"\x01\xfe", "0000000111111110"),
    ("leb128", 0, 0, "00000000"),
    ("leb128", 0, 127, "01111111"),
    ("leb128", 0, 128, "1000000000000001"),  # 7 low bits first: 0, then 1
    ("leb128", 0, 300, "1010110000000010"),  # 300 = 2 * 128 + 44; 44 = 0101100
    ("leb128", 0, 16384, "100000001000000000000001"),
    ("leb128", 0, (1 << 35) - 1, 4 * "11111111" + "01111111"),  # the largest of five bytes
]


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize(("kind", "size", "value", "bits"), BY_HAND)
def test_by_hand(kind: str, size: int, value: int | bytes, bits: str, offset: int) -> None:
    """Most significant bit first, also when the value does not begin at a byte."""
    bits = "101"[:offset] + bits
    padded = bits + "0" * (-len(bits) % 8)
    data = bytes(int(padded[n : n + 8], 2) for n in range(0, len(padded), 8))
    writer = BitWriter()
    writer.write("u", offset, 5 >> (3 - offset))
    writer.write(kind, size, value)
    assert (writer.bytes(), writer.position) == (data, len(bits))
    reader = BitReader(data, offset)
    assert (reader.read(kind, size), reader.position) == (value, len(bits))


@pytest.mark.parametrize(
    "data", [b"\x80\x00", b"\xff\x00", b"\x80\x80\x80\x80\x00", b"\x80\x80\x80\x80\x80\x01"]
)
def test_leb128_that_is_too_long(data: bytes) -> None:
    with pytest.raises(ValueError, match="a leb128"):
        BitReader(data).read("leb128", 0)


@pytest.mark.parametrize(("kind", "size"), [("u", 9), ("s", 9), ("b", 2), ("leb128", 0)])
def test_reading_beyond_the_end(kind: str, size: int) -> None:
    with pytest.raises(EOFError):
        BitReader(b"\xff").read(kind, size)
    with pytest.raises(EOFError):  # the end of the payload counts, not that of the stream
        BitReader(b"\xff\xff\xff", 0, 8).read(kind, size)


def test_bytes_left_are_whole_bytes() -> None:
    reader = BitReader(b"abc", 8, 24)
    assert reader.bytes_left == 2
    reader.read("u", 1)
    assert reader.bytes_left == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("us"), st.integers(1, 40), st.integers(0, (1 << 40) - 1))
        | st.integers(0, 1 << 34)
    )
)
def test_round_trip(items: list) -> None:
    writer = BitWriter()
    written = []
    for item in items:
        kind, size, value = ("leb128", 0, item) if isinstance(item, int) else item
        value = value if kind == "leb128" else value % (1 << size) - ((1 << size - 1) if kind == "s" else 0)
        writer.write(kind, size, value)
        written.append((kind, size, value))
    reader = BitReader(writer.bytes())
    assert [reader.read(kind, size) for kind, size, _ in written] == [value for _, _, value in written]
    assert reader.end - reader.position < 8
