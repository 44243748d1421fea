"""The HGA standard as data: syntax, constants, constraints and executable text. Imports nothing of the codec."""

from __future__ import annotations

import functools

from spec.run import Document

__all__ = ["Document", "document"]


@functools.cache
def document() -> Document:
    """§4.6 The pseudo-code of the shipped standard, with its constants and types."""
    from spec import load, run

    standard = load.standard()
    return Document(list(run.blocks()), standard.constant_values, standard.type_ranges)
