"""The suite for fluster: its shape, and that its decoder class tells a right decoder from others."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from conformance.runner.fluster import export
from conformance.runner.records import load
from conformance.tests.small_corpus import write_corpus

BROKEN = Path(__file__).with_name("broken_decoders.py")
MEMBERS = {"name", "source", "source_checksum", "input_file", "output_format", "result"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = tmp_path_factory.mktemp("corpus")
    write_corpus(corpus)
    folder = tmp_path_factory.mktemp("fluster")
    export(load([corpus]), "joints", "https://example.org/hga/", folder)
    for record in corpus.glob("*.json"):  # broken_decoders.py reads the record beside the stream
        shutil.copy(record, folder / "resources" / "HGA-joints" / f"test-{record.stem}")
    return folder


def vectors(exported: Path) -> dict[str, dict[str, Any]]:
    suite = json.loads((exported / "test_suites" / "hga" / "HGA-joints.json").read_text())
    assert suite.keys() == {"name", "codec", "description", "test_vectors"}
    return {vector["name"]: vector for vector in suite["test_vectors"]}


def test_the_suite_has_the_members_that_fluster_reads(exported: Path) -> None:
    found = vectors(exported)
    assert found.keys() == {"test-alpha", "test-beta", "test-gamma"}
    for name, vector in found.items():
        assert vector.keys() == MEMBERS and vector["output_format"] == "None"
        stream = exported / "resources" / "HGA-joints" / name / vector["input_file"]
        assert hashlib.md5(stream.read_bytes()).hexdigest() == vector["source_checksum"]
        assert vector["source"] == f"https://example.org/hga/test/{vector['input_file']}"
    assert found["test-gamma"]["result"] == hashlib.md5(b"ConstraintViolation motion_order\n").hexdigest()


@pytest.mark.parametrize(
    ("defect", "right"),
    [
        ("honest", {"test-alpha", "test-beta", "test-gamma"}),
        ("accept_all", {"test-alpha", "test-beta"}),
        ("wrong_id", {"test-alpha", "test-beta"}),
        ("reject_all", set()),
        ("wrong_order", {"test-gamma"}),
        ("gives_up", {"test-alpha", "test-beta", "test-gamma"}),
    ],
)
def test_the_decoder_class_tells_decoders_apart(
    exported: Path, monkeypatch: pytest.MonkeyPatch, defect: str, right: set[str]
) -> None:
    monkeypatch.setenv("HGA_DECODER", f"{sys.executable} {BROKEN} {defect} {{stream}}")
    decoder = adapter(exported, monkeypatch)()
    assert decoder.binary == sys.executable and decoder.codec == "HGA"
    passed = set()
    for name, vector in vectors(exported).items():
        stream = exported / "resources" / "HGA-joints" / name / vector["input_file"]
        result = decoder.decode(str(stream), "unused.out", "None", 30, False, False)
        passed |= {name} if result == vector["result"] else set()
    assert passed == right


def adapter(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The decoder class, loaded with stand-ins for what it imports of fluster."""
    registered: list[Any] = []
    codec, decoder = types.ModuleType("fluster.codec"), types.ModuleType("fluster.decoder")
    codec.Codec, codec.OutputFormat = types.SimpleNamespace(HGA="HGA"), str  # type: ignore[attr-defined]
    decoder.Decoder, decoder.register_decoder = object, lambda found: registered.append(found) or found  # type: ignore[attr-defined]
    for module in (types.ModuleType("fluster"), codec, decoder):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    path = exported / "fluster" / "decoders" / "hga.py"
    specification = importlib.util.spec_from_file_location("exported_hga", path)
    assert specification is not None and specification.loader is not None
    specification.loader.exec_module(importlib.util.module_from_spec(specification))
    return registered[0]
