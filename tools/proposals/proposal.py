"""§4.1 A proposal: a folder with a change to the standard, and the tree that the change makes, apart from this one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conformance.coverage import points
from reference_encoder.content import ContentError

ROOT = Path(__file__).parents[2]
PACKAGES = ("spec", "reference_decoder", "reference_encoder", "conformance", "tools")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "tests", "corpus", "data", "*.pyc")


@dataclass(frozen=True)
class Proposal:
    """§4.1 One proposal, as `proposal.yaml` describes it."""

    folder: Path
    title: str
    summary: str
    compatible: bool  # whether a decoder of today is meant to decode what it makes
    values: Mapping[str, int]  # what elements take when streams are written again: new ones, and `version`

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def patch(self) -> Path:
        return self.folder / "change.patch"


def proposals(folder: Path) -> list[Path]:
    """The folders of all proposals, by number."""
    return sorted(path.parent for path in folder.glob("[0-9][0-9][0-9][0-9]-*/proposal.yaml"))


def find(folder: Path, number: str) -> Proposal:
    """§4.1 The proposal of a number or name. Raises ContentError in one line for one that is not complete."""
    found = [path for path in proposals(folder) if path.name.split("-")[0] == number or path.name == number]
    if len(found) != 1:
        known = ", ".join(path.name for path in proposals(folder)) or "none"
        raise ContentError(f"{folder}: there is no proposal {number}; there are {known}")
    described = yaml.safe_load((found[0] / "proposal.yaml").read_text(encoding="utf-8"))
    wanted = {"title": str, "summary": str, "compatible": bool, "values": dict}
    for key, kind in wanted.items():
        if not isinstance(described, dict) or not isinstance(described.get(key), kind):
            raise ContentError(f"{found[0].name}/proposal.yaml: {key} is missing or not a {kind.__name__}")
    if unknown := described.keys() - wanted.keys():
        raise ContentError(f"{found[0].name}/proposal.yaml: nothing is called {', '.join(sorted(unknown))}")
    for name in ("change.patch", "rationale.md"):
        if not (found[0] / name).is_file():
            raise ContentError(f"{found[0].name}: {name} is missing")
    return Proposal(folder=found[0], **described)


@contextlib.contextmanager
def changed_tree(proposal: Proposal) -> Iterator[Path]:
    """§4.1 A copy of the code and the standard with the change made. Raises ContentError if it does not apply."""
    with tempfile.TemporaryDirectory(prefix=f"hga-{proposal.name}-") as folder:
        tree = Path(folder)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, tree / package, ignore=_LEFT_OUT)
        done = subprocess.run(
            ["git", "apply", "--verbose", str(proposal.patch.resolve())],
            cwd=tree,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            problems = [line for line in done.stderr.splitlines() if line.startswith("error")]
            raise ContentError(f"{proposal.name}: the patch does not apply: {'; '.join(problems)}")
        yield tree


def rewritten(
    tree: Path, streams: Mapping[str, list[dict[str, Any]]], values: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """§5.1 Streams written again and decoded by the code of `tree`: what `tools.proposals.rewrite` prints."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "tools.proposals.rewrite"]
    with tempfile.TemporaryFile("w+") as request, tempfile.TemporaryFile("w+") as complaints:
        json.dump({"values": dict(values), "streams": dict(streams), "points": list(points())}, request)
        request.seek(0)
        with subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
        if process.returncode:
            complaints.seek(0)
            last = complaints.read().strip().splitlines()[-1:]
            raise ContentError(f"the changed standard cannot be run: {''.join(last)}")
