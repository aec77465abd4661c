"""Every shipped experiment runs for one step and can be loaded again; every claim and the README name what exists."""

import functools
import inspect
import json
import math
import re
import shlex
import shutil
import tomllib
from dataclasses import replace
from itertools import product
from pathlib import Path

import matplotlib
import mdtraj
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from omegaconf import OmegaConf

from predcg import cli, figures, gallery
from predcg.batch import Batch, Data
from predcg.catalogue import listing, shipped
from predcg.config import compose
from predcg.draw import expand
from predcg.errors import InputError
from predcg.figures import style
from predcg.figures.runs import HAD
from predcg.parts import build, check_figures, will_have
from predcg.report import weigh
from predcg.run import load, run

ROOT = Path(__file__).parents[1]
EXPERIMENTS = listing(shipped("conf") / "experiment")
CLAIMS = sorted(shipped("experiments").rglob("*.yaml"))


def small(experiment: str) -> list[str]:
    """Overrides that make a shipped experiment as short as it can be, by the names that its acquisition and sampler
    have.
    """
    cfg = compose([f"experiment={experiment}"])
    blocks = 5 * cfg.acquisition.get("blocks", 1)
    least = {"frames": 4 * blocks, "test_frames": 4 * blocks, "replicas": 5, "queries": 8, "spread": 8, "most": 20}
    if cfg.acquisition.get("first") is not None:
        least["first"] = 4 * blocks
    sizes = {f"acquisition.{name}": value for name, value in least.items() if name in cfg.acquisition}
    sizes |= {
        f"sampler.{name}": value
        for name, value in {"stride": 1, "burn_in": 0, "exchange": 1}.items()
        if name in cfg.sampler
    }
    # So few evaluations leave more doubt.
    reachable = {"stop": "doubt", "acquisition": "threshold"}
    sizes |= {f"{group}.{name}": 1.0 for group, name in reachable.items() if name in (cfg[group] or {})}
    if "bounds" in cfg.callbacks:
        sizes["++callbacks.bounds.draws"] = 50
    sizes |= {"rounds": 2} if cfg.rounds > 1 else {}
    sizes |= {"steps": 1, "epoch_steps": 1} if cfg.steps else {}
    return [f"{name}={value}" for name, value in sizes.items()]


def smaller(figure):
    """The figure with a hundredth of each of its sizes."""
    sizes = {
        name: max(2, parameter.default // 100)
        for name, parameter in inspect.signature(figure).parameters.items()
        if isinstance(parameter.default, int)
    }
    return functools.wraps(figure)(lambda runs: figure(runs, **sizes))


@pytest.fixture
def few(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("predcg.run.weigh", functools.partial(weigh, draws=200))
    monkeypatch.setitem(style.STYLE, "savefig.dpi", 40)
    for name in figures.__all__:
        monkeypatch.setattr(figures, name, smaller(getattr(figures, name)))


# Every figure is drawn of one of these, and of all others among the slow tests: most of the time is matplotlib's.
DRAWN_OF = [
    "ala2/free_energy",
    "ala2/latent",
    "ala2/replica_exchange",
    "double_well/mixed",
    "mueller_brown/free_energy_active",
    "schoberl2015/long_range",
    "schoberl2019/ala2",
    "schoberl2019/double_well",
]
LARGE = ["schoberl2019/ala5"]
WRITTEN_BY = ["ala2/forward_kl", "double_well/forward_kl", "schoberl2015/em"]


def cases():
    """Experiments and which figures: none, those that it ships, written by the run, or every one, drawn here."""
    for experiment in EXPERIMENTS:
        if experiment not in DRAWN_OF:
            yield pytest.param(
                experiment,
                "shipped" if experiment in WRITTEN_BY else "none",
                marks=[pytest.mark.slow] * (experiment in LARGE),
            )
        yield pytest.param(experiment, "every", marks=[pytest.mark.slow] * (experiment not in DRAWN_OF))


def repeated_and_weighted(run, folder):
    """The run with its frames one to three times over, and with weights one to three instead, in its folder too."""
    for kind in ("repeated", "weighted"):
        shutil.copytree(run.folder, folder / kind)
        for name in ("data/train.npz", "data/test.npz", "simulation/frames.npz"):
            if (file := folder / kind / name).exists():
                batch = Batch.load(file)
                times = 1 + torch.arange(len(batch)) % 3
                every = torch.arange(len(batch)).repeat_interleave(times)
                made = batch.frames(every) if kind == "repeated" else replace(batch, w=times.to(batch.w))
                made.save(file)
        yield run._replace(folder=folder / kind, data=Data.load(folder / kind / "data"))


def check_weights(figure, repeated, weighted, monkeypatch):
    """Numbers of frames that come up k times are those of weights k, but for standard errors and what drawing has cost;
    how many frames they are worth is another question, which is left out here. Uneven weights are told.
    """
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "effective_size", property(lambda batch: batch.w.double().sum().item()))
        drawn = []
        for runs in (repeated, weighted):
            torch.manual_seed(0)
            drawn.append(figure(list(runs)))
    (_, known), (picture, found) = drawn
    framed = [run.data for run in weighted if run.data.train.z is None]  # of frames, not of what was asked for
    parts = [part for data in framed for part in zip(("training", "held_out"), data, strict=True)]
    uneven = {f"effective_frames_{name}" for name, frames in parts if frames.weighted}
    assert found.keys() - known.keys() == uneven
    assert ("effective sample size:" in picture.axes[0].get_title()) == bool(uneven)
    for name, value in known.items():
        if not name.endswith(("_error", "_z", "evaluations")):
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), (figure.__name__, name)


def refused(name, parts, had):
    """Whether this figure of such a run is refused, with the fix."""
    try:
        check_figures([name], parts.system, had)
    except InputError as reason:
        assert str(reason).startswith(f"figures: {name} is drawn of ") and str(reason).endswith(
            "leave it out: figures=[]"
        )
        return True
    return False


def cut(picture):
    """Titles, labels and legends of a figure that are not within it."""
    with matplotlib.rc_context(style.STYLE):
        FigureCanvasAgg(picture).draw()
    texts = list(picture.texts)
    for axes in picture.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += axes.get_legend().get_texts() if axes.get_legend() else []
    shown = [text for text in texts if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    whole = picture.bbox.padded(1)  # a pixel
    return [text for text, box in boxes if not (whole.contains(box.x0, box.y0) and whole.contains(box.x1, box.y1))]


@pytest.mark.parametrize(("experiment", "which"), list(cases()))
def test_every_experiment_runs_for_one_step_and_reloads_and_every_figure_is_refused_or_drawn_of_it(
    experiment, which, few, tmp_path, monkeypatch
):
    cfg = compose(
        [
            f"experiment={experiment}",
            "logger=none",
            *small(experiment),
            "snapshots=1",
            *(["figures=[]"] if which != "shipped" else []),
        ]
    )
    folder = run(cfg)
    assert (folder / "finished").exists()
    reloaded = load(folder)
    assert reloaded.model.generate(3).shape == (3, reloaded.system.size)
    assert {file.stem for file in (folder / "figures").glob("*")} == set(cfg.figures)
    parts = build(cfg)
    had = will_have(cfg, parts)
    assert (folder / "draws/draws.npz").exists() == ("draws" in had)
    assert all(math.isfinite(number) for number in json.loads((folder / "summary.json").read_text()).values())
    allowed = [name for name in figures.__all__ if not refused(name, parts, had)]
    assert set(compose([f"experiment={experiment}"]).figures) <= set(allowed)
    copies = list(repeated_and_weighted(reloaded, tmp_path / "copies")) if which == "every" else []
    for name in allowed if which == "every" else []:
        torch.manual_seed(0)
        picture, numbers = getattr(figures, name)([reloaded])
        assert name != "reweighting" or cut(picture) == []
        assert all(math.isfinite(number) for number in numbers.values()), (name, numbers)
        check_weights(getattr(figures, name), *([copy] for copy in copies), monkeypatch)
        # Of other overrides numbers are apart, or refused: else they would be pooled. Seeds are not.
        other = reloaded._replace(name=f"{experiment} prior-other seed-0")
        try:
            assert len(getattr(figures, name)([reloaded, other])[1]) > len(numbers), name
        except InputError as reason:
            assert "expected runs that differ in their seeds alone" in str(reason)
        if experiment == "double_well/mixed":
            _, both = getattr(figures, name)(
                [reloaded, reloaded._replace(seed=1, name=reloaded.name.replace("seed-0", "seed-1"))]
            )
            assert {key for key in both if not key.endswith("_error")} == {
                key for key in numbers if not key.endswith("_error")
            }


def test_no_figure_is_left_out_of_the_fast_tests():
    drawn = set()
    for experiment in DRAWN_OF:
        cfg = compose([f"experiment={experiment}", "snapshots=1"])
        parts = build(cfg)
        had = will_have(cfg, parts)
        drawn |= {name for name in figures.__all__ if not refused(name, parts, had)}
    assert drawn == {name for name in figures.__all__ if "claim" not in getattr(figures, name).needs.names}


def test_every_figure_says_what_it_needs():
    assert all(hasattr(getattr(figures, name), "needs") for name in figures.__all__)
    assert all(
        set(HAD) & set(getattr(figures, name).needs.names) or name in {"target", "networks", "coarse_axis"}
        for name in figures.__all__
    )


LACKING = {
    "energy_histogram": ["experiment=ala2/reverse_kl"],
    "ramachandran": ["experiment=ala2/reverse_kl"],
    "latent_map": ["experiment=ala2/biased"],
    "training": ["experiment=double_well/mixed", "steps=0"],
    "bounds": ["experiment=double_well/mixed", "steps=0"],
    "efficiency": ["experiment=ala2/latent"],
    "tempering": ["experiment=double_well/mixed"],
    "coverage": ["experiment=ala2/reverse_kl"],
    "reweighting": ["experiment=ala2/forward_kl"],
}


@pytest.mark.parametrize("figure", LACKING)
def test_figures_that_cannot_be_drawn_are_refused_before_anything_is_written(figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError,
        match=(
            f"^figures: {figure} is drawn of .*; choose .*, or leave it out: figures=|{figure} is drawn of the runs"
            " that a claim names"
        ),
    ):
        run(compose([*LACKING[figure], f"figures=[{figure}]", "logger=none"]))
    assert not list(tmp_path.iterdir())


def test_a_figure_that_fails_leaves_the_run_and_is_named(few, monkeypatch, capsys):
    def broken(runs):
        raise ZeroDivisionError("no such thing")

    broken.needs = figures.training.needs
    monkeypatch.setattr(figures, "training", broken)
    overrides = [
        "experiment=double_well/mixed",
        "logger=none",
        *small("double_well/mixed"),
        "figures=[training,profile]",
        "folder=mine",
    ]
    monkeypatch.setattr("sys.argv", ["predcg", *overrides])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "predcg: training failed, the rest of the run is there: mine" in capsys.readouterr().err
    folder = Path("mine")
    assert (
        (folder / "finished").exists()
        and (folder / "figures/profile.png").exists()
        and not (folder / "figures/training.png").exists()
    )
    assert "ZeroDivisionError: no such thing" in (folder / "figures/training.txt").read_text()
    assert json.loads((folder / "summary.json").read_text())["training_failed"] == 1


def test_draws_of_a_run_without_data_are_weighted_and_its_last_temperature_is_told(few, caplog):
    """The written draws are those of the model, weighted by p/q, and energies are counted."""
    overrides = ["experiment=ala2/reverse_kl", "logger=none", *small("ala2/reverse_kl")]
    folder = run(compose(overrides))
    numbers = json.loads((folder / "summary.json").read_text())
    assert numbers["beta_final"] == pytest.approx(0.275) and "β ended at 0.275" in caplog.text
    assert "log_z_lower" in numbers and "log_z_upper" not in numbers  # no simulation, no upper bound
    loaded = load(folder)
    weights = np.loadtxt(folder / "draws/weights.txt")
    frames = mdtraj.load(str(folder / "draws/trajectory.dcd"), top=str(folder / "draws/topology.pdb"))
    x = torch.tensor(frames.xyz).flatten(1)
    assert len(weights) == len(x) == 200 and weights.mean() == pytest.approx(1, rel=1e-4)
    log_w = (-loaded.system(x) - loaded.model.log_prob(x, 1)).detach().double()
    assert torch.softmax(log_w, 0).numpy() == pytest.approx(weights / weights.sum(), abs=0.02)
    states = loaded.system.label(x)
    for index, name in enumerate(loaded.system.basins):
        assert numbers[f"p_{name}_model"] == pytest.approx((states == index).double().mean().item(), abs=0.006)
        assert numbers[f"p_{name}"] == pytest.approx(weights[states == index].sum() / weights.sum(), abs=0.02)
    assert numbers["effective_sample_size"] == pytest.approx(weights.sum() ** 2 / (200 * (weights**2).sum()), rel=1e-3)


def groups():
    for folder in sorted(path for path in shipped("conf").iterdir() if path.is_dir() and path.name != "experiment"):
        yield from (f"{folder.name}={file.stem}" for file in sorted(folder.glob("*.yaml")))


@pytest.mark.parametrize("choice", list(groups()))
def test_every_group_option_can_be_selected(choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = "ala2/forward_kl" if choice.endswith(("=ala2", "=molecule", "=openmm")) else "double_well/forward_kl"
    experiment = (
        "schoberl2019/ala2_energy"
        if choice.endswith(("=cartesian", "=internal", "=internal_flow", "=narrow_flow"))
        else experiment
    )
    experiment = (
        "schoberl2015/em"
        if re.search("=(spin|majority|.*em$|relative|gibbs|sgd|ising|.*_data$|weak)", choice)
        else experiment
    )
    needed = {
        "objective=relative_entropy": ["decoder=majority_blocks"],
        "decoder=majority_blocks": ["objective=relative_entropy"],
        "system=molecule": ["system.pdb=ala2.pdb"],
        "acquisition=load": ["acquisition.path=x.npz"],
        "acquisition=active": ["acquisition.start=[0.0]"],
        "latent=free_energy": ["latent.low=[-2.0]", "latent.high=[2.0]"],
        "latent=free_energy_networks": ["latent.low=[-2.0]", "latent.high=[2.0]"],
        "encoder=internal": ["decoder=internal_flow"],
        "decoder=linear_completion": ["encoder=observed"],
        "decoder=affine_completion": ["encoder=observed"],
    }.get(choice, [])
    if choice in ("encoder=torsions", "decoder=completion"):
        experiment, needed = "ala2/forward_kl", ["encoder=torsions", "decoder=completion", "z=2"]
    cfg = compose([f"experiment={experiment}", choice, *needed, "figures=[training]"])
    if choice in ("encoder=molecule", "decoder=molecule"):
        cfg = compose(["experiment=ala2/forward_kl", choice])
    assert build(cfg).model.generate(2).shape == (2, cfg.x)


@functools.cache
def composed(*overrides):
    """Many claims are about the same runs."""
    return compose(list(overrides))


def ends(overrides):
    """The least and the greatest of overrides whose values are numbers; all of others."""
    try:
        ordered = sorted(overrides, key=lambda override: float(override.partition("=")[2]))
    except ValueError:
        return overrides
    return [ordered[0], ordered[-1]]


def expanded(override):
    """Overrides, each with one of its values."""
    return [one for (one,) in expand([[override]])]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda path: path.stem)
def test_every_claim_names_runs_that_compose_and_a_figure_that_exists(claim):
    content = OmegaConf.to_container(OmegaConf.load(claim))
    assert set(content) == {"runs", "figure", "expect"} and content["figure"] in figures.__all__
    for entry in content["runs"]:
        # Of a grid every value once, not every combination; of numbers the least and the greatest.
        values = [ends(expanded(override)) for override in entry]
        for row in range(max(map(len, values))):
            composed(*(column[min(row, len(column) - 1)] for column in values))
    for expected in content["expect"].values():
        assert (
            expected["source"]
            and expected.keys() <= gallery.EXPECTED.keys()
            and ({"value", "tolerance"} <= expected.keys() or {"at_least", "at_most"} & expected.keys())
        )
    assert claim.read_text().startswith("#")


OF_CLAIMS = {name for name in figures.__all__ if "claim" in getattr(figures, name).needs.names}
# One chooses its frames at random, see test_coverage; one reweights frames anew; benchmarks and those that are about F
# alone read none.
NOT_COMPARED = {"explained", "free_energy_simulated", "energy_speed", "ising_speed", "sampling_speed", "training_speed"}
NOT_COMPARED |= {"estimators", "free_energy_budgets", "free_energy_speed_up", "full_space", "predicted_divergence"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OF_CLAIMS - NOT_COMPARED))
def test_figures_of_claims_go_by_the_weights_of_frames(name, few, tmp_path, monkeypatch):
    """Of the ends of every grid of the first claim that draws it, as short as its runs can be."""
    contents = (OmegaConf.to_container(OmegaConf.load(claim)) for claim in CLAIMS)
    entries = next(content["runs"] for content in contents if content["figure"] == name)
    finished = {}
    for chosen in (one for entry in entries for one in product(*(ends(expanded(override)) for override in entry))):
        keys = {override.partition("=")[0] for override in chosen}
        experiment = next(one for one in chosen if one.startswith("experiment=")).removeprefix("experiment=")
        least = [override for override in small(experiment) if override.partition("=")[0] not in keys]
        cfg = compose([*chosen, *least, "logger=none"])
        cfg.figures = []
        finished[cfg.folder] = load(run(cfg))
    copies = [repeated_and_weighted(one, tmp_path / f"copies/{n}") for n, one in enumerate(finished.values())]
    check_weights(getattr(figures, name), *zip(*copies, strict=True), monkeypatch)


def blocks():
    return re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_commands_of_the_readme_exist():
    """Scripts are the project's, extras are declared, and every predcg call composes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = [
        shlex.split(line, comments=True)
        for block in blocks()
        for line in block.splitlines()
        if line.split("#")[0].strip()
    ]
    assert ["predcg", "experiment=ala2/forward_kl"] in commands and ["pytest"] in commands
    for words in commands:
        if words[:3] == ["pip", "install", "-e"]:
            extras = re.findall(r"\[(.*)\]", words[3])
            assert set("".join(extras).split(",")) - {""} <= set(project["optional-dependencies"])
        elif words[0] == "predcg":
            overrides = [word for word in words[1:] if "=" in word]
            compose([re.sub(r"=([^,\[]*),.*", r"=\1", word) for word in overrides if not word.startswith("hydra")])
        elif words[0] == "ruff":
            assert words[1:] in (["check"], ["format", "--check"])
        elif words[0] == "predcg-draw":
            assert all(
                (shipped("experiments") / f"{word}.yaml").exists() for word in words[1:] if not word.startswith("--")
            )
        else:
            assert words[0] in {"pytest", "python3", "wandb", "."}, words


def test_the_first_two_blocks_are_the_main_job_and_the_tests():
    first, second = blocks()[:2]
    assert first.split() == ["pip", "install", "-e", ".", "predcg", "experiment=ala2/forward_kl"]
    assert second.splitlines() == ['pip install -e ".[test]"', "ruff check", "ruff format --check", "pytest"]


def test_every_picture_of_the_readme_is_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    assert pictures and all((ROOT / picture).stat().st_size < 300_000 for picture in pictures)


def test_conf_and_experiments_travel_inside_the_wheel():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ]
    assert included == {"conf": "predcg/conf", "experiments": "predcg/experiments"}
