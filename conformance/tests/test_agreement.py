"""§7 The document executed and the document compiled obtain the same: every stage, every error, on any thread."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import Any

import numba
import pytest

from conformance.damage import damaged, with_checksums
from conformance.generate import generate
from reference_decoder import Compiled, Decoder, Executed
from reference_decoder.decoder import Engine

STAGES = ("symbols", "pose", "joints", "gaussians", "canonical", "projected", "pixels")

STREAMS: dict[str, tuple[int, dict[str, Any], int]] = {
    # seed, presets, motion units
    "degree 0": (1, {"sh_degree": 0}, 2),
    "degree 1": (2, {"sh_degree": 1, "expression_count": 3}, 2),
    "degree 2": (3, {"sh_degree": 2, "gaussian_count": 30, "chunk_size": 8}, 2),
    "degree 3": (4, {"sh_degree": 3, "influence_limit": 7}, 2),
    "predicted units": (5, {"several_flag": 1, "frame_count": 9}, 5),
    "expressions": (6, {"expression_count": 5, "residual_magnitude": 3, "offset_flag": 1}, 2),
    "finest weights": (7, {"skin_weight_bits": 7, "influence_limit": 7, "influence_count": 7}, 2),
    "coarse everything": (8, {"position_step": 262144, "scale_step": 524288, "sh_step": 16384}, 2),
    "one joint, one Gaussian": (9, {"joint_count": 1, "gaussian_count": 1, "expression_count": 0}, 3),
    "a generator": (
        11, {"profile": 1, "map_bits": 4, "level_count": 3, "input_level": 1, "head_flag": 1, "modulation_flag": 1}, 2
    ),
    "a generator without styles": (12, {"profile": 1, "modulation_flag": 0, "head_width_flag": 1, "map_bits": 3}, 3),
    "many joints": (10, {"joint_count": 40, "gaussian_count": 12}, 1),
}  # fmt: skip


def stages(data: bytes, engine: Engine, names: tuple[str, ...] = STAGES) -> dict[int, dict[str, str]]:
    decoder = Decoder(data, engine, strict=True)
    result = {}
    for frame in decoder.frames():
        camera = decoder.cameras[0]
        had = [name for name in (*names, "maps") if name in frame.stages]
        result[frame.index] = {name: frame.digest(name, camera).hex() for name in had}
    return result


@pytest.mark.parametrize("case", STREAMS)
def test_every_stage_of_the_executed_document_is_that_of_the_compiled_one(case: str) -> None:
    seed, presets, units = STREAMS[case]
    data = generate(
        seed, {"frame_count": 1, "group_shift": 1, **presets}, units=units, size=48 if seed < 4 else 24
    )
    executed = stages(data, Executed())
    before = numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            assert stages(data, Compiled()) == executed
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("seed", range(200, 216))
def test_any_stream_up_to_its_gaussians(seed: int) -> None:
    data = generate(seed)
    assert stages(data, Compiled(), STAGES[:5]) == stages(data, Executed(), STAGES[:5])


def outcome(data: bytes, engine: Engine, strict: bool) -> tuple[list, list]:
    """Errors, and the frames that are left."""
    decoder = Decoder(data, engine, strict)
    frames: list[tuple] = []
    try:
        for frame in decoder.frames():
            small = len(frame.canonical.position) < 100
            frames.append((frame.index, [frame.digest(s) for s in (STAGES[:5] if small else STAGES[:2])]))
    except Exception as error:
        assert error is decoder.errors[0]
    return [error.as_dict() for error in decoder.errors], frames


@pytest.mark.parametrize("seed", range(4))
def test_damage_gives_both_the_same_errors_and_leaves_the_same_frames(seed: int) -> None:
    errors = 0
    streams = [
        generate(n, {"gaussian_count": 5, "several_flag": 1, "frame_count": 1}, units=3) for n in range(4)
    ]
    streams[1::2] = map(with_checksums, streams[1::2])
    for stream in itertools.islice(damaged(streams, seed), 60):
        if claims_much(stream.data):
            continue
        compiled = outcome(stream.data, Compiled(), strict=False)
        assert outcome(stream.data, Executed(), strict=False) == compiled
        if compiled[0]:
            first, _ = outcome(stream.data, Executed(), strict=True)
            assert first == compiled[0][:1]
        errors += len(compiled[0])
    assert errors > 30


def claims_much(data: bytes) -> bool:
    """Whether lists of Python integers would take too long for what the avatar header asks."""
    decoder = Decoder(data)
    for _ in decoder.frames():
        pass
    return decoder.avatar.get("gaussian_count", 0) > 1000


def test_two_processes_with_different_hash_seeds_and_threads_agree() -> None:
    program = (
        "import json, numba, sys\n"
        "from conformance.generate import generate\n"
        "from reference_decoder import Decoder\n"
        "numba.set_num_threads(min(int(sys.argv[1]), numba.config.NUMBA_NUM_THREADS))\n"
        "result = []\n"
        "for seed in (1, 2, 5):\n"
        "    decoder = Decoder(generate(seed), strict=True)\n"
        "    for frame in decoder.frames():\n"
        f"        result += [frame.digest(stage, decoder.cameras[0]).hex() for stage in {STAGES!r}]\n"
        "print(json.dumps(result))\n"
    )
    outputs = []
    for hash_seed, threads in (("1", "1"), ("2", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", program, threads],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(json.loads(run.stdout))
    assert outputs[0] == outputs[1] and len(outputs[0]) > 7 * 9
