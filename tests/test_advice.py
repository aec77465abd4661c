"""Advice is tried: where a refusal names a cure on the command line, the cure works."""

import ast
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import predcg
from predcg.catalogue import groups, shipped
from predcg.config import compose
from predcg.errors import InputError
from predcg.parts import build
from predcg.run import run

SMALL = ["steps=1", "epoch_steps=1", "logger=none", "figures=[]"]
PLANE = [
    "experiment=double_well/forward_kl",
    *SMALL,
    "~callbacks.bounds",
    "acquisition.frames=20",
    "acquisition.test_frames=20",
]
NODATA = ["experiment=double_well/reverse_kl", *SMALL, "~callbacks.bounds"]
SPINS = ["experiment=schoberl2015/em", *SMALL, "acquisition.frames=250", "acquisition.test_frames=125"]
ALA2 = ["experiment=ala2/forward_kl", "logger=none"]
SIMULATE = [
    "acquisition=simulate",
    "acquisition.frames=250",
    "acquisition.test_frames=125",
    "sampler.burn_in=0",
    "sampler.stride=1",
]
DEVICES = ["trainer.devices=2", "trainer.accelerator=cpu"]

# What is refused, the advice in its words, and what the advice makes of the command; molecules are only built.
CURES = {
    "devices": ([*PLANE, *DEVICES], "trainer.devices=1", [*PLANE, "trainer.devices=1", "trainer.accelerator=cpu"]),
    "figure of a plane": (
        [*PLANE, "system=harmonic", "figures=[bounds]"],
        "bounds .* leave it out: figures=",
        [*PLANE, "system=harmonic", "figures=[]"],
    ),
    "figure of snapshots": (
        [*PLANE, "figures=[moments]"],
        "choose snapshots=<steps>",
        [*PLANE, "figures=[moments]", "snapshots=1"],
    ),
    "figure of a posterior": (
        [*ALA2, "figures=[rg_bands]"],
        "choose posterior=laplace",
        [*ALA2, "figures=[rg_bands]", "posterior=laplace"],
    ),
    "x": ([*PLANE, "x=3"], "leave it out", PLANE),
    "decoder of a molecule": ([*PLANE, "decoder=molecule"], "choose decoder=gaussian", [*PLANE, "decoder=gaussian"]),
    "decoder of a molecule, for its torsions": (
        [*PLANE, "decoder=internal_flow"],
        "choose decoder=gaussian",
        [*PLANE, "decoder=gaussian"],
    ),
    "encoder of a molecule": ([*PLANE, "encoder=internal"], "choose encoder=gaussian", [*PLANE, "encoder=gaussian"]),
    "latent of spins": ([*PLANE, "latent=spin_chain"], "choose another latent", [*PLANE, "latent=normal"]),
    "no exact draws": (
        [*ALA2, "acquisition=exact", "steps=0", "figures=[]"],
        "use acquisition=simulate",
        [*ALA2, "acquisition=simulate"],
    ),
    "no data": (
        [*PLANE[:-2], "acquisition=none"],
        "choose acquisition=simulate, load or exact",
        [*PLANE[:-2], *SIMULATE],
    ),
    "no data, exact": (
        [*PLANE[:-2], "acquisition=none"],
        "choose acquisition=simulate, load or exact",
        [*PLANE, "acquisition=exact"],
    ),
    "too many states": (
        [*SPINS, "system.reach=31"],
        "use acquisition=simulate sampler=gibbs",
        [*SPINS, "system.reach=31", "acquisition=simulate", "sampler=gibbs", "sampler.burn_in=1", "sampler.stride=1"],
    ),
    "no coupling": (
        [*SPINS, "latent.reach=0"],
        "choose latent.linear=true",
        [*SPINS, "latent.reach=0", "latent.linear=true"],
    ),
    "relative entropy": (
        [*SPINS, "objective=relative_entropy"],
        "decoder=majority_blocks",
        [*SPINS, "objective=relative_entropy", "decoder=majority_blocks"],
    ),
    "spins for a plane": ([*PLANE, "objective=em"], "expected latent=spin_chain and decoder=spin_blocks", SPINS),
    "gibbs of a plane": (
        [*PLANE, *SIMULATE, "sampler=gibbs"],
        "choose sampler=langevin or hmc",
        [*PLANE, *SIMULATE, "sampler=langevin"],
    ),
    "gibbs of a plane, hmc": (
        [*PLANE, *SIMULATE, "sampler=gibbs"],
        "choose sampler=langevin or hmc",
        [*PLANE, *SIMULATE, "sampler=hmc"],
    ),
    "openmm of a plane": (
        [*PLANE, *SIMULATE, "sampler=openmm"],
        "use sampler=langevin",
        [*PLANE, *SIMULATE, "sampler=langevin"],
    ),
    "no slopes": ([*NODATA, "decoder=mixture"], "choose a Gaussian or a flow as decoder", [*NODATA, "decoder=flow"]),
    "no density": (
        [*NODATA, "objective=reverse_kl", "encoder=deterministic"],
        "not a deterministic one",
        [*NODATA, "objective=reverse_kl", "encoder=gaussian"],
    ),
    "no density to replay": (
        [*NODATA, "encoder=deterministic"],
        "not a deterministic one|an encoder with a density",
        [*NODATA, "encoder=gaussian"],
    ),
    "posterior without data": (
        [*NODATA, "posterior=laplace"],
        "choose posterior=none, or acquisition=simulate",
        [*NODATA, "posterior=none"],
    ),
    "posterior without data, simulated": (
        [*NODATA, "posterior=laplace"],
        "or acquisition=simulate",
        [*NODATA, "posterior=laplace", "decoder=gaussian", *SIMULATE],
    ),
    "posterior of a flow": (
        [*PLANE, "decoder=flow", "posterior=conditional_gauss_newton"],
        "choose posterior=none",
        [*PLANE, "decoder=flow", "posterior=none"],
    ),
    "posterior of a mixture": (
        [*PLANE, "decoder=mixture", "posterior=conditional_laplace"],
        "choose posterior=none",
        [*PLANE, "decoder=mixture", "posterior=none"],
    ),
    "prior without data": ([*NODATA, "prior=ard"], "give a number", [*NODATA, "prior=ard", "prior.weight=0.01"]),
    "solvent": ([*ALA2, "+system.implicit_solvent=OBC1"], "leave it out", ALA2),
    "quotes": ([*PLANE, "folder=a=b"], """as in 'folder="a=b"'""", [*PLANE, 'folder="a=b"']),
    "frames": (
        [*PLANE, *SIMULATE, "acquisition.frames=20"],
        "expected a multiple of replicas x blocks = 125",
        [*PLANE, *SIMULATE, "acquisition.frames=125"],
    ),
}


def works(overrides, build_only=False):
    cfg = compose([*overrides])
    return build(cfg) if build_only else run(cfg)


@pytest.mark.parametrize("name", CURES)
def test_the_cure_of_a_refusal_works(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong, advice, right = CURES[name]
    with pytest.raises(InputError, match=advice):
        works(wrong)
    assert works(right, build_only=right[0] == ALA2[0])


def test_a_folder_of_another_run_is_replaced_or_left_as_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = works([*PLANE, "folder=mine"])
    with pytest.raises(InputError, match="choose another folder=..., or replace it with force=true"):
        works([*PLANE, "folder=mine", "batch_size=3"])
    assert works([*PLANE, "folder=other", "batch_size=3"]) != folder
    assert OmegaConf.load(works([*PLANE, "folder=mine", "batch_size=3", "force=true"]) / "config.yaml").batch_size == 3


def texts():
    """Every text of the code that tells the user what to choose, with `{}` where a value is filled in."""
    for file in sorted(Path(predcg.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
                and ast.unparse(node.exc.func).endswith("Error")
            ):
                for part in ast.walk(node.exc):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield file.name, part.value


def test_what_a_refusal_tells_to_choose_exists():
    """Each `group=option` of it, and the key of each `key=value`."""
    keys = {"trainer", "sampler", "system", "acquisition", *OmegaConf.load(shipped("conf") / "config.yaml")} | set(
        groups()
    )
    said = [
        (file, *found)
        for file, text in texts()
        for found in re.findall(r"(?<![\w.'\"])([a-z_]+(?:\.\w+)*)=(\w+)?", text)
    ]
    assert len(said) > 20
    for file, key, value in said:
        assert key.split(".")[0] in keys, f"{file}: {key}={value}"
        assert key not in groups() or value in groups()[key] or not value, f"{file}: {key}={value}"
