"""§A.3.3 The valid streams that a proposal is tried on: those of the corpus, or of a folder."""

from __future__ import annotations

from pathlib import Path

from conformance import corpus
from reference_decoder import Decoder
from reference_encoder.content import ContentError


def valid_streams(source: Path | None) -> dict[str, bytes]:
    """§A.3.3 Streams by id, smallest first: of the corpus, or those in `source` that decode without error."""
    if source is None:
        found = {
            record["id"]: (corpus.DIRECTORY / f"{record['id']}.hga").read_bytes()
            for record in corpus.read(corpus.DIRECTORY)
            if not record["errors"]
        }
    else:
        root = source if source.is_dir() else source.parent
        paths = sorted(source.rglob("*.hga")) if source.is_dir() else [source]
        read = {str(path.relative_to(root).with_suffix("")): path.read_bytes() for path in paths}
        found = {name: data for name, data in read.items() if _is_valid(data)}
    if not found:
        raise ContentError(f"{source or 'the corpus'}: no stream that decodes without error")
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def _is_valid(data: bytes) -> bool:
    decoder = Decoder(data)
    for _ in decoder.frames():
        pass
    return not decoder.errors
