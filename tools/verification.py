"""§7.8 Comparing the stages of decoded frames with what they should be, and saying where the first difference is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import spec
from conformance.runner.contract import ContractError, parse
from conformance.runner.stages import Difference, locate
from reference_decoder import Camera, Decoder, Frame
from reference_decoder.frames import DIGEST_BYTES
from reference_encoder.content import ContentError
from tools.cameras import resized
from tools.parameters import Span, stage_names
from tools.streams import fresh, selected


class Expected(Protocol):
    """What the stages of frames should be: digests, or all their bytes if `whole`.

    `frames` are those that it has all that it has to say of, which must then be those of the stream; None
    if it speaks of some only. `unknown` are the stages it names that the standard does not have, `usual` those that
    it has of its frames: where it lacks one that the stream's frame has, that is a difference.
    """

    whole: ClassVar[bool]

    @property
    def frames(self) -> Set[int] | None: ...

    @property
    def unknown(self) -> Set[str]: ...

    @property
    def usual(self) -> Set[str]: ...

    def stages(self, frame: int) -> Mapping[str, bytes]:
        """What is known of a frame, by stage."""


@dataclass
class Digests:
    """Digests by frame and stage: those a stream carries, or those another decoder printed."""

    whole: ClassVar[bool] = False
    by_frame: Mapping[int, Mapping[str, bytes]]
    some: bool = False  # of the frames

    @property
    def frames(self) -> Set[int] | None:
        return None if self.some else self.by_frame.keys()

    @property
    def unknown(self) -> Set[str]:
        return self._named - set(stage_names())

    @property
    def usual(self) -> Set[str]:
        return frozenset() if self.some else self._named

    @cached_property
    def _named(self) -> Set[str]:
        return {stage for stages in self.by_frame.values() for stage in stages}

    def stages(self, frame: int) -> Mapping[str, bytes]:
        return self.by_frame.get(frame, {})


@dataclass
class Folder:
    """Stages as files FRAME.STAGE, as `hga decode -o` writes them."""

    whole: ClassVar[bool] = True
    path: Path

    @property
    def frames(self) -> Set[int]:
        return {int(file.stem) for file in self._files() if file.suffix[1:] in stage_names()}

    @property
    def unknown(self) -> Set[str]:
        return self.usual - set(stage_names())

    @cached_property
    def usual(self) -> Set[str]:
        return {file.suffix[1:] for file in self._files()}

    def _files(self) -> list[Path]:
        return [file for file in self.path.glob("*.*") if file.stem.isdecimal()]

    def stages(self, frame: int) -> Mapping[str, bytes]:
        files = self.path.glob(f"{frame:06d}.*")
        return {file.suffix[1:]: file.read_bytes() for file in files if file.suffix[1:] in stage_names()}


@dataclass
class Frames:
    """The stages of frames decoded otherwise."""

    whole: ClassVar[bool] = True
    by_frame: Mapping[int, Frame]
    wanted: tuple[str, ...]
    camera: Camera | None
    unknown: Set[str] = frozenset()

    @property
    def frames(self) -> Set[int]:
        return self.by_frame.keys()

    @property
    def usual(self) -> Set[str]:
        return set(self.wanted)

    def stages(self, frame: int) -> Mapping[str, bytes]:
        if frame not in self.by_frame:
            return {}
        found = self.by_frame[frame]
        stages = possible(found, self.wanted, self.camera)
        return {stage: found.stage_bytes(stage, self.camera) for stage in stages}


def possible(frame: Frame, stages: Iterable[str], camera: Camera | None) -> list[str]:
    """The stages that a frame has with this camera, or without one."""
    left_out = ("projected", "pixels") if camera is None else ()
    return [stage for stage in stages if stage in frame.stages and stage not in left_out]


def carried(decoder: Decoder) -> tuple[Digests, dict[int, Camera]]:
    """§6.9.2 The digests in a decoded stream's metadata, and the camera that those of each frame were taken with."""
    digests = {
        frame: {stage: digest for stage, (_, digest) in stages.items()}
        for frame, stages in decoder.hashes.items()
    }
    cameras = {
        frame: camera for frame, stages in decoder.hashes.items() for camera, _ in stages.values() if camera
    }
    return Digests(digests, some=True), cameras


def printed(path: Path) -> Digests:
    """The digests in the lines that a decoder printed (conformance/CONTRACT.md); raises ContentError for others."""
    try:
        output = parse(path.read_text(encoding="utf-8", errors="replace"))
    except ContractError as error:
        raise ContentError(f"{path}: {error}") from None
    return Digests(
        {
            line.frame: {stage: bytes.fromhex(digest) for stage, digest in line.digests.items()}
            for line in output.frames
        }
    )


def decoded(decoder: Decoder, span: Span, stages: tuple[str, ...], camera: Camera | None) -> Frames:
    """The frames of another decoder."""
    return Frames({frame.index: frame for frame in selected(decoder, span)}, stages, camera)


def first_camera(decoder: Decoder, size: tuple[int, int] | None) -> Camera | None:
    """The stream's first camera, scaled to `size` if that is given."""
    if not decoder.cameras:
        return None
    camera = decoder.cameras[min(decoder.cameras)]
    return resized(camera, size) if size is not None else camera


def unmatched(found: Set[int], expected: Set[int], where: str) -> Difference | None:
    """The first frame that only one side has."""
    if found == expected:
        return None
    frame = min(found ^ expected)
    about = f"is missing in {where}" if frame in found else f"stands in {where}, but not in the stream"
    return Difference(frame, "", "", about)


def compare(frame: Frame, expected: Expected, camera: Camera | None) -> tuple[list[str], Difference | None]:
    """The stages of a frame that were compared, and the first difference, in order of dependence."""
    should = expected.stages(frame.index)
    frame = fresh(frame)
    compared: list[str] = []
    named = [stage for stage in stage_names() if stage in should or stage in expected.usual]
    for stage in possible(frame, named, camera):
        if stage not in should:
            about = f"missing: the other side has no {stage} of frame {frame.index}"
            return compared, Difference(frame.index, stage, _about(stage), about)
        compared.append(stage)
        found = frame.stage_bytes(stage, camera)
        kept = found if expected.whole else hashlib.sha256(found).digest()[:DIGEST_BYTES]
        if kept != should[stage]:
            place = (
                locate(
                    stage,
                    found,
                    should[stage],
                    camera.width if camera else None,
                    len(frame.canonical.position),
                )
                if expected.whole
                else f"digest {kept.hex()}, expected {should[stage].hex()}"
            )
            return compared, Difference(frame.index, stage, _about(stage), place)
    return compared, None


def _about(stage: str) -> str:
    return next(about for name, about in spec.standard().enumerations["stage"].values() if name == stage)


def cost(decoder: Decoder, frames: int, stages: Iterable[str], camera: Camera | None) -> float:
    """About how many seconds the document takes to decode: by what was measured on one machine."""
    n, degree = decoder.avatar["gaussian_count"], decoder.avatar["sh_degree"]
    elements = n * (20 + 3 * (degree + 1) ** 2 + decoder.avatar["expression_count"])
    per_frame = n * 1e-3
    if camera is not None and {"projected", "pixels"} & set(stages):
        per_frame += n * 2e-3 + n * n * 4e-7  # the document sorts by insertion
    if camera is not None and "pixels" in stages:
        per_frame += camera.width * camera.height * n * 8e-6
    return elements * 2.5e-5 + frames * per_frame
