"""§5.2 Bits to values and back: the descriptors u(n), s(n), b(n) and leb128."""

from __future__ import annotations

LEB128_MAX_BYTES = 5


class BitReader:
    """§5.2 Reads descriptors from `data[start:end]` (bit positions), most significant bit first.

    Raises EOFError beyond the end and ValueError for a leb128 that is too long.
    """

    def __init__(self, data: bytes, start: int = 0, end: int | None = None):
        self.data = data
        self.position = start
        self.end = len(data) * 8 if end is None else end

    @property
    def bytes_left(self) -> int:
        """Whole bytes up to the end."""
        return (self.end - self.position) // 8

    def read(self, kind: str, size: int) -> int | bytes:
        """§5.2 One value: an integer, or bytes for kind `b` whose size is in bytes."""
        if kind == "b":
            return self._bits(8 * size).to_bytes(size, "big") if size else b""
        if kind == "leb128":
            return self._leb128()
        value = self._bits(size)
        return value - (1 << size) if kind == "s" and value >> (size - 1) else value

    def _bits(self, count: int) -> int:
        if self.position + count > self.end:
            raise EOFError
        first, last = self.position // 8, (self.position + count + 7) // 8
        value = int.from_bytes(self.data[first:last], "big") >> (last * 8 - self.position - count)
        self.position += count
        return value & ((1 << count) - 1)

    def _leb128(self) -> int:
        value = 0
        for length in range(LEB128_MAX_BYTES):
            byte = self._bits(8)
            value |= (byte & 0x7F) << (7 * length)
            if byte < 0x80:
                if byte == 0 and length > 0:
                    raise ValueError("a leb128 ends with a needless byte of 0")
                return value
        raise ValueError(f"a leb128 has more than {LEB128_MAX_BYTES} bytes")


class BitWriter:
    """§5.2 The inverse of BitReader."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 0
        self._bytes = bytearray()

    @property
    def position(self) -> int:
        """Bits written so far."""
        return len(self._bytes) * 8 + self._count

    def write(self, kind: str, size: int, value: int | bytes) -> None:
        """§5.2 One value; the caller has checked its range."""
        if isinstance(value, bytes):
            for byte in value:
                self._put(byte, 8)
        elif kind == "leb128":
            while value >= 0x80:
                self._put(value & 0x7F | 0x80, 8)
                value >>= 7
            self._put(value, 8)
        else:
            self._put(value & ((1 << size) - 1), size)

    def _put(self, value: int, count: int) -> None:
        self._value = self._value << count | value
        self._count += count
        while self._count >= 8:
            self._count -= 8
            self._bytes.append(self._value >> self._count)
            self._value &= (1 << self._count) - 1

    def bytes(self) -> bytes:
        """The bytes written; the last one padded with zero bits."""
        tail = bytes([self._value << (8 - self._count)]) if self._count else b""
        return bytes(self._bytes) + tail
