"""Claims: what is run and drawn of them, what is kept beside them, and the page made of that."""

import json
import re
import struct
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from predcg import cli, draw, figures, gallery
from predcg.errors import InputError

CLAIMS = {
    "one/met": (
        "# What it shows,\n# on two lines.\nruns:\n  - [experiment=double_well/mixed, 'seed=0,1']\n"
        "figure: training\nexpect:\n  a: {value: 1.0, tolerance: 0.1, source: here | there}\n"
    ),
    "one/unmet": (
        "# Too much.\nruns: []\nfigure: training\nexpect:\n  a: {at_least: 2, source: our choice}\n  b: {at_most: 3,"
        " source: our choice}\n"
    ),
    "two/Last": "# Last.\nruns: []\nfigure: training\nexpect:\n  b: {at_least: -3, at_most: 3, source: our choice}\n",
}


def picture(runs):
    return Figure(figsize=(2, 1)), {"a": 1.05, "a_error": 0.0123, "b": 0.5}


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """The folder of three claims, whose runs take 100 s each and are not run."""
    folder = tmp_path / "experiments"
    for name, text in CLAIMS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)

    def run(cfg):
        made = tmp_path / cfg.folder
        made.mkdir(parents=True, exist_ok=True)
        (made / "summary.json").write_text('{"wall_time_s": 100.0}')
        return made

    monkeypatch.chdir(tmp_path)
    for module in (cli, draw):
        monkeypatch.setattr(module, "shipped", lambda name: tmp_path / name)
    monkeypatch.setattr(draw, "run", run)
    monkeypatch.setattr(draw, "load", lambda made, round=None: (made, round))
    monkeypatch.setattr(figures, "training", picture)
    return folder


@pytest.fixture
def call(claims, monkeypatch):
    """The command line: its exit code, and the claims that it has drawn."""
    make, drawn = draw.make, []
    monkeypatch.setattr(draw, "make", lambda name, overrides: drawn.append(name) or make(name, overrides))

    def program(*arguments):
        drawn.clear()
        monkeypatch.setattr(sys, "argv", ["predcg-draw", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.draw()
        return end.value.code, list(drawn)

    return program


def refused(call, capsys, *arguments):
    """The one line of a refusal."""
    assert call(*arguments)[0] == 2
    error = capsys.readouterr().err
    assert error.startswith("predcg-draw: ") and error.count("\n") == 1
    return error


def test_a_kept_result_is_the_claim_with_what_was_found(claims, call):
    assert call("--all", "one/met") == (0, ["one/met"])
    result = json.loads((claims / "one/met.json").read_text())
    assert result["runs"] == [["experiment=double_well/mixed", "seed=0,1"]] and result["figure"] == "training"
    assert result["expect"] == {"a": {"value": 1.0, "tolerance": 0.1, "source": "here | there"}}
    assert result["numbers"] == {"a": 1.05, "a_error": 0.0123, "b": 0.5} and result["met"] == {"a": True}
    assert 200 <= result["run_time_s"] < 205  # two seeds of 100 s, and the drawing
    assert result["drawn_on"] == date.today().isoformat()
    assert re.search(r"\d+ cores.*torch \d", result["machine"]) and "commit" in result
    assert not (claims.parent / "outputs/figures").exists()


def test_only_what_is_missing_or_changed_is_drawn(claims, call):
    assert call("--all") == (1, list(CLAIMS))
    assert call("--all") == (1, [])  # still 1: a kept number is out of tolerance
    (claims / "one/unmet.yaml").write_text(
        CLAIMS["one/unmet"].replace("at_least: 2", "at_least: 1").replace("Too much", "Enough")
    )
    assert call("--all") == (0, ["one/unmet"])
    (claims / "two/Last.png").unlink()
    assert call("--all") == (0, ["two/Last"])
    assert call("--all", "one/met") == (0, ["one/met"])
    assert call("--all", "force=true") == (0, list(CLAIMS))


def test_a_changed_comment_changes_the_page_without_drawing(claims, call):
    call("--all")
    (claims / "one/met.yaml").write_text(CLAIMS["one/met"].replace("What it shows", "What it taught"))
    assert call("--all") == (1, [])
    assert "What it taught,\non two lines." in (claims / "README.md").read_text()


@pytest.mark.parametrize(("accident", "code"), [(KeyboardInterrupt, 130), (InputError, 2)])
def test_what_is_drawn_before_an_accident_is_kept(accident, code, claims, call, monkeypatch):
    pictures = iter([picture])

    def breaks(runs):
        for draws in pictures:
            return draws(runs)
        raise accident("here")

    monkeypatch.setattr(figures, "training", breaks)
    assert call("--all") == (code, ["one/met", "one/unmet"])
    assert "### one/met\n" in (claims / "README.md").read_text() and not (claims / "one/unmet.json").exists()
    monkeypatch.setattr(figures, "training", picture)
    assert call("--all") == (1, ["one/unmet", "two/Last"])


def test_the_page_shows_every_kept_result_and_the_commands_of_the_rest(claims, call):
    call("--all", "one/met", "one/unmet")
    text = (claims / "README.md").read_text()
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
        "# Claims and what was found",
        "### one/met",
        "### one/unmet",
        "## Not drawn yet",
    ]
    assert "| one | [met](#onemet), [unmet](#oneunmet) | 2 | 1 |" in text and "| two |" not in text
    _, met, unmet = text.split("\n### ")
    unmet, missing = unmet.split("\n## ")
    assert "\nWhat it shows,\non two lines.\n" in met and "\nToo much.\n" in unmet
    assert "| a | 1.05 ± 0.012 | 1.0 ± 0.1 | met | here \\| there |" in met
    assert (
        "| a | 1.05 ± 0.012 | >= 2 | NOT MET | our choice |" in unmet
        and "| b | 0.5 | <= 3 | met | our choice |" in unmet
    )
    assert "3.3 min of runs and drawing" in met and f"0.0 min of runs and drawing, {date.today()}, " in unmet
    for part, name in ((met, "one/met"), (unmet, "one/unmet"), (missing, "two/Last")):
        assert re.findall(r"```bash\n(.*?)\n```", part, re.DOTALL) == [f"predcg-draw {name}"]
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert pictures == ["one/met.png", "one/unmet.png"] and all((claims / path).is_file() for path in pictures)
    call("--all")
    text = (claims / "README.md").read_text()
    assert (
        "| two | [Last](#twolast) | 1 | 0 |" in text
        and "Not drawn yet" not in text
        and "| b | 0.5 | >= -3 and <= 3 | met |" in text
    )
    assert gallery.page(claims) == text


def test_one_claim_alone_leaves_the_checkout_as_it_is(claims, call):
    before = sorted(claims.rglob("*"))
    assert call("two/Last") == (0, ["two/Last"])
    assert sorted(claims.rglob("*")) == before
    assert {file.suffix for file in Path("outputs/figures/two").glob("Last.*")} == {".png", ".pdf", ".json"}


@pytest.mark.parametrize("noisy", [False, True])
def test_a_kept_picture_is_small(noisy, tmp_path):
    figure = Figure(figsize=(12, 3))
    if noisy:
        figure.subplots().imshow(np.random.default_rng(0).random((300, 1200, 3)))
    gallery.keep(tmp_path, "paper/wide", figure, {})
    content = (tmp_path / "paper/wide.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert len(content) <= 150_000 and abs(width - 4 * height) <= 4
    assert 300 < width < 1000 if noisy else width in (999, 1000)


def test_what_a_claim_lists_with_commas_is_expanded():
    runs = [["experiment=e", "n=50,200", "figures=[a,b]", "seed=0,1"], ["~c", "+d={p:[1,{q:2}],r:3},4", "e=x=1,y=2"]]
    assert draw.expand(runs) == [
        ["experiment=e", "n=50", "figures=[a,b]", "seed=0"],
        ["experiment=e", "n=50", "figures=[a,b]", "seed=1"],
        ["experiment=e", "n=200", "figures=[a,b]", "seed=0"],
        ["experiment=e", "n=200", "figures=[a,b]", "seed=1"],
        ["~c", "+d={p:[1,{q:2}],r:3}", "e=x=1"],
        ["~c", "+d={p:[1,{q:2}],r:3}", "e=y=2"],
        ["~c", "+d=4", "e=x=1"],
        ["~c", "+d=4", "e=y=2"],
    ]
    assert draw.expand([]) == []


def test_a_claim_may_be_of_a_round(claims, call, monkeypatch):
    seen = []
    monkeypatch.setattr(figures, "training", lambda runs: seen.append(runs) or picture(runs))
    for text, round in (("", None), ("round: 2\n", 2)):
        (claims / "one/met.yaml").write_text(CLAIMS["one/met"] + text)
        call("one/met")
        assert [number for _, number in seen[-1]] == [round, round]


def test_claims_that_cannot_be_drawn_are_refused_in_one_line(claims, call, capsys):
    path = claims / "one/met.yaml"
    path.write_text(CLAIMS["one/met"].replace("  a:", "  c:"))
    assert "expected numbers of training: a, a_error, b; found c; mend one/met.yaml" in refused(
        call, capsys, "--all", "one/met"
    )
    path.write_text(CLAIMS["one/met"].replace("training", "nonsense"))
    assert "found 'nonsense'; mend one/met.yaml" in refused(call, capsys, "one/met")
    path.write_text(CLAIMS["one/met"].replace("here | there", "ours (0, 1 apart)"))
    assert (
        "expected of a some of value, tolerance, at_least, at_most, source; found ['1 apart)']; write a source"
        in refused(call, capsys, "one/met")
    )
    path.write_text(CLAIMS["one/met"] + "round: last\n")
    assert "expected round, a whole number; found 'last'; mend the file" in refused(call, capsys, "one/met")
    path.write_text(CLAIMS["one/met"].replace("seed=", "sead="))
    assert "sead" in refused(call, capsys, "one/met")
    assert not list(claims.rglob("*.json")) and not list(claims.rglob("*.png"))


def test_calls_that_mean_nothing_are_refused_before_anything_is_drawn(claims, call, capsys, monkeypatch):
    assert "expected --all or one of one/met, one/unmet, two/Last; found none" in refused(call, capsys)
    assert "found 'one/none'" in refused(call, capsys, "--all", "two/Last", "one/none")
    assert "found steps=3" in refused(call, capsys, "--all", "steps=3")
    package = Path(draw.__file__).parent
    monkeypatch.setattr(draw, "shipped", lambda name: package / name)
    assert "expected a checkout" in refused(call, capsys, "--all")
    assert not list(claims.rglob("*.json")) and not (package / "experiments").exists()


@pytest.mark.parametrize(
    ("found", "expected", "met"),
    [
        (1.05, {"value": 1.0, "tolerance": 0.1}, True),
        (1.2, {"value": 1.0, "tolerance": 0.1}, False),
        (0.95, {"at_least": 0.9}, True),
        (0.85, {"at_least": 0.9}, False),
        (0.2, {"at_most": 0.1}, False),
        (float("nan"), {"value": 1.0, "tolerance": 0.1}, False),
        (float("nan"), {"at_least": 0.0}, False),
    ],
)
def test_judgement(found, expected, met):
    assert draw.judge(found, expected) is met
