"""`hga train` on a tiny set: it lowers the error on poses it has not seen, can be resumed, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.content.clothed import Plan, make_clothed
from tools.tests.conftest import Run

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_encoder.avatar_file import load_avatar  # noqa: E402
from reference_encoder.training.dataset import load_multi_view  # noqa: E402
from reference_encoder.training.scores import drawer, face_of, held_out_pictures, score  # noqa: E402
from reference_encoder.training.shots import MARGIN  # noqa: E402
from reference_encoder.training.splatting import CpuSplatter  # noqa: E402
from reference_encoder.training.trainer import Model, Trainer, load_checkpoint, topology_of  # noqa: E402
from tools.training import Choices  # noqa: E402

torch.set_num_threads(1)  # tests run beside others, and threads that wait for each other only slow them down
SMALL = ("--maps", "5", "--channels", "8", "--canonical-steps", "40", "--warm-steps", "60", "--previews", "2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_clothed(folder, Plan.tiny())
    return folder


@pytest.fixture(scope="module")
def trained(hga: Run, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("trained")
    result = hga("train", tiny, "-o", folder, *SMALL, "--steps", 80, "--json")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_lowers_the_error_on_held_out_poses(trained: tuple[Path, dict]) -> None:
    _, report = trained
    canonical, generative = report["held_out"]["Canonical + LBS"], report["held_out"]["Generative"]
    assert generative["psnr"] > canonical["psnr"] + 1 and generative["ssim"] > canonical["ssim"]
    assert canonical["psnr"] > 20 and 0 < report["weights_kb"] < 100


def test_a_first_guess_alone_lowers_the_error(tiny: Path, tmp_path: Path) -> None:
    trainer = started(tiny, canonical_steps=30, warm_steps=100, steps=1)
    trainer.run(tmp_path, lambda *_: None, until=30)
    shown = held_out_pictures(trainer.data, 4, 2)
    draws = [drawer(trainer.model, trainer.data, CpuSplatter(), generator=flag) for flag in (False, True)]
    face = face_of(trainer.model, trainer.data, CpuSplatter())
    still, before = (score(trainer.data, draw, face, shown).psnr for draw in draws)
    trainer.start_generator(tmp_path, lambda *_: None)
    after = score(
        trainer.data, drawer(trainer.model, trainer.data, CpuSplatter(), generator=True), face, shown
    ).psnr
    assert abs(before - still) < 0.2 and after > still + 0.3


def test_leaves_pictures_and_a_curve(trained: tuple[Path, dict]) -> None:
    folder, _ = trained
    with Image.open(folder / "preview.png") as image:
        assert image.width % 5 == 0 and np.asarray(image).max() > 100
    losses = np.loadtxt(folder / "loss.csv", delimiter=",", skiprows=1)
    assert losses.shape == (120, 3) and losses[-20:, 1].mean() < losses[:20, 1].mean()
    assert (folder / "loss.png").exists() and (folder / "canonical.npz").exists()


@pytest.mark.parametrize("attention", [0.0, 5.0])
def test_goes_on_where_it_stopped(tiny: Path, tmp_path: Path, attention: float) -> None:
    """Losses of 25 steps in one go and in two are the same, but for how sums are grouped in memory."""
    whole = started(tiny, face_attention=attention)
    whole.run(tmp_path / "whole", lambda *_: None)
    first = started(tiny, face_attention=attention)
    first.run(tmp_path / "parts", lambda *_: None, until=15)
    state = load_checkpoint(tmp_path / "parts/checkpoint.pt")
    second = started(tiny, state, face_attention=attention)
    second.run(tmp_path / "parts", lambda *_: None)
    assert len(whole.history) == 25 and second.step == 25
    np.testing.assert_allclose(second.history, whole.history, rtol=1e-5)


def test_a_preview_does_not_fall_on_the_step_before_the_generator(
    hga: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canonical steps may be a multiple of those between previews: the first needs what comes after them."""
    monkeypatch.setattr("tools.training._PREVIEWS_EVERY", 2)
    steps = ("--maps", 5, "--channels", 8, "--canonical-steps", 4, "--warm-steps", 0, "--steps", 1)
    result = hga("train", tiny, "-o", tmp_path, *steps, "--previews", 1, "--json")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "preview.png").exists()


def started(folder: Path, state: dict[str, Any] | None = None, **options: float) -> Trainer:
    torch.manual_seed(3)
    chosen = {"canonical_steps": 10, "warm_steps": 20, "steps": 15, "map_bits": 5, "channels": 8}
    data, choices = load_multi_view(folder), Choices(**(chosen | options))
    topology = topology_of(state) if state else choices.topology(data.motion)
    model = Model(load_avatar(folder / "avatar.npz"), data, topology, torch.device("cpu"))
    return Trainer(model, data, CpuSplatter(), choices.settings(), state)


def test_pruning_leaves_the_share_of_multiplications_asked_for(tiny: Path, tmp_path: Path) -> None:
    """Half of them go; a pruned checkpoint can be gone on with."""
    trainer = started(tiny, prune=0.5, steps=20)
    before = trainer.model.twin.topology
    trainer.run(tmp_path, lambda *_: None, until=25)
    after = trainer.model.twin.topology
    assert after.macs() <= 0.5 * before.macs() and after.levels == before.levels
    resumed = started(tiny, load_checkpoint(tmp_path / "checkpoint.pt"), prune=0.5, steps=20)
    resumed.run(tmp_path, lambda *_: None)
    assert resumed.step == 30 and resumed.model.twin.topology == after


def test_exports_a_stream_that_the_bench_measures(
    hga: Run, tiny: Path, trained: tuple[Path, dict], tmp_path: Path
) -> None:
    """Decoded from integers the generator still beats skinning alone, and its pictures are drawn."""
    folder, _ = trained
    options = (*SMALL, "--steps", 80, "--resume", "--export", tmp_path / "tiny.hga", "--json")
    assert hga("train", tiny, "-o", folder, *options).exit_code == 0
    streamed = hga("info", tmp_path / "tiny.hga", "--json")
    assert streamed.exit_code == 0 and "generator" in streamed.stdout
    result = hga(
        "bench",
        "train",
        tiny,
        folder,
        "--cameras",
        2,
        "--seconds",
        1,
        "--effort",
        1,
        "--output-dir",
        tmp_path / "pictures",
        "--floats",
        "--json",
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    still, moving = rows["Canonical + LBS"], rows[folder.name]
    assert moving["psnr"] > still["psnr"] + 0.5 and 0 < moving["generator_bytes"] < 20_000
    assert moving["bytes"] == pytest.approx(still["bytes"] + moving["generator_bytes"], rel=0.1)
    whole, floats = (
        rows[f"{folder.name}, before coding, {kind}"]["psnr"] for kind in ("whole numbers", "floats")
    )
    assert abs(whole - floats) < 1 and whole != floats
    assert (tmp_path / "pictures/generative.png").exists()


def test_weights_are_coded_and_their_errors_measured(
    hga: Run, tiny: Path, trained: tuple[Path, dict]
) -> None:
    result = hga("bench", "weights", tiny, trained[0], "--frames", 2, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    rounded, default = report["coded"]["rounded"], report["coded"]["default"]
    assert default["ours"] < rounded["ours"] and {"LZMA", "zstd", "static Laplace"} < rounded.keys()
    uniform, dependent = report["curves"]["uniform"], report["curves"]["dependent"]
    for curve in (uniform, dependent):
        assert [p["ours"] for p in curve] == sorted((p["ours"] for p in curve), reverse=True)
        assert 0 < curve[0]["error"] < curve[-1]["error"]
    assert uniform[0]["ours"] == pytest.approx(8 * rounded["ours"] / report["weights"])
    assert report["equal_error"] and max(report["equal_error"]) < 1


def test_facial_attention_weighs_the_face(tiny: Path, tmp_path: Path) -> None:
    plain = started(tiny)
    attentive = started(tiny)
    attentive.settings = replace(attentive.settings, face_attention=4.0)
    weights = [trainer.picture("cam00", 0).weight for trainer in (plain, attentive)]
    assert weights[0].max() == 1 and 4.5 < weights[1].max() <= 5
    face = weights[1] > 3
    rows = np.flatnonzero(face.numpy().any(axis=1))
    shown = np.flatnonzero((plain.data.view("cam00", 0).mask > 128).any(axis=1))
    assert 0 < face.float().mean() < 0.1 and rows.max() < MARGIN + 0.3 * np.ptp(shown)


def test_facial_attention_improves_the_face(tiny: Path, tmp_path: Path) -> None:
    """As many steps on as many pictures, with it and without."""
    found = []
    for attention in (0.0, 20.0):
        trainer = started(tiny, face_attention=attention, canonical_steps=30, warm_steps=100, steps=60)
        trainer.run(tmp_path / str(attention), lambda *_: None)
        draw = drawer(trainer.model, trainer.data, CpuSplatter(), generator=True)
        face = face_of(trainer.model, trainer.data, CpuSplatter())
        found.append(score(trainer.data, draw, face, held_out_pictures(trainer.data, 4, 2)))
    plain, attentive = found
    assert attentive.face_psnr > plain.face_psnr + 1 and attentive.psnr > plain.psnr - 1


def test_starts_from_what_another_training_left(
    hga: Run, tiny: Path, trained: tuple[Path, dict], tmp_path: Path
) -> None:
    """A generator that has been trained is kept, pruned here; skinning alone is that of where it came from."""
    folder, report = trained
    options = ("--start", folder, "--warm-steps", 0, "--previews", 1, "--json")
    refused = hga("train", tiny, "-o", tmp_path / "out", "--steps", 4, *options)
    assert refused.exit_code == 3 and "use --canonical-steps 0" in refused.stderr
    more = hga(
        "train", tiny, "-o", tmp_path / "out", "--canonical-steps", 0, "--steps", 20, "--prune", 0.4, *options
    )
    assert more.exit_code == 0, more.output
    found = json.loads(more.stdout)["held_out"]
    assert found["Canonical + LBS"] == report["held_out"]["Canonical + LBS"]
    assert found["Generative"]["psnr"] > report["held_out"]["Canonical + LBS"]["psnr"]
    before, after = (topology_of(load_checkpoint(f / "checkpoint.pt")) for f in (folder, tmp_path / "out"))
    assert after.macs() <= 0.6 * before.macs()


def test_a_control_in_floats_rounds_nothing(tiny: Path) -> None:
    twin = started(tiny).model.twin
    torch.manual_seed(1)
    maps, pose = (
        torch.randint(-128, 128, (12, 8, 8)).float(),
        torch.randint(-128, 128, (twin.pose_size,)).float(),
    )
    whole = twin(maps, pose)
    twin.quantise(False)
    floats = twin(maps, pose)
    assert (whole == whole.round()).all() and (floats != floats.round()).any()
    assert (whole - floats).abs().mean() < 0.5 * floats.abs().mean()


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("--heads", "hair"), 3, "not one of position, colour"),
    (("--resume",), 3, "checkpoint.pt: cannot be read"),
])  # fmt: skip
def test_says_what_is_wrong(
    hga: Run, tiny: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = hga("train", tiny, "-o", tmp_path / "out", *SMALL, *arguments)
    assert result.exit_code == code and message in result.stderr
