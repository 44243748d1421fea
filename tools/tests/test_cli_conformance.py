"""`hga conformance`: its verdicts, reports and explanations from the command line."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance import recipes
from conformance.tests.small_corpus import write_corpus
from tools.tests.conftest import Run

BROKEN = Path(__file__).parents[2] / "conformance" / "tests" / "broken_decoders.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def command(defect: str) -> str:
    return f"{sys.executable} {BROKEN} {defect} {{stream}}"


def test_verdicts_go_to_the_terminal_and_to_reports(hga: Run, corpus: Path, tmp_path: Path) -> None:
    reports = {name: tmp_path / f"verdicts.{name}" for name in ("xml", "html", "json")}
    result = hga(
        "conformance", "run", "--decoder", command("wrong_id"), "--corpus", corpus,
        "--junit", reports["xml"], "--html", reports["html"], "--report", reports["json"],
    )  # fmt: skip
    assert result.exit_code == 1
    assert "reports ConstraintViolation level_joints" in " ".join(result.stdout.split())
    assert "1 streams with errors: class right in 1, constraint right in 0" in result.stderr
    verdicts = {found["id"]: found for found in json.loads(reports["json"].read_text())["results"]}
    assert verdicts["test/gamma"]["rejection"]["unit"] is True
    (suite,) = ElementTree.parse(reports["xml"]).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["test/gamma"]
    page = reports["html"].read_text()
    assert page.count("<details") == 3 and "level_joints" in page and "http" not in page
    assert "reports other errors than there are (1 of 3 streams)" in page
    (finding,) = json.loads(reports["json"].read_text())["findings"]
    assert finding["example"] == "test/gamma"
    words = shlex.split(finding["next"])
    assert words[:3] == ["hga", "conformance", "explain"] and f"hga {shlex.join(words[1:])}" in result.stderr
    assert hga(*words[1:]).exit_code == 1  # the command that the report gives can be run


def test_what_goes_wrong_first_is_named_first(hga: Run, corpus: Path) -> None:
    run = ("conformance", "run", "--corpus", corpus, "--json", "--decoder")
    found = {
        name: json.loads(hga(*run, command(name)).stdout)["findings"] for name in ("accept_all", "crash")
    }
    assert [f["what"] for f in found["accept_all"]] == ["accepts streams with errors"]
    assert [(f["what"].split(",")[0], f["streams"]) for f in found["crash"]] == [("crashes", 3)]
    stale = json.loads(hga(*run, command("stale_output")).stdout)["findings"]
    assert stale[0]["what"].startswith("canonical differs first: ")


def test_large_streams_can_be_left_out(hga: Run, corpus: Path) -> None:
    sizes = sorted((path.stat().st_size, path.stem) for path in corpus.glob("*.hga"))
    run = ("conformance", "run", "--corpus", corpus, "--decoder", command("honest"), "--json", "--largest")
    found = json.loads(hga(*run, sizes[0][0]).stdout)["results"]
    assert [each["id"] for each in found] == [f"test/{sizes[0][1]}"]
    assert "has no record of at most 1 bytes" in hga(*run, 1).stderr


def test_a_decoder_that_passes_exits_with_0(hga: Run, corpus: Path) -> None:
    arguments = ("conformance", "run", "--decoder", command("honest"), "--corpus", corpus, "--json")
    result = hga(*arguments)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["counts"]["pass"] == 3
    only = json.loads(hga(*arguments, "--only", "*/al*").stdout)["results"]
    assert [found["id"] for found in only] == ["test/alpha"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--decoder", "nobody"], "'nobody' is neither a command with {stream} in it"),
        (["--decoder", "/no/such/program {stream}"], "/no/such/program: No such file or directory"),
        (["--decoder", "x {stream}", "--only", "none"], "no record that matches none"),
        (["--decoder", "{folder}/wrong.toml"], "there is no setting 'comand'"),
        (["--decoder", "{folder}/typed.toml"], "the setting 'levels' has the wrong type: '1'"),
        (["--decoder", "{folder}/empty.py"], "defines no mapping DECODER"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    hga: Run, corpus: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "wrong.toml").write_text('comand = "x {stream}"')
    (tmp_path / "typed.toml").write_text('command = "x {stream}"\nlevels = "1"')
    (tmp_path / "empty.py").write_text("")
    filled = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    result = hga("conformance", "run", "--corpus", corpus, *filled)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_a_changed_stream_is_not_judged(hga: Run, corpus: Path, tmp_path: Path) -> None:
    for name in ("alpha.json", "alpha.hga"):
        (tmp_path / name).write_bytes((corpus / name).read_bytes())
    with (tmp_path / "alpha.hga").open("ab") as file:
        file.write(b"x")
    result = hga("conformance", "run", "--corpus", tmp_path, "--decoder", command("honest"))
    assert result.exit_code == 2 and "not the stream that its record was written for" in result.stderr


def test_a_plug_in_from_a_python_file(hga: Run, corpus: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        f"DECODER = {{'command': {command('honest')!r}, 'stages': ['joints'], 'levels': [1, 2]}}"
    )
    result = hga("conformance", "run", "--decoder", plugin, "--corpus", corpus, "--json")
    found = json.loads(result.stdout)
    assert found["decoder"]["name"] == "mine" and found["stages"].keys() == {"joints"}


def test_a_plug_in_from_an_installed_package(
    hga: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_hga.py").write_text(
        f"def describe():\n    return {{'command': {command('honest')!r}}}\n"
    )
    info = tmp_path / "their_hga-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-hga\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hga.decoders]\ntheirs = their_hga:describe\n")
    monkeypatch.syspath_prepend(tmp_path)
    result = hga("conformance", "run", "--decoder", "theirs", "--corpus", corpus, "--json")
    assert json.loads(result.stdout)["counts"]["pass"] == 3


def test_explain_names_the_entry_the_unit_and_the_trace(hga: Run, corpus: Path, tmp_path: Path) -> None:
    """A decoder that shows the frames of one stream for those of another one, and can dump and trace."""
    beta = corpus / "beta.hga"
    tools = f"{sys.executable} -m tools"
    description = tmp_path / "mine.toml"
    description.write_text(
        f'command = "{command("stale_output")}"\n'
        f'dump = "{tools} decode --stages {{stage}} --frames {{frame}} -o {{output}} {beta}"\n'
        f'trace = "{tools} dump --json --all {beta}"\n'
    )
    result = hga("conformance", "explain", "test/alpha", "--decoder", description, "--corpus", corpus, "--json",
                 "--stages", "pose")  # fmt: skip
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["verdict"][0].startswith("fail: frame 0 differs first in pose")
    assert found["likely cause"] == ["the order of the residuals"]
    assert "expected" in found["first entry"][0]
    assert any("first_frame = 0" in line for line in found["unit of the frame"])
    assert found["traces"][0].startswith("element ")


def test_explain_shows_the_syntax_around_an_error(hga: Run, corpus: Path) -> None:
    result = hga(
        "conformance", "explain", "test/gamma", "--decoder", command("accept_all"), "--corpus", corpus
    )
    assert result.exit_code == 1
    assert "  fail: accepts it; expected ConstraintViolation motion_order" in result.stdout
    assert "  -> bit" in result.stdout and "first_frame = " in result.stdout


def test_pictures_in_floats_are_judged_by_their_tolerance(hga: Run, corpus: Path, tmp_path: Path) -> None:
    example = f"{sys.executable} -m conformance.examples.float_renderer"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from reference_encoder import float_render\nfloat_render.LOW_PASS = 0.1\n"
        "from conformance.examples.float_renderer import main\nmain(*map(Path, sys.argv[1:]))\n"
    )
    commands = {"right": example, "wrong": f"{sys.executable} {wrong}", "none": command("honest")}
    verdicts = {}
    for name, start in commands.items():
        description = tmp_path / f"{name}.toml"
        description.write_text(
            f"command = '{start.removesuffix(' {stream}')} {{stream}} {{output}}'\npixels = 'tolerance'\n"
            "timeout = 600.0\n"
        )
        result = hga(
            "conformance",
            "run",
            "--decoder",
            description,
            "--corpus",
            corpus,
            "--only",
            "test/alpha",
            "--json",
        )
        (verdicts[name],) = json.loads(result.stdout)["results"]
    assert verdicts["right"]["verdict"] == "pass", verdicts["right"]["reason"]
    assert verdicts["right"]["reason"].startswith("pictures within their tolerance, PSNR from")
    assert verdicts["wrong"]["verdict"] == "fail" and "within" in verdicts["wrong"]["difference"]["where"]
    assert verdicts["none"]["reason"].endswith("no picture of the right size was written")


def test_a_suite_for_fluster_is_exported(hga: Run, corpus: Path, tmp_path: Path) -> None:
    arguments = ("conformance", "export-fluster", "-o", tmp_path, "--corpus", corpus)
    assert hga(*arguments, "--stage", "pose").exit_code == 0
    assert len(list((tmp_path / "resources" / "HGA-pose").glob("*/*.hga"))) == 3
    assert 'STAGE = "pose"' in (tmp_path / "fluster" / "decoders" / "hga.py").read_text()
    assert "there is no stage 'poses'" in hga(*arguments, "--stage", "poses").stderr


def test_a_recipe_that_cannot_be_followed_is_one_line(
    hga: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever writes a recipe sees which stream is wrong, and no traceback."""
    (wrong,) = [each for each in recipes.load(recipes.DIRECTORY / "access.yaml") if each.id == "access/whole"]
    monkeypatch.setattr(recipes, "released", lambda full: [replace(wrong, expect=("level.range",))])
    result = hga("conformance", "generate", "-o", tmp_path, "--jobs", "1")
    assert result.exit_code == 3 and result.stderr.count("\n") == 1
    assert "access/whole: expected the errors ['level.range'], found []" in result.stderr
