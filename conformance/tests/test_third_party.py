"""§A.3.3 The decoder in C99, written from the document alone, judged by a part of the corpus as any decoder is."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import conformance
import spec
from conformance.corpus import DIRECTORY
from conformance.runner.decoders import Decoder, describe
from conformance.runner.judge import Judge, Rules
from conformance.runner.records import Record, load
from conformance.runner.suite import Runner
from reference_decoder.frames import stages_in_order

SOURCE = Path(conformance.__file__).parent / "third_party" / "c99"
SAMPLE = 8
"""One stream in so many is asked here, and the largest of each group; `make third-party` asks all."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """The program as its description says, built elsewhere than in the sources."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler named cc")
    program = tmp_path_factory.mktemp("c99") / "hga-c99"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    sources = sorted(str(path) for path in SOURCE.glob("*.c"))
    subprocess.run([compiler, *flags, "-o", str(program), *sources], check=True)
    described = describe(str(SOURCE / "decoder.toml"))
    return replace(described, command=described.command.replace(str(SOURCE / "hga-c99"), str(program)))


def sample() -> list[Record]:
    found = load([DIRECTORY])
    largest = {record.group: record for record in found if record.size < 100_000}
    return [
        record for number, record in enumerate(found) if number % SAMPLE == 0 or record in largest.values()
    ]


def test_it_passes_with_the_exact_place_of_every_error(decoder: Decoder) -> None:
    about = dict(spec.standard().enumerations["stage"].values())
    rules = Rules({stage: about[stage] for stage in stages_in_order()})
    results = Runner(Judge(decoder, rules, "exact")).all(sample(), 2)
    assert [(r.record.id, r.reason) for r in results if r.verdict not in ("pass", "unsupported")] == []
    assert Counter(r.verdict for r in results)["pass"] > len(results) // 2


def test_it_depends_on_nothing_but_the_c_library() -> None:
    own = {path.name for path in SOURCE.glob("*.h")}
    names = [
        "assert",
        "errno",
        "inttypes",
        "limits",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "string",
    ]
    standard = {f"{name}.h" for name in names}
    lines = [line for path in SOURCE.glob("*.[ch]") for line in path.read_text().splitlines()]
    included = {line.split()[1].strip('"<>') for line in lines if line.startswith("#include")}
    assert included and included <= own | standard
