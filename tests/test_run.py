"""The command line: run folders that are finished, resumed or refused, and input that is refused before anything is
written.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import call
from omegaconf import OmegaConf

from predcg import cli, config, draw, rounds, run
from predcg.batch import Batch
from predcg.config import compose
from predcg.errors import InputError
from predcg.posteriors import Laplace, Members
from predcg.systems import DoubleWell
from predcg.training import read_checkpoint, read_history

QUICK = [
    "experiment=double_well/forward_kl",
    "steps=20",
    "epoch_steps=10",
    "acquisition.frames=40",
    "acquisition.test_frames=10",
    "+callbacks.bounds.draws=50",
    "logger=none",
    "figures=[training]",
]
FOLDER = Path("outputs/double_well/forward_kl")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def the_folder():
    (folder,) = FOLDER.glob("*/seed-*")
    return folder


def test_a_run_folder_holds_everything(monkeypatch):
    assert call(monkeypatch, *QUICK) == 0
    folder = the_folder()
    assert {file.name for file in folder.iterdir()} == {
        "config.yaml",
        "inputs.json",
        "data",
        "checkpoints",
        "metrics.csv",
        "summary.json",
        "figures",
        "provenance.json",
        "finished",
    }
    assert sorted(file.name for file in (folder / "figures").iterdir()) == ["training.pdf", "training.png"]
    assert (folder / "figures/training.png").read_bytes()[1:4] == b"PNG"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["seed"] == 0 and provenance["versions"]["torch"] == torch.__version__
    assert json.loads((folder / "summary.json").read_text())["energy_evaluations"] > 0
    assert OmegaConf.load(folder / "config.yaml").x == 2


def test_a_folder_alone_rebuilds_the_run(monkeypatch):
    call(monkeypatch, *QUICK)
    loaded = run.load(the_folder())
    state = read_checkpoint(the_folder() / "checkpoints/last.ckpt")["state_dict"]
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, state[f"model.{name}"])
    assert len(loaded.data.train.x) == 40 and loaded.history[-1]["step"] == 20


OVERFITTED = [
    *QUICK,
    "acquisition.frames=4",
    "steps=400",
    "epoch_steps=20",
    "optimizer.lr=0.01",
    "trainer.log_every_n_steps=1",
]


def test_results_are_of_the_checkpoint_that_was_asked_for_and_say_so(monkeypatch, capsys):
    """Four frames are learnt by heart: the held-out bound has its best long before the end."""
    summaries = {}
    for which in ("last", "best"):
        assert call(monkeypatch, *OVERFITTED, f"checkpoint={which}", f"folder={which}") == 0
        printed, summaries[which] = capsys.readouterr().out, json.loads(Path(which, "summary.json").read_text())
        assert ("overfitted: at step 400 the bound is" in printed) == (which == "last"), printed
        assert "bound_held_out " in printed and "best_step" in printed and "checkpoint_step" in printed
    history = read_history(Path("last/metrics.csv"))
    held_out = {row["step"]: row["val/bound"] for row in history if "val/bound" in row}
    best = max(held_out, key=held_out.get)
    assert 0 < best < 400 and held_out[best] - held_out[400] > 0.2
    for which, step in (("last", 400), ("best", best)):
        made, loaded = summaries[which], run.load(Path(which))
        assert (made["checkpoint_step"], made["best_step"], loaded.step) == (step, best, step)
        assert (made["bound_held_out"], made["bound_held_out_best"]) == (held_out[step], held_out[best])
        rows = [row["train/bound"] for row in history if "train/bound" in row and row["step"] <= step]
        rows = rows[len(rows) // 2 :][-10:]
        assert made["bound_training"] == pytest.approx(sum(rows) / len(rows))
        state = read_checkpoint(Path(which, f"checkpoints/{which}.ckpt"))["state_dict"]
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, state[f"model.{name}"])
    one, other = run.load(Path("last"), checkpoint="best"), run.load(Path("best"))
    assert one.step == best and all(
        map(torch.equal, one.model.state_dict().values(), other.model.state_dict().values())
    )
    with pytest.raises(InputError, match="checkpoint: expected one of last, best in last; found 'first'"):
        run.load(Path("last"), checkpoint="first")


def test_a_posterior_is_about_the_weights_that_results_use(monkeypatch):
    assert call(monkeypatch, *OVERFITTED, "posterior=laplace", "prior=gaussian", "checkpoint=best", "folder=mine") == 0
    loaded, other = run.load(Path("mine")), run.load(Path("mine"), checkpoint="last")
    assert loaded.step < other.step and other.posterior is None
    again = Laplace()(loaded.model, loaded.prior, loaded.data.train)
    for name, spread in again.spread.items():
        assert torch.allclose(loaded.posterior.spread[name], spread, rtol=1e-6)


def test_an_ensemble_that_was_killed_is_trained_again_exactly(monkeypatch):
    """From the last checkpoint and the seed."""
    ensemble = [*QUICK, "posterior=bootstrap", "posterior.members=3", "posterior.steps=4"]

    def killed(*arguments):
        raise KeyboardInterrupt

    assert call(monkeypatch, *ensemble, "folder=whole") == 0
    with monkeypatch.context() as patched:
        patched.setattr(Members, "save", killed)
        assert call(monkeypatch, *ensemble, "folder=parts") != 0
    assert not Path("parts/posterior.npz").exists() and not Path("parts/finished").exists()
    assert call(monkeypatch, *ensemble, "folder=parts") == 0
    one, other = (run.load(Path(folder)).posterior.spread for folder in ("whole", "parts"))
    assert all(values.shape[0] == 3 for values in one.values())
    assert one.keys() == other.keys() and all(torch.equal(values, other[name]) for name, values in one.items())


def test_the_posterior_of_a_run_is_kept(monkeypatch):
    assert call(monkeypatch, *QUICK, "posterior=laplace", "prior=gaussian") == 0
    loaded = run.load(the_folder())
    assert loaded.prior.weight == 1 / 40
    again = Laplace()(loaded.model, loaded.prior, loaded.data.train)
    assert loaded.posterior.spread.keys() == again.spread.keys() and len(again.spread) == 4
    for name, spread in again.spread.items():
        assert torch.allclose(loaded.posterior.spread[name], spread, rtol=1e-6)


def test_a_finished_run_is_not_done_again_unless_forced(monkeypatch, capsys):
    call(monkeypatch, *QUICK)
    before = (the_folder() / "checkpoints/last.ckpt").stat().st_mtime_ns
    capsys.readouterr()
    assert call(monkeypatch, *QUICK) == 0
    assert "finished already" in capsys.readouterr().out
    assert (the_folder() / "checkpoints/last.ckpt").stat().st_mtime_ns == before
    assert call(monkeypatch, *QUICK, "force=true") == 0
    assert (the_folder() / "checkpoints/last.ckpt").stat().st_mtime_ns > before


def test_an_interrupted_run_is_never_finished_and_goes_on_where_it_was(monkeypatch, tmp_path):
    whole = config.compose([*QUICK, "folder=whole"])
    run.run(whole)
    fit = rounds.fit

    def half(module, data, trainer, *rest):
        fit(module, data, lambda **more: trainer(**more | {"max_steps": 10}), *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "fit", half)
    assert call(monkeypatch, *QUICK) == 130
    assert not (the_folder() / "finished").exists() and not (the_folder() / "summary.json").exists()
    monkeypatch.setattr(rounds, "fit", fit)
    data = (the_folder() / "data/train.npz").stat().st_mtime_ns
    assert call(monkeypatch, *QUICK) == 0
    assert (the_folder() / "finished").exists() and (the_folder() / "data/train.npz").stat().st_mtime_ns == data
    one, other = (
        read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"] for folder in (Path("whole"), the_folder())
    )
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_seeds_and_overrides_have_folders_of_their_own():
    folders = {
        compose(["experiment=double_well/mixed", *more]).folder
        for more in ([], ["seed=1"], ["objective.alpha=0.3"], ["prior=ard", "seed=1"])
    }
    assert folders == {
        "outputs/double_well/mixed/default/seed-0",
        "outputs/double_well/mixed/default/seed-1",
        "outputs/double_well/mixed/objective.alpha-0.3/seed-0",
        "outputs/double_well/mixed/prior-ard/seed-1",
    }
    long = compose(["experiment=double_well/mixed", *[f"+optimizer.argument_{i}={'v' * 30}" for i in range(6)]])
    assert max(len(part) for part in Path(long.folder).parts) < 200


def test_the_same_seed_gives_the_same_weights():
    for folder in ("one", "two"):
        run.run(compose([*QUICK, f"folder={folder}"]))
    states = [read_checkpoint(Path(folder) / "checkpoints/last.ckpt")["state_dict"] for folder in ("one", "two")]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])


def refused(monkeypatch, capsys, *arguments):
    """The one line of a refusal, which must leave nothing behind."""
    before = sorted(Path().rglob("*"))
    assert call(monkeypatch, *arguments) == 2
    assert sorted(Path().rglob("*")) == before
    error = capsys.readouterr().err
    assert error.startswith("predcg: ") and error.count("\n") == 1
    return error


BAD = {
    "unknown experiment": (
        ["experiment=double_well/nonsense"],
        "expected one of .*ala2/forward_kl, .*found 'double_well/nonsense'; the nearest is double_well/",
    ),
    "no experiment": ([], "experiment: expected one of ala2/biased"),
    "unknown key": (["experiment=double_well/mixed", "objective.alpa=0.3"], "alpa"),
    "added key": (
        ["experiment=double_well/mixed", "+objective.alpa=0.3"],
        "objective: .*unexpected keyword argument 'alpa'",
    ),
    "alpha": (
        ["experiment=double_well/mixed", "objective.alpha=1.5"],
        "objective.alpha: expected a number >= 0 and <= 1; found 1.5",
    ),
    "missing pdb": (["experiment=ala2/forward_kl", "system.pdb=none.pdb"], "found nothing at 'none.pdb'"),
    "unknown atoms": (["experiment=ala2/forward_kl", "system.forcefield=[tip3p.xml]"], r"ACE 1 \(H1 CH3"),
    "temperature": (
        ["experiment=ala2/forward_kl", "system.temperature_kelvin=-3"],
        "system.temperature_kelvin: expected a number > 0; found -3",
    ),
    "target": (
        ["experiment=double_well/mixed", "system._target_=os.system"],
        "system._target_: expected a class of .* found 'os.system'",
    ),
    "target through a module": (
        ["experiment=double_well/mixed", "system._target_=torch.nn.modules.module.torch.load"],
        "system._target_: expected a class",
    ),
    "figure": (["experiment=double_well/mixed", "figures=[nonsense]"], "figures: expected one of .* found 'nonsense'"),
    "figure of another system": (
        ["experiment=double_well/mixed", "figures=[ramachandran]"],
        "ramachandran is drawn of a Molecule with a backbone; the system is a DoubleWell",
    ),
    "no file": (
        ["experiment=ala2/forward_kl", "acquisition=load", "acquisition.path=none.npz"],
        "acquisition.path: expected a file",
    ),
    "objective without data": (["experiment=double_well/forward_kl", "acquisition=none"], "there are none"),
    "tempering": (
        ["experiment=double_well/reverse_kl", "callbacks.tempering.start=2"],
        "callbacks.tempering.start: expected a number > 0 and <= 1; found 2",
    ),
    "trainer": (["experiment=double_well/mixed", "+trainer.max_stepz=3"], "trainer: .*max_stepz"),
    "optimizer": (["experiment=double_well/mixed", "+optimizer.lrr=3"], "optimizer: .*lrr"),
    "samples without gradients": (
        ["experiment=double_well/reverse_kl", "decoder=mixture"],
        "objective: needs reparametrised samples, .*decoder GaussianMixtureMLP",
    ),
    "encoder without a density": (
        ["experiment=double_well/reverse_kl", "objective=reverse_kl", "encoder=deterministic"],
        "objective: the loss of the untrained model is inf",
    ),
    "batch size": (
        ["experiment=double_well/mixed", "batch_size=0"],
        "batch_size: expected a whole number >= 1; found 0",
    ),
    "posterior without torch's layers": (
        ["experiment=double_well/forward_kl", "decoder=mixture", "posterior=conditional_laplace"],
        "posterior: expected a decoder whose weights are all in",
    ),
    "posterior without data": (
        ["experiment=double_well/reverse_kl", "posterior=laplace"],
        "posterior: given data, and there are none",
    ),
    "figure of a posterior": (
        ["experiment=ala2/forward_kl", "figures=[rg_bands]"],
        "rg_bands is drawn of a posterior; choose posterior=laplace",
    ),
    "prior without data": (
        ["experiment=double_well/reverse_kl", "prior=ard"],
        "prior.weight: null means 1/N of N training frames, and there are none",
    ),
    "smaller set": (
        ["experiment=schoberl2019/ala2", "acquisition.first=600"],
        "acquisition.first: expected between 1 and frames = 500; found 600",
    ),
    "checkpoint": (
        ["experiment=double_well/mixed", "checkpoint=first"],
        "checkpoint: expected last or best; found 'first'",
    ),
    "best without held-out frames": (
        ["experiment=double_well/reverse_kl", "checkpoint=best"],
        "best follows the bound of held-out frames, and there are none",
    ),
    "snapshots": (
        ["experiment=double_well/mixed", "snapshots=0"],
        "snapshots: expected a whole number >= 1 or null; found 0",
    ),
    "figure of snapshots": (
        ["experiment=double_well/mixed", "figures=[moments]"],
        "moments is drawn of snapshots; choose snapshots=<steps>",
    ),
    "unequal blocks": (
        ["experiment=schoberl2015/em", "z=5"],
        "z: expected a divisor of the 32 fine spins, so that all blocks are equally long; found 5",
    ),
    "reach": (
        ["experiment=schoberl2015/em", "system.reach=32"],
        "system.reach: expected between 1 and sites - 1 = 31; found 32",
    ),
    "empty grid of fields": (
        ["experiment=schoberl2015/em", "system.field="],
        "system.field: expected a number; found ''",
    ),
    "no frames": (
        ["experiment=schoberl2015/em", "acquisition.frames=0"],
        "acquisition.frames: expected a whole number >= 1; found 0",
    ),
    "agreement": (
        ["experiment=schoberl2015/em", "decoder.agreement=1.0"],
        "decoder.agreement: expected a number > 0 and < 1; found 1.0",
    ),
    "spins for molecules": (
        ["experiment=double_well/forward_kl", "objective=em"],
        "EM is for coarse spins: expected latent=spin_chain and decoder=spin_blocks",
    ),
    "posterior of spins": (
        ["experiment=double_well/forward_kl", "posterior=observed_data"],
        "posterior: expected latent=spin_chain and decoder=spin_blocks",
    ),
    "gibbs of a plane": (
        ["experiment=double_well/forward_kl", "acquisition=simulate", "sampler=gibbs"],
        "Gibbs sampling is for system=ising_chain; found DoubleWell",
    ),
    "processes": (
        ["experiment=double_well/mixed", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp"],
        "trainer.strategy: .*; choose trainer.strategy=ddp_spawn",
    ),
    "devices": (
        ["experiment=double_well/mixed", "trainer.devices=2", "trainer.accelerator=cpu"],
        "trainer.strategy: .* for 2 devices",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_one_line_and_nothing_written(name, monkeypatch, capsys):
    import re

    arguments, message = BAD[name]
    assert re.search(message, refused(monkeypatch, capsys, *arguments))


def test_bad_trajectories_end_with_one_line_and_nothing_written(monkeypatch, capsys, ala2):
    frames = ala2.start(8).numpy()
    np.save("bare.npy", frames)
    Batch.of(torch.from_numpy(frames[:, :60].copy())).save(Path("short.npz"))
    frames[3, 3] = np.inf
    Batch.of(torch.from_numpy(frames)).save(Path("infinite.npz"))
    load = ["experiment=ala2/forward_kl", "acquisition=load"]
    assert "has no unit of its own" in refused(monkeypatch, capsys, *load, "acquisition.path=bare.npy")
    assert "expected 22 atoms" in refused(monkeypatch, capsys, *load, "acquisition.path=short.npz")
    assert "frame 3 of" in refused(monkeypatch, capsys, *load, "acquisition.path=infinite.npz")


def test_a_folder_of_another_run_is_refused(monkeypatch, capsys):
    call(monkeypatch, *QUICK, "folder=mine")
    capsys.readouterr()
    assert "batch_size: 64 there, 32 now" in refused(monkeypatch, capsys, *QUICK, "folder=mine", "batch_size=32")
    Path("other").mkdir()
    Path("other/thesis.tex").touch()
    assert "has other content" in refused(monkeypatch, capsys, *QUICK, "folder=other", "force=true")


def test_a_corrupted_checkpoint_is_refused(monkeypatch, capsys):
    call(monkeypatch, *QUICK)
    (the_folder() / "finished").unlink()
    path = the_folder() / "checkpoints/last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    capsys.readouterr()
    assert "last.ckpt cannot be read" in refused(monkeypatch, capsys, *QUICK, "logger=wandb")


def test_a_sweep_makes_one_folder_per_job_and_skips_finished_ones(monkeypatch, capsys):
    sweep = ["-m", *QUICK, "prior=flat,gaussian", "seed=0,1"]
    assert call(monkeypatch, *sweep) == 0
    assert len(list(FOLDER.glob("*/seed-*/finished"))) == 4
    assert len(list(FOLDER.glob("*prior-gaussian*/seed-1"))) == 1
    capsys.readouterr()
    assert call(monkeypatch, *sweep) == 0
    assert capsys.readouterr().out.count("finished already") == 4


@pytest.mark.parametrize("where", ["here", "there"])  # Of one process, which has its own of wandb.
def test_wandb_writes_one_offline_run_with_figures_and_summary(where, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert call(monkeypatch, *[argument for argument in QUICK if argument != "logger=none"]) == 0
    assert "WANDB_MODE" not in os.environ  # Else a later run of this process would never be online.
    (offline,) = the_folder().glob("wandb/offline-run-*")
    assert list(offline.glob("run-*.wandb"))
    assert list(offline.glob("files/media/images/figures/training*.png"))


def test_draw_runs_what_is_missing_and_judges(monkeypatch, capsys, tmp_path):
    claims = tmp_path / "experiments/paper"
    claims.mkdir(parents=True)
    text = "runs:\n  - [{}]\nfigure: training\nexpect:\n  bound_training: {{at_least: {}, source: our choice}}\n"
    for name, bound in (("good", -1e6), ("bad", 1e6)):
        (claims / f"{name}.yaml").write_text(text.format(", ".join(f"'{argument}'" for argument in QUICK), bound))
    for module in (cli, draw):
        monkeypatch.setattr(module, "shipped", lambda name: tmp_path / name)
    assert call(monkeypatch, "paper/good", program=cli.draw) == 0
    assert {file.suffix for file in Path("outputs/figures/paper").glob("good.*")} == {".png", ".pdf", ".json"}
    assert call(monkeypatch, "paper/bad", program=cli.draw) == 1
    assert "NOT MET" in capsys.readouterr().out
    assert call(monkeypatch, "paper/none", program=cli.draw) == 2
    assert call(monkeypatch, program=cli.draw) == 2


def test_compose_refuses_what_the_command_line_refuses():
    with pytest.raises(InputError, match="experiment: expected one of"):
        compose(["experiment=nonsense"])


@pytest.mark.slow
def test_several_processes_train_one_model(tmp_path):
    """In a process of its own, since Lightning's children import the main module anew."""
    several = ["trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp_spawn", "folder=several"]
    done = subprocess.run(
        [sys.executable, "-m", "predcg.run", *QUICK, *several], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "several/finished").exists()
    assert read_checkpoint(tmp_path / "several/checkpoints/last.ckpt")["global_step"] == 20
    assert {row["step"] for row in read_history(tmp_path / "several/metrics.csv")} == {0, 10, 20}


@pytest.mark.slow
def test_several_processes_train_in_each_job_of_a_sweep_by_joblib(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason='pip install -e ".[sweep]"')
    several = ["trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp_spawn", "seed=0,1"]
    sweep = ["-m", *QUICK, *several, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = subprocess.run(
        [sys.executable, "-m", "predcg.run", *sweep], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob(f"{FOLDER}/*/seed-*/finished"))) == 2


def test_caches_have_another_place_where_the_home_cannot_be_written(tmp_path, monkeypatch):
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    for name in names:
        monkeypatch.setenv(name, "")  # What is set here is put back afterwards.
        monkeypatch.delenv(name)
    cli._house()
    assert os.access(Path.home(), os.W_OK) != any(name in os.environ for name in names)
    monkeypatch.setenv("HOME", "/proc/nobody")
    cli._house()
    assert all(os.access(os.environ[name], os.W_OK) for name in names)


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path):
    quick = [argument for argument in QUICK if argument != "logger=none"]
    command = [sys.executable, "-m", "predcg.run", *quick, "folder=homeless"]
    homeless = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "WANDB"))} | {
        "HOME": "/proc/nobody"
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=homeless)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "homeless/finished").exists() and list(tmp_path.glob("homeless/wandb/offline-run-*/run-*.wandb"))


def test_a_killed_run_goes_on_bit_by_bit(tmp_path):
    """SIGKILL at an arbitrary moment after the first checkpoint; what goes on is another process than began."""
    long = [argument for argument in QUICK if not argument.startswith("steps")] + ["steps=150"]
    command = [sys.executable, "-m", "predcg.run", *long, "folder=killed"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "killed/checkpoints/last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed/finished").exists()
    for folder in ("killed", "whole"):
        run.run(compose([*long, f"folder={folder}"]))
    states = [
        read_checkpoint(tmp_path / folder / "checkpoints/last.ckpt")["state_dict"] for folder in ("killed", "whole")
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert read_history(tmp_path / "killed/metrics.csv") == read_history(tmp_path / "whole/metrics.csv")


REVERSE = [*QUICK, "objective=reverse_kl"]


def test_numbers_that_are_not_finite_end_a_run_with_one_line_and_a_configuration(monkeypatch, capsys):
    assert call(monkeypatch, *REVERSE, "optimizer.lr=1e20") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    frame = the_folder() / "worst.npy"
    assert (
        error == "predcg: 256 of 256 draws have no finite energy or slope, more than the share dropped = 0.01"
        f" (one: {frame}); lower the learning rate or temper from a smaller beta"
    )
    assert not np.isfinite(np.load(frame)).all() and not (the_folder() / "finished").exists()


FAR = "+decoder.transform={_target_: predcg.transforms.Unit, length_nm: 1e30}"  # where u leaves float32


def test_an_untrained_model_without_finite_energies_is_refused(monkeypatch, capsys):
    assert "of the untrained model 256 of 256 draws have no finite energy" in refused(
        monkeypatch, capsys, "experiment=double_well/reverse_kl", "objective=reverse_kl", FAR
    )


def test_samples_that_are_dropped_are_counted_in_the_summary(monkeypatch):
    energy = DoubleWell.energy

    def broken(self, x):
        u = energy(self, x)
        return torch.cat([u[:1] * torch.nan, u[1:]]) if x.requires_grad else u

    monkeypatch.setattr(DoubleWell, "energy", broken)
    assert call(monkeypatch, *REVERSE) == 0
    assert json.loads((the_folder() / "summary.json").read_text())["dropped_samples"] == 20
    assert [row["train/dropped"] for row in read_history(the_folder() / "metrics.csv") if "train/dropped" in row] == [
        1.0
    ]


def test_a_run_tells_what_its_model_was(monkeypatch):
    assert call(monkeypatch, *QUICK, "snapshots=5", "folder=mine") == 0
    loaded = run.load(Path("mine"))
    assert list(loaded.snapshots) == [5, 10, 15, 20] and all(file.is_file() for file in loaded.snapshots.values())
    loaded.snapshots[5].rename("mine/snapshots/step=5.pt")  # as earlier versions called it
    early, last = loaded.snapshot(5), loaded.snapshot(20)
    assert (early.step, early.beta, last.beta) == (5, 1.0, 1.0) and early.evaluations <= last.evaluations
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(last.model.state_dict()[name], value)
    weight = "decoder.trunk.0.weight"
    assert not torch.equal(early.model.state_dict()[weight], loaded.model.state_dict()[weight])
    assert call(monkeypatch, *QUICK, "snapshots=10", "folder=mine", "force=true") == 0
    again = run.load(Path("mine"))
    assert list(again.snapshots) == [10, 20]
    with pytest.raises(InputError, match="step: expected one of 10, 20; found 5"):
        again.snapshot(5)


def test_folders_that_know_nothing_of_snapshots_are_loaded(monkeypatch):
    call(monkeypatch, *QUICK, "folder=old")
    file = Path("old/config.yaml")
    file.write_text(
        "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("snapshots"))
    )
    with pytest.raises(InputError, match=r"expected one of none \(train with snapshots=<steps>\); found 20"):
        run.load(Path("old")).snapshot(20)


def test_every_job_of_a_sweep_keeps_its_own_snapshots(monkeypatch):
    assert call(monkeypatch, "-m", *QUICK, "snapshots=10", "seed=0,1") == 0
    assert len(list(FOLDER.glob("*/seed-*/snapshots/step-10.pt"))) == 2


def test_another_figure_of_a_finished_run_is_drawn_without_training(monkeypatch):
    folder = run.run(compose(QUICK))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("predcg.rounds.fit", None)
    assert run.run(compose([*QUICK[:-1], "figures=[training,profile]"])) == folder
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = {path.relative_to(folder).as_posix() for path in after if before.get(path) != after[path]}
    assert {name.partition(".")[0] for name in changed} == {"summary", "figures/profile"}
    old, new = (json.loads(content[folder / "summary.json"]) for content in (before, after))
    assert old.items() < new.items()


def test_an_input_file_that_has_changed_makes_another_run(monkeypatch, capsys):
    frames = torch.randn(40, 2).numpy()
    np.save("frames.npy", frames)
    arguments = [
        *QUICK[:3],
        *QUICK[5:],
        "acquisition=load",
        "acquisition.path=frames.npy",
        "acquisition.unit=nanometer",
        "folder=here",
    ]
    assert call(monkeypatch, *arguments) == 0
    assert call(monkeypatch, *arguments) == 0
    np.save("frames.npy", frames + 1)
    capsys.readouterr()
    assert "the content of frames.npy has changed since" in refused(monkeypatch, capsys, *arguments)


@pytest.mark.parametrize(
    "override",
    [
        "+trainer.max_time=00:00:00:03",
        "trainer.max_steps=5",
        "trainer.max_epochs=1",
        "+trainer.fast_dev_run=true",
        "trainer.log_every_n_steps=0",
        "trainer.gradient_clip_val=-1",
        "trainer.devices=0",
        "optimizer.lr=-1",
        "+optimizer.betas=[2,2]",
        "+trainer.logger=false",
        "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, _partial_: true, max_lr: 1e-3, total_steps: 5}",
        "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, _partial_: true, T_max: 0}",
    ],
)
def test_what_a_training_cannot_use_or_would_end_early_is_refused_before_data(override, monkeypatch, capsys):
    monkeypatch.setattr("predcg.acquisitions.Exact.acquire", None)
    assert override.lstrip("+").partition(".")[0].partition("=")[0] in refused(monkeypatch, capsys, *QUICK, override)


def test_wandb_online_without_a_key_is_refused_before_data(monkeypatch, capsys):
    monkeypatch.setattr("predcg.acquisitions.Exact.acquire", None)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(Path("none").absolute()))
    assert "choose logger=none or logger.offline=true" in refused(
        monkeypatch, capsys, *QUICK[:4], "logger=wandb", "logger.offline=false"
    )


def test_frames_that_the_decoder_cannot_have_are_left_out_and_told(monkeypatch, capsys, ala2):
    """A cis peptide bond: the model's torsions are bounded to the trans of the first model, and one frame would make
    the bound minus infinity.
    """
    x = ala2.start(40).reshape(40, 22, 3).clone()
    x += 0.001 * torch.randn(x.shape)
    # C-N, about which all that follows turns by 180 degrees.
    axis = (x[7, 16] - x[7, 14]) / (x[7, 16] - x[7, 14]).norm()
    behind = x[7, 17:] - x[7, 16]
    x[7, 17:] = x[7, 16] + 2 * (behind @ axis).unsqueeze(-1) * axis - behind
    Batch.of(x.flatten(1)).save(Path("frames.npz"))
    small = [
        "acquisition=load",
        "acquisition.path=frames.npz",
        "steps=2",
        "epoch_steps=1",
        "logger=none",
        "figures=[training]",
        "folder=mine",
    ]
    assert call(monkeypatch, "experiment=ala2/forward_kl", *small) == 0
    out = capsys.readouterr().out
    assert "1 of " in out and "frames are left out: the decoder gives them no density" in out
    loaded = run.load(Path("mine"))
    assert len(loaded.data.train.x) + len(loaded.data.test.x) == 39
    assert all(np.isfinite(row[name]) for row in loaded.history for name in row)
    assert loaded.model.decoder.supports(x.flatten(1)).tolist() == [at != 7 for at in range(40)]
