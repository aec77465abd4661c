"""Every shipped experiment runs for one step and can be loaded again; every claim and the README name what exists."""

import functools
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from predcg import figures
from predcg.catalogue import listing, shipped
from predcg.config import build, compose
from predcg.draw import expand
from predcg.run import load, run

ROOT = Path(__file__).parents[1]
EXPERIMENTS = listing(shipped("conf") / "experiment")
CLAIMS = sorted(shipped("experiments").rglob("*.yaml"))


def small(experiment: str) -> list[str]:
    """Overrides that make a shipped experiment as short as it can be, by the names that its acquisition and sampler have."""
    cfg = compose([f"experiment={experiment}"])
    blocks = 5 * cfg.acquisition.get("blocks", 1)
    least = {"frames": 4 * blocks, "test_frames": 4 * blocks, "replicas": 5}
    if cfg.acquisition.get("first") is not None:
        least["first"] = 4 * blocks
    sizes = {f"acquisition.{name}": value for name, value in least.items() if name in cfg.acquisition}
    sizes |= {f"sampler.{name}": value for name, value in {"stride": 1, "burn_in": 0, "exchange": 1}.items() if name in cfg.sampler}
    return [f"{name}={value}" for name, value in (sizes | ({"steps": 1, "epoch_steps": 1} if cfg.steps else {})).items()]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_for_one_step_and_reloads(experiment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("predcg.figures.planar.DRAWS", 500)
    monkeypatch.setattr("predcg.figures.planar.WEIGHTED", 500)
    monkeypatch.setattr("predcg.figures.molecule.DRAWS", 200)
    monkeypatch.setattr("predcg.figures.bands.DRAWS", 10)
    folder = run(compose([f"experiment={experiment}", "logger=none", *small(experiment)]))
    assert (folder / "finished").exists()
    reloaded = load(folder)
    assert reloaded.model.generate(3).shape == (3, reloaded.system.size)
    assert {file.stem for file in (folder / "figures").glob("*")} == set(compose([f"experiment={experiment}"]).figures)


def groups():
    for folder in sorted(path for path in shipped("conf").iterdir() if path.is_dir() and path.name != "experiment"):
        yield from (f"{folder.name}={file.stem}" for file in sorted(folder.glob("*.yaml")))


@pytest.mark.parametrize("choice", list(groups()))
def test_every_group_option_can_be_selected(choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = "ala2/forward_kl" if choice.endswith(("=ala2", "=molecule", "=openmm")) else "double_well/forward_kl"
    experiment = "schoberl2019/ala2_energy" if choice.endswith(("=cartesian", "=internal", "=internal_flow")) else experiment
    experiment = "schoberl2015/em" if re.search("=(spin|majority|.*em$|relative|gibbs|sgd|ising|.*_data$|weak)", choice) else experiment
    needed = {
        "objective=relative_entropy": ["decoder=majority_blocks"], "decoder=majority_blocks": ["objective=relative_entropy"],
        "system=molecule": ["system.pdb=ala2.pdb"], "acquisition=load": ["acquisition.path=x.npz"], "encoder=internal": ["decoder=internal_flow"],
    }.get(choice, [])  # fmt: skip
    cfg = compose([f"experiment={experiment}", choice, *needed, "figures=[training]"])
    if choice in ("encoder=molecule", "decoder=molecule"):
        cfg = compose(["experiment=ala2/forward_kl", choice])
    assert build(cfg).model.generate(2).shape == (2, cfg.x)


@functools.cache
def composed(*overrides):
    """Many claims are about the same runs."""
    return compose(list(overrides))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda path: path.stem)
def test_every_claim_names_runs_that_compose_and_a_figure_that_exists(claim):
    content = OmegaConf.to_container(OmegaConf.load(claim))
    assert set(content) == {"runs", "figure", "expect"} and content["figure"] in figures.__all__
    for entry in content["runs"]:
        # Of a grid every value once, not every combination.
        values = [[one for (one,) in expand([[override]])] for override in entry]
        for row in range(max(map(len, values))):
            composed(*(column[min(row, len(column) - 1)] for column in values))
    for expected in content["expect"].values():
        assert expected["source"] and ({"value", "tolerance"} <= expected.keys() or {"at_least", "at_most"} & expected.keys())
    assert claim.read_text().startswith("#")


def blocks():
    return re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_commands_of_the_readme_exist():
    """Scripts are the project's, extras are declared, and every predcg call composes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = [shlex.split(line, comments=True) for block in blocks() for line in block.splitlines() if line.split("#")[0].strip()]
    assert ["predcg", "experiment=ala2/forward_kl"] in commands and ["pytest"] in commands
    for words in commands:
        if words[:3] == ["pip", "install", "-e"]:
            extras = re.findall(r"\[(.*)\]", words[3])
            assert set("".join(extras).split(",")) - {""} <= set(project["optional-dependencies"])
        elif words[0] == "predcg":
            overrides = [word for word in words[1:] if "=" in word]
            compose([re.sub(r"=([^,\[]*),.*", r"=\1", word) for word in overrides if not word.startswith("hydra")])
        elif words[0] == "predcg-draw":
            assert all((shipped("experiments") / f"{word}.yaml").exists() for word in words[1:] if not word.startswith("--"))
        else:
            assert words[0] in {"pytest", "python3", "wandb", "."}, words


def test_the_first_two_blocks_are_the_main_job_and_the_tests():
    first, second = blocks()[:2]
    assert first.split() == ["pip", "install", "-e", ".", "predcg", "experiment=ala2/forward_kl"]
    assert second.split() == ["pip", "install", "-e", '".[test]"', "pytest"]


def test_every_picture_of_the_readme_is_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    assert pictures and all((ROOT / picture).stat().st_size < 300_000 for picture in pictures)


def test_conf_and_experiments_travel_inside_the_wheel():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"conf": "predcg/conf", "experiments": "predcg/experiments"}
