"""§7 The reference decoder: bytes -> units -> integers -> Gaussians per frame -> pixels -> hashes."""

from reference_decoder.canonical import Canonical
from reference_decoder.decoder import Decoder, decode
from reference_decoder.engine import Compiled, Executed
from reference_decoder.frames import Frame
from reference_decoder.rendering import Camera
from spec.errors import ConstraintViolation, Malformed, ResourceLimit, StreamError, Unsupported

__all__ = [
    "Camera",
    "Canonical",
    "Compiled",
    "ConstraintViolation",
    "Decoder",
    "Executed",
    "Frame",
    "Malformed",
    "ResourceLimit",
    "StreamError",
    "Unsupported",
    "decode",
]
