"""A decoder for fluster (fluster/decoders/hga.py): runs a command that keeps to HGA's contract for decoders under test.

fluster has a closed list of codecs: add `HGA = "HGA"` to `Codec` in fluster/codec.py. The command is that of the
environment variable HGA_DECODER, with {stream} in it.
"""

import hashlib
import json
import os
import shlex
import subprocess
from typing import Any

from fluster.codec import Codec, OutputFormat
from fluster.decoder import Decoder, register_decoder

STAGE = "gaussians"
COMMAND = os.environ.get("HGA_DECODER", "hga decode --json --stages all {stream}")


@register_decoder
class HGADecoder(Decoder):
    """Compares the digests of one stage, or the first error."""

    name = "HGA"
    description = "HGA decoder under test (HGA_DECODER)"
    codec = Codec.HGA
    binary = shlex.split(COMMAND)[0]

    def decode(
        self, input_filepath: str, output_filepath: str, output_format: OutputFormat, timeout: int,
        verbose: bool, keep_files: bool, *others: Any,
    ) -> str:  # fmt: skip
        """The MD5 of the text that the suite's results are taken of."""
        arguments = [part.replace("{stream}", input_filepath) for part in shlex.split(COMMAND)]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, timeout=timeout)
        lines = [json.loads(line) for line in done.stdout.decode().splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line]
        if done.returncode and not errors:
            raise subprocess.CalledProcessError(done.returncode, arguments)
        text = "".join(
            f"{line['frame']} {line['digests'][STAGE]}\n"
            for line in lines
            if STAGE in line.get("digests", {})
        )
        if errors:
            text = f"{errors[0]['error']} {errors[0].get('constraint')}\n"
        return hashlib.md5(text.encode()).hexdigest()
