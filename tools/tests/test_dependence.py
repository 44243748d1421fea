"""Dependence runs one way: spec <- reference_decoder <- reference_encoder <- conformance, tools."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "spec": {"spec"},
    "reference_decoder": {"spec", "reference_decoder"},
    "reference_encoder": {"spec", "reference_decoder", "reference_encoder"},
    "conformance": {"spec", "reference_decoder", "reference_encoder", "conformance"},
    "tools": {"spec", "reference_decoder", "reference_encoder", "conformance", "tools"},
}
NOT_ON_THE_DECODING_PATH = {"torch", "scipy", "smplx", "gsplat", "PIL", "click", "rich"}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


def sources(package: str) -> list[Path]:
    """The files of a package without its tests."""
    return [path for path in sorted((ROOT / package).rglob("*.py")) if "tests" not in path.parts]


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_comes_before_them(package: str) -> None:
    for path in sources(package):
        assert imported(path) & ALLOWED.keys() <= ALLOWED[package], path


@pytest.mark.parametrize("package", ["spec", "reference_decoder"])
def test_decoding_needs_no_torch_and_no_tools(package: str) -> None:
    for path in sources(package):
        optional = {"torch"} if path.name == "torch_network.py" else set()  # imported when it is asked for
        assert not imported(path) & NOT_ON_THE_DECODING_PATH - optional, path


def test_torch_stays_behind_its_extras() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for package in ALLOWED
        for path in sources(package)
        if imported(path) & {"torch", "smplx", "gsplat", "lpips"}
    }
    training = {user for user in users if user.startswith("reference_encoder/training/")}
    assert training
    assert users - training <= {
        "reference_decoder/torch_network.py",
        "reference_encoder/body_models.py",
        "tools/training.py",
    }


def test_only_the_training_command_leads_to_torch() -> None:
    for package in ALLOWED:
        for path in sources(package):
            if "reference_encoder.training" in path.read_text(encoding="utf-8"):
                where = path.relative_to(ROOT).as_posix()
                assert where.startswith(
                    (
                        "reference_encoder/training/",
                        "tools/training",
                        "tools/bench_train",
                        "tools/bench_weights",
                    )
                ), where
