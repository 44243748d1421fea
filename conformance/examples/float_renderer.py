"""§E.5 A decoder of the tolerance class: Gaussians from the reference decoder, pictures in floating-point numbers.

    python -m conformance.examples.float_renderer STREAM OUTPUT

prints the digests up to the Gaussians and writes each picture to OUTPUT as FRAME.pixels. A renderer on a GPU does
the same with its own pictures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from reference_decoder import Camera, Decoder, Frame
from reference_encoder.float_render import FloatCamera, render_float


def picture(frame: Frame, camera: Camera) -> np.ndarray:
    """(H, W, 4) bytes, from the same integers as the picture of clause 9."""
    mean, factor, blend = (np.asarray(part, float) for part in frame.gaussians)
    opacity, sh = frame.appearance
    shown = render_float(
        mean / 2**20, (factor / 2**24).reshape(-1, 3, 3), (blend / 2**30).reshape(-1, 3, 3),
        np.asarray(opacity) / 2**14, np.asarray(sh) / 2**12, FloatCamera.of(camera),
    )  # fmt: skip
    return np.rint(255 * shown).astype(np.uint8)


def main(stream: Path, output: Path) -> int:
    """Prints what CONTRACT.md asks for; returns the exit code."""
    data = stream.read_bytes()
    whole, decoder = Decoder(data), Decoder(data)
    for _ in whole.frames():
        pass
    for frame in decoder.frames():
        stages = [stage for stage in frame.stages if stage not in ("projected", "pixels")]
        digests = {stage: frame.digest(stage).hex() for stage in stages}
        if camera := whole.cameras_of(frame.index).get("pixels"):
            (output / f"{frame.index:06d}.pixels").write_bytes(picture(frame, camera).tobytes())
        print(json.dumps({"frame": frame.index, "digests": digests}), flush=True)
    for error in decoder.errors:
        print(json.dumps(error.as_dict()))
    return 4 if decoder.errors else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
