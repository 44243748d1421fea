"""§A.3.3 The runner's verdict on decoders that are meant to fail, and on the one that is not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import spec
from conformance.runner import process
from conformance.runner.decoders import Decoder
from conformance.runner.judge import Judge, Result, Rules
from conformance.runner.records import Record, load
from conformance.runner.suite import Run, Runner
from conformance.tests.broken_decoders import DEFECTS
from conformance.tests.small_corpus import write_corpus

BROKEN = Path(__file__).with_name("broken_decoders.py")
ROOT = Path(__file__).parents[2]
NAMES = ("alpha", "beta", "gamma")

VERDICTS = {
    "honest": ("pass", "pass", "pass"),
    "accept_all": ("pass", "pass", "fail"),
    "reject_all": ("fail", "fail", "fail"),
    "crash": ("error", "error", "error"),
    "hang": ("timeout", "timeout", "timeout"),
    "memory_hog": ("error", "error", "error"),
    "stale_output": ("fail", "fail", "fail"),
    "wrong_metadata": ("fail", "fail", "fail"),
    "wrong_order": ("fail", "fail", "fail"),
    "last_frame_missing": ("fail", "fail", "pass"),
    "frame_lost_between": ("fail", "fail", "fail"),
    "wrong_id": ("pass", "pass", "fail"),
    "not_json": ("error", "error", "error"),
    "frame_twice": ("fail", "fail", "fail"),
    "one_stage_forgotten": ("fail", "fail", "fail"),
    "no_stages": ("fail", "fail", "fail"),
    "gives_up": ("pass", "pass", "pass"),
    "fails_at_the_end": ("error", "error", "pass"),
    "endless_output": ("error", "error", "error"),
}
"""Defect -> the verdicts on alpha and beta, which are valid, and gamma, which is not.

6.1: of a stream with an error a decoder may give up at any time, so there the last frames may be missing.
"""

REASONS = {
    "accept_all": "accepts it; expected ConstraintViolation motion_order",
    "reject_all": "rejects a valid stream: Malformed unit_size_fits",
    "crash": "crashed: SIGABRT",
    "hang": "no end after",
    "memory_hog": "of memory",
    "stale_output": "differs first in canonical",
    "wrong_metadata": "random_access is",
    "wrong_order": "differs first in symbols",
    "last_frame_missing": "is missing",
    "frame_lost_between": "frame 1 is missing",
    "wrong_id": "reports ConstraintViolation level_joints",
    "not_json": "line 1 is not JSON: 'frame 0 ok'",
    "frame_twice": "is reported twice",
    "one_stage_forgotten": "the stage pose is not reported",
    "no_stages": "the digest of no stage is reported",
    "fails_at_the_end": "exit code 1 without an error line: could not free the device",
    "endless_output": "printed more than 64 MiB",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def rules() -> Rules:
    return Rules(
        dict(sorted(spec.standard().enumerations["stage"].values(), key=lambda s: s[0] != "canonical"))
    )


def broken(defect: str, **settings: object) -> Decoder:
    return Decoder(defect, f"{sys.executable} {BROKEN} {defect} {{stream}}", **settings)  # type: ignore[arg-type]


def verdicts(corpus: Path, decoder: Decoder, strictness: str = "id") -> dict[str, Result]:
    results = Runner(Judge(decoder, rules(), strictness)).all(load([corpus]), jobs=2 if decoder.serve else 3)
    return {result.record.id.removeprefix("test/"): result for result in results}


@pytest.mark.parametrize(
    "defect", ["honest", "crash", "hang", "memory_hog", "stale_output", "not_json", "endless_output"]
)
def test_a_decoder_that_stays_is_judged_alike(corpus: Path, defect: str) -> None:
    quick = {"hang": {"timeout": 1.0}, "memory_hog": {"memory": 64}}.get(defect, {})
    found = verdicts(corpus, broken(defect, serve=f"{sys.executable} {BROKEN} {defect}", **quick))
    assert tuple(found[name].verdict for name in NAMES) == VERDICTS[defect]


def test_every_defect_has_its_verdict() -> None:
    assert VERDICTS.keys() == DEFECTS.keys()


@pytest.mark.parametrize("defect", VERDICTS)
def test_verdicts_on_decoders_that_are_meant_to_fail(corpus: Path, defect: str) -> None:
    quick = {"hang": {"timeout": 1.0}, "memory_hog": {"memory": 64}}.get(defect, {})
    found = verdicts(corpus, broken(defect, **quick))
    assert tuple(found[name].verdict for name in NAMES) == VERDICTS[defect]
    wrong = [result.reason for result in found.values() if result.verdict != "pass"]
    assert any(REASONS[defect] in reason for reason in wrong) if wrong else defect not in REASONS


def test_what_hung_is_gone_with_its_children(corpus: Path) -> None:
    verdicts(corpus, broken("hang", timeout=0.6))
    children = [int(file.read_text()) for file in corpus.glob("*.pid")]
    assert len(children) == 3
    deadline = time.monotonic() + 5
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_alive(child) for child in children)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_rejecting_is_judged_as_strictly_as_asked(corpus: Path) -> None:
    assert verdicts(corpus, broken("wrong_id"), "class")["gamma"].verdict == "pass"
    found = verdicts(corpus, broken("wrong_id"), "class")["gamma"].rejection
    assert found is not None
    assert found.agrees == {"error": True, "constraint": False, "unit": True, "bit_offset": True}
    assert verdicts(corpus, broken("honest"), "exact")["gamma"].verdict == "pass"
    assert verdicts(corpus, broken("accept_all"), "class")["gamma"].verdict == "fail"


def test_a_difference_names_stage_frame_and_cause(corpus: Path) -> None:
    found = verdicts(corpus, broken("one_stage_forgotten", stages=("joints", "pixels")))
    assert {result.verdict for result in found.values()} == {"pass"}  # pose is not asked
    assert found["alpha"].compared.keys() == {"joints", "pixels"}
    result = verdicts(corpus, broken("wrong_order", stages=("pose", "joints")))["alpha"]
    assert result.difference is not None
    assert (result.difference.stage, result.difference.frame) == ("pose", 0)
    assert result.cause == "the order of the residuals"


def test_what_is_not_declared_is_not_asked(corpus: Path) -> None:
    found = verdicts(corpus, broken("crash", profiles=("generator",)))
    assert {result.verdict for result in found.values()} == {"unsupported"}
    run = Run(Judge(broken("crash"), rules()), tuple(found.values()), 0.0)
    assert not run.conforms  # nothing was asked
    assert {r.verdict for r in verdicts(corpus, broken("honest", levels=(1,))).values()} == {"pass"}


def test_a_stage_that_nobody_can_have_is_no_pass(corpus: Path, tmp_path: Path) -> None:
    text = (corpus / "alpha.json").read_text().replace('"pixels"', '"nothing"')
    (tmp_path / "alpha.json").write_text(text)
    (tmp_path / "alpha.hga").write_bytes((corpus / "alpha.hga").read_bytes())
    assert verdicts(tmp_path, broken("honest", stages=("pixels",)))["alpha"].verdict == "unsupported"


def test_the_reference_decoder_passes_exactly(corpus: Path) -> None:
    decode = f"{sys.executable} -m tools decode --json --stages {{stages}}"
    single = Decoder("reference", f"{decode} {{stream}}")
    assert verdicts(corpus, single, "exact")["alpha"].verdict == "pass"
    found = verdicts(corpus, Decoder("reference", single.command, serve=f"{decode} --serve"), "exact")
    assert [result.reason for result in found.values() if result.verdict != "pass"] == []
    assert found["alpha"].compared.keys() >= rules().stages.keys() - {"maps"}
    assert found["gamma"].missing_frames == 0


def test_the_runner_imports_no_codec() -> None:
    code = (
        "import pkgutil, importlib, sys, conformance.runner as package\n"
        "for module in pkgutil.iter_modules(package.__path__):\n"
        "    importlib.import_module(f'conformance.runner.{module.name}')\n"
        "codecs = ('spec', 'reference_decoder', 'reference_encoder', 'tools')\n"
        "print([m for m in sys.modules if m.split('.')[0] in codecs\n"
        "       or m.startswith('conformance.') and not m.startswith('conformance.runner')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_limits_hold_for_a_command_and_an_interrupted_one_ends() -> None:
    cancel = threading.Event()
    finished = process.run([sys.executable, "-c", "print(1)"], 20, 512, cancel)
    assert (finished.stdout, finished.code, finished.stopped) == ("1\n", 0, "")
    cancel.set()
    with pytest.raises(process.Cancelled):
        process.run([sys.executable, "-c", "import time; time.sleep(60)"], 60, 512, cancel)


def test_records_are_the_smallest_first(corpus: Path) -> None:
    found: list[Record] = load([corpus])
    sizes = [record.stream.stat().st_size for record in found]
    assert sizes == sorted(sizes) and len(sizes) == 3
    assert all(record.intact() for record in found)
