"""The corpus as a test suite for fluster: its JSON, and a decoder class for fluster that keeps to the same results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.runner.records import Record

ADAPTER = Path(__file__).parents[1] / "examples" / "fluster_hga.py"


def suite(records: Sequence[Record], stage: str, source: str) -> dict[str, Any]:
    """A fluster test suite of the streams that have a stage or an error; `source` is the URL that their paths follow.

    What fluster compares is the MD5 of the text of `expected`: unlike a suite that only knows that decoding fails, a
    decoder that accepts a wrong stream, or rejects it for another reason, does not pass.
    """
    asked = [r for r in records if r.errors or any(stage in frame.digests for frame in r.frames)]
    return {
        "name": f"HGA-{stage}",
        "codec": "HGA",
        "description": f"HGA conformance streams, judged by their errors and by the stage {stage}",
        "test_vectors": [_vector(record, stage, source) for record in asked],
    }


def _vector(record: Record, stage: str, source: str) -> dict[str, Any]:
    return {
        "name": record.id.replace("/", "-"),
        "source": f"{source.rstrip('/')}/{record.group}/{record.stream.name}",
        "source_checksum": hashlib.md5(record.stream.read_bytes()).hexdigest(),
        "input_file": record.stream.name,
        "output_format": "None",
        "result": hashlib.md5(expected(record, stage).encode()).hexdigest(),
    }


def expected(record: Record, stage: str) -> str:
    """A line for each frame, or for a wrong stream the first error alone: a decoder may give up there (6.1)."""
    if record.errors:
        return f"{record.errors[0].error} {record.errors[0].constraint}\n"
    return "".join(
        f"{frame.frame} {frame.digests[stage]}\n" for frame in record.frames if stage in frame.digests
    )


def export(records: Sequence[Record], stage: str, source: str, folder: Path) -> list[Path]:
    """Writes the suite, the decoder class and the streams where fluster looks for them; returns the two files."""
    found = suite(records, stage, source)
    written = folder / "test_suites" / "hga" / f"{found['name']}.json"
    adapter = folder / "fluster" / "decoders" / "hga.py"
    for path in (written, adapter):
        path.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(found, indent=4) + "\n", encoding="utf-8")
    adapter.write_text(
        ADAPTER.read_text(encoding="utf-8").replace('STAGE = "gaussians"', f'STAGE = "{stage}"'),
        encoding="utf-8",
    )
    names = {vector["name"] for vector in found["test_vectors"]}
    for record in records:
        if (name := record.id.replace("/", "-")) in names:
            place = folder / "resources" / found["name"] / name
            place.mkdir(parents=True, exist_ok=True)
            (place / record.stream.name).write_bytes(record.stream.read_bytes())
    return [written, adapter]
