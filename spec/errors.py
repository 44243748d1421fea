"""§6.1 The four ways in which a stream can be wrong; nothing else ever escapes a decoder.

StreamError                 a stream is not what the standard says
 ├─ Malformed               bits that no syntax allows: a truncated unit, a wrong checksum
 ├─ ConstraintViolation     the syntax holds, but a "shall" does not
 ├─ Unsupported             a version, profile, level or tool this decoder does not have
 └─ ResourceLimit           more than the level allows, found before memory is taken
"""

from __future__ import annotations

from typing import Any


class StreamError(Exception):
    """§6.1 What is wrong, by which rule, and where: `constraint`, `clause`, `unit`, `bit_offset`."""

    def __init__(
        self, message: str, *, constraint: str, clause: str, bit_offset: int, unit: int | None = None
    ):
        super().__init__(message)
        self.message = message
        self.constraint = constraint
        self.clause = clause
        self.bit_offset = bit_offset
        self.unit = unit

    @property
    def kind(self) -> str:
        """The class of error by its name in §6.1."""
        return type(self).__name__

    def __str__(self) -> str:
        where = f"bit {self.bit_offset}" if self.unit is None else f"unit {self.unit}, bit {self.bit_offset}"
        return f"{self.kind} {self.constraint} (clause {self.clause}) at {where}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """The error as plain data, for `--json` and for the conformance suite."""
        return {
            "error": self.kind,
            "constraint": self.constraint,
            "clause": self.clause,
            "unit": self.unit,
            "bit_offset": self.bit_offset,
            "message": self.message,
        }


class Malformed(StreamError):
    """§6.1 Bits that no syntax allows."""


class ConstraintViolation(StreamError):
    """§6.1 A requirement of the standard does not hold."""


class Unsupported(StreamError):
    """§6.1 A version, profile, level or tool that this decoder does not have."""


class ResourceLimit(StreamError):
    """§6.1 More than the level allows."""


KINDS: dict[str, type[StreamError]] = {
    kind.__name__: kind for kind in (Malformed, ConstraintViolation, Unsupported, ResourceLimit)
}
