"""The HGA standard as data: syntax, constants, constraints and executable text. Imports nothing of the codec."""

from __future__ import annotations

import functools

from spec import load, run
from spec.load import Standard
from spec.run import Document

__all__ = ["Document", "Standard", "document", "standard"]


@functools.cache
def standard() -> Standard:
    """§5.1 The shipped standard. Validation against the schema is left to `hga spec build` and the tests."""
    return load.standard(validate=False)


@functools.cache
def document() -> Document:
    """§4.6 The pseudo-code of the shipped standard, with its constants and types."""
    return Document(list(run.blocks()), standard().constant_values, standard().type_ranges)
