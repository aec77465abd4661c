"""The command line before a run: help, completion, paths as they are, names of folders, and one line for what is
misspelt.
"""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from predcg import cli
from predcg.catalogue import description, draw_help_page, groups, help_page, listing, shipped
from predcg.config import compose
from predcg.errors import InputError
from predcg.messages import LONGEST, short
from predcg.overrides import label, readable

EXPERIMENTS = listing(shipped("conf") / "experiment")
SOURCES = str(Path(cli.__file__).parents[1])
HEAVY = ("torch", "openmm", "pytorch_lightning", "mdtraj", "matplotlib", "wandb", "numpy")
PROGRAM = (
    "import sys\nfrom predcg import cli\ntry:\n    cli.{}()\nfinally:\n    print([name for name in {} if name in"
    " sys.modules], file=sys.stderr)"
)


def call(*arguments, program="main", **environment):
    """Exit code, output, errors, and which of the heavy libraries a process of its own has imported."""
    command = [sys.executable, "-c", PROGRAM.format(program, HEAVY), *arguments]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": SOURCES} | environment,
    )
    *errors, heavy = found.stderr.splitlines()
    return found.returncode, found.stdout, errors, heavy


@pytest.mark.parametrize(
    ("program", "flag"), list(itertools.product(["main", "draw"], ["--help", "-h", "--version", "--list"]))
)
def test_what_is_asked_about_the_program_is_told_without_heavy_imports(program, flag, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    pages = {"main": help_page, "draw": draw_help_page}
    known = EXPERIMENTS if program == "main" else listing(shipped("experiments"))
    code, output, errors, heavy = call(flag, program=program, COLUMNS="150")
    assert (code, errors, heavy) == (0, [], "[]")
    if flag == "--version":
        assert output == "predcg 0.1.0\n"
    elif flag == "--list":
        assert output.splitlines() == known
    else:
        assert len(output) == len(pages[program]()) + 1


def test_help_names_all_that_there_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    page = help_page()
    for name in EXPERIMENTS:
        (line,) = (line for line in page.splitlines() if line.split()[:1] == [name])
        assert line.split(maxsplit=1)[1].removesuffix(" ...") in description(
            shipped("conf") / "experiment" / f"{name}.yaml"
        )
    words = page.replace(",", " ").split()
    assert all(word in words for group, options in groups().items() for word in (group, *options))
    assert all(f"  {name} " in draw_help_page() for name in listing(shipped("experiments")))


def test_the_examples_of_the_help_compose():
    section = help_page().split("\nExamples\n")[1].split("\n\n")[0].splitlines()
    assert len(section) == 5
    for line in section:
        words = shlex.split(line.split("   ")[0].split("  ")[1])
        assert words[0] == "predcg"
        overrides = [word.split(",")[0] for word in words[1:] if "=" in word]
        assert compose(overrides).name == overrides[0].removeprefix("experiment=")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_says_in_its_first_sentence_what_it_shows(experiment):
    told = description(shipped("conf") / "experiment" / f"{experiment}.yaml")
    assert told.endswith(".") and 20 < len(told) < 200 and "The same" not in told


@pytest.mark.parametrize(
    "arguments",
    [["--cfg", "job"], ["--cfg", "job", "--resolve"], ["--info", "defaults"], ["--hydra-help"]],
    ids=" ".join,
)
def test_flags_of_hydra_work_without_heavy_imports(arguments):
    overrides = [] if "--hydra-help" in arguments else ["experiment=double_well/mixed", "prior=ard"]
    code, output, errors, heavy = call(*overrides, *arguments)
    assert (code, errors, heavy) == (0, [], "[]")
    assert "predcg.priors.ARD" in output if "--cfg" in arguments else len(output) > 500


WRONG = {
    "": (
        "experiment: expected one of ala2/biased, .*; found none; choose one with experiment=<name>, or see predcg"
        " --help"
    ),
    "experiment=double_well/mixd": (
        "experiment: expected one of .*; found 'double_well/mixd'; the nearest is double_well/mixed"
    ),
    "experiment=double_well/mixed prior=arrd": "prior: expected one of ard, flat, .*; found 'arrd'; the nearest is ard",
    "experiment=double_well/mixed priorr=ard": "priorr: expected a key or group .*; the nearest is prior",
    "experiment=double_well/mixed objective.alpa=0.1": (
        "objective.alpa: expected a key or group .*; the nearest is objective.alpha"
    ),
    "experiment=double_well/mixed decoder=flow decoder.coupling=2": (
        "decoder.coupling: .*; the nearest is decoder.couplings"
    ),
    "experiment=double_well/mixed lr=1": "lr: .*; the nearest is optimizer.lr",
    "experiment=double_well/mixed ~callbacks.bund": "callbacks.bund: .*; the nearest is callbacks.bounds",
    "experiment=double_well/mixed hydra/launcher=jobib": "hydra/launcher: expected one of basic, .*; found 'jobib'",
    "experiment=double_well/mixed seed=0,1": (
        "seed=0,1: expected one value; found several; for a run of each: predcg -m ..."
    ),
    "experiment=double_well/mixed steps": "steps: expected key=value, .*",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_misspelt_is_told_in_one_line_with_the_nearest_that_is_right(wrong):
    code, output, errors, heavy = call(*wrong.split())
    assert (code, output, heavy, len(errors)) == (2, "", "[]", 1)
    assert re.fullmatch(f"predcg: {WRONG[wrong]}.*", errors[0]) and len(errors[0]) < LONGEST + 20


def test_a_misspelt_claim_is_told_with_the_nearest_that_is_right():
    code, _, errors, heavy = call("schoberl2019/fig1", program="draw")
    assert (code, heavy, len(errors)) == (
        2,
        "[]",
        1,
    ) and "found 'schoberl2019/fig1'; the nearest is schoberl2019/fig1" in errors[0]
    assert call(program="draw")[::3] == (2, "[]")


def test_a_long_message_keeps_its_start_and_its_end(monkeypatch, capsys):
    def fails(*arguments, **keywords):
        raise InputError(
            "system.pdb: expected one molecule; found " + "HOH 1 (O H1 H2); " * 500 + "leave out the water"
        )

    monkeypatch.setattr(cli.hydra, "main", fails)
    monkeypatch.setattr(sys, "argv", ["predcg"])
    with pytest.raises(SystemExit):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        len(line) <= LONGEST + len("predcg: ")
        and line.startswith("predcg: system.pdb: expected one molecule")
        and line.endswith("leave out the water")
    )
    assert short("as it is") == "as it is"


@pytest.mark.skipif(shutil.which("bash") is None, reason="completion is tried in bash, and there is none")
def test_bash_completes_experiments_groups_options_and_keys(tmp_path):
    program = tmp_path / "predcg"
    program.write_text(f"#!{sys.executable}\nfrom predcg.cli import main\nmain()\n")
    program.chmod(0o755)
    script = 'eval "$(predcg -sc install=bash)"\ncomplete -p predcg >/dev/null || exit 1\n'
    lines = [
        "predcg experiment=double",
        "predcg experiment=double_well/mixed prio",
        "predcg experiment=double_well/mixed prior=a",
        "predcg experiment=double_well/mixed objective.al",
    ]
    for line in lines:
        script += (
            f'COMP_LINE="{line}" COMP_POINT={len(line)} COMP_CWORD={line.count(" ")}\nhydra_bash_completion; echo'
            ' "${COMPREPLY[@]}"\n'
        )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": SOURCES}
    found = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    experiments, group, option, key = found.stdout.splitlines()
    assert experiments.split() == [f"experiment={name}" for name in EXPERIMENTS if name.startswith("double_well")]
    assert "prior=" in group.split() and option.split() == ["prior=ard"] and key.split() == ["objective.alpha="]


ODD = [
    "prior=ard,x/seed=0/train.npz",
    "my frames.npz",
    "Häßlich.npz",
    "a(1).npz",
    "it's.npz",
    r"back\slash.npz",
    "a,b.npz",
    "[x].npz",
    "{y}.npz",
    "plain.npz",
    "~tilde.npz",
]


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Files with names that shells and Hydra trip over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "häuser/me"))
    for name in [*ODD, "häuser/me/own frames.npz", "100", "1e-3", "flat"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()


LOAD = ["experiment=ala2/forward_kl", "acquisition=load"]


@pytest.mark.parametrize("name", ODD)
def test_a_path_that_is_there_is_taken_as_it_is(name, odd):
    assert compose([*LOAD, f"acquisition.path={name}"]).acquisition.path == name
    assert compose([*LOAD, f"acquisition.path={Path(name).absolute()}"]).acquisition.path == str(Path(name).absolute())
    assert list(compose([*LOAD, f"system.forcefield=[{name}]"]).system.forcefield) == [name]


def test_lists_and_sweeps_of_paths_are_taken_as_they_are(odd):
    everything = [name for name in ODD if name not in ("[x].npz",)]
    assert list(compose([*LOAD, f"system.forcefield=[{','.join(everything)}]"]).system.forcefield) == everything
    assert list(compose([*LOAD, "system.forcefield=[my frames.npz, amber96.xml]"]).system.forcefield) == [
        "my frames.npz",
        "amber96.xml",
    ]
    (sweep,) = readable(["acquisition.path=a,b.npz,Häßlich.npz,plain.npz"])
    jobs = OverridesParser.create().parse_override(sweep).sweep_string_iterator()
    assert list(jobs) == ["'a,b.npz'", "'Häßlich.npz'", "plain.npz"]
    code, output, errors, _ = call(
        *LOAD, "acquisition.path=prior=ard,x/seed=0/train.npz", "--cfg", "job", "--package", "acquisition.path"
    )
    assert (code, output, errors) == (0, "prior=ard,x/seed=0/train.npz\n", [])


def test_the_home_of_the_user_is_known(odd, tmp_path):
    home = str(tmp_path / "häuser/me")
    assert compose([*LOAD, "acquisition.path=~/own frames.npz"]).acquisition.path == f"{home}/own frames.npz"
    assert list(compose([*LOAD, "system.forcefield=[amber96.xml,~/own frames.npz]"]).system.forcefield) == [
        "amber96.xml",
        f"{home}/own frames.npz",
    ]
    assert readable(["folder=~/none"]) == [f"folder={home}/none"]


def test_what_is_no_path_is_left_as_it_is(odd):
    same = [
        "steps=100",
        "optimizer.lr=1e-3",
        "prior=flat,ard",
        "encoder.hidden=[100,8]",
        "+a={b: [1,2], c: x}",
        "figures=[]",
        "~callbacks",
        "folder=",
        "-m",
        "x='a,b'",
    ]
    assert readable(same) == same
    assert compose(["experiment=double_well/forward_kl", "steps=100", "optimizer.lr=1e-3"]).steps == 100
    with pytest.raises(InputError, match="or a file that is there; mend the path, or put the value in quotes"):
        compose([*LOAD, "acquisition.path=prior=none/x.npz"])
    # As that message says.
    assert compose([*LOAD, 'acquisition.path="prior=none/x.npz"']).acquisition.path == "prior=none/x.npz"


SETS = [
    [],
    ["a=1"],
    ["a=2"],
    ["+a.b=1"],
    ["a=1", "b=2"],
    ["a=1+b-2"],
    ["a=1+b=2"],
    ["a=1_b-2"],
    ["a=1", "b=2", "c=3"],
    ["a=1", "b=2+c=3"],
    ["a=1+b=2", "c=3"],
    ["a=[1,2]"],
    ["a=[1.2]"],
    ["a=1.2"],
    ["a=1,2"],
    ["a='1'"],
    ["a=ä"],
    ["a=ö"],
    ["a="],
    ["~a"],
    ["without=a"],
    ["a=/x/y"],
    ["a=x/y"],
    ["a=x.y"],
    ["a=x y"],
    ["a-b=1"],
    ["a=b-1"],
    ["a@b=1"],
    ["a=1", "a=2"],
    ["a=2", "a=1"],
    ["default=1"],
    ["a=" + "v" * 300],
    ["a=" + "v" * 301],
    [f"{'k' * 130}=1"],
    [f"{'k' * 130}=2"],
    ["a=-3"],
    ["a=1e+3"],
    ["a=(x)"],
    ["a=$x"],
]


def test_different_overrides_have_different_folders_of_harmless_characters():
    """Those of the list, and each with the hash of another at its end, which a value could hold as well."""
    labels = [label(one, besides=[]) for one in SETS]
    assert len(set(labels)) == len(SETS)
    assert all(re.fullmatch(r"[A-Za-z0-9._+-]+", name) and len(name) < 140 for name in labels)
    feigned = [
        [override + "+" + other.rpartition("+")[2] for override in one]
        for one, other in itertools.product(SETS, labels)
        if "-" not in other.split("+")[-1]
    ]
    assert len(feigned) > 500 and not {label(one, besides=[]) for one in feigned if one} & set(labels)


def test_the_name_of_a_folder_says_what_was_overridden():
    assert (
        label(["steps=100", "prior=ard", "seed=3", "logger.project=x"], besides=["seed", "logger"])
        == "prior-ard+steps-100"
    )
    assert label(["b=2", "a=1"], []) == label(["a=1", "b=2"], [])
    assert (
        compose(["experiment=double_well/mixed", "+trainer.gradient_clip_algorithm=value", "seed=2"]).folder
        == "outputs/double_well/mixed/trainer.gradient_clip_algorithm-value/seed-2"
    )
    assert label(["~callbacks.bounds", "system.pdb=my dir/a.pdb"], []).startswith(
        "system.pdb-my.dir.a.pdb+without-callbacks.bounds+"
    )
