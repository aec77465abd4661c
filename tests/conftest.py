"""What several test files share."""

import copy
import logging
import math
import sys
from functools import partial
from types import SimpleNamespace

import mdtraj
import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from predcg import cli
from predcg.batch import Batch, Data
from predcg.densities import (
    DeterministicMLP,
    Flow,
    FreeScale,
    GaussianMixtureMLP,
    GaussianMLP,
    NetScale,
    SinhArcsinh,
    StandardNormal,
    TrunkScale,
)
from predcg.model import Model
from predcg.observables.observable import atoms
from predcg.results import Run
from predcg.systems import DoubleWell, GaussianMixture, Harmonic, IsingChain, Molecule, MuellerBrown
from predcg.systems.forcefield import TERMS, Batched

NET = {"hidden": [8, 8], "activations": ["Tanh", "SELU"]}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def log_as_before():
    """What a command that a test calls has set up for its own log is no later test's: its stream is closed by then."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def ala2():
    boxes = {
        "α": {"phi": [-60, 10], "psi": [-50, 10]},
        "β-1": {"phi": [-140, 40], "psi": [155, 50]},
        "β-2": {"phi": [-60, 40], "psi": [150, 60]},
    }
    return Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0, boxes)


SOLVABLE = {
    "double_well": DoubleWell,
    "mueller_brown": MuellerBrown,
    "harmonic": lambda: Harmonic([0.5, 1.0, 2.0]),
    "gaussian_mixture": lambda: GaussianMixture([[-2.0, 0.0], [1.0, 1.0]], [0.5, 0.8], [0.7, 0.3]),
}


def ising() -> IsingChain:
    return IsingChain(sites=6, coupling=1.5, reach=2, decay=1.0, field=0.3, beta=0.5)


@pytest.fixture(params=[*SOLVABLE, "ising_chain", "ala2"])
def system(request, ala2):
    return ala2 if request.param == "ala2" else (SOLVABLE | {"ising_chain": ising})[request.param]()


@pytest.fixture(params=SOLVABLE)
def solvable(request):
    """Every system of real coordinates that knows its exact answers; of spins see test_ising.py."""
    return SOLVABLE[request.param]()


@pytest.fixture(params=["free", "trunk", "net", "mixture", "deterministic", "flow", "sinh_arcsinh"])
def conditional(request):
    """A maker of every kind of density that a network parametrises, of (context, size, ...)."""
    gaussian = partial(GaussianMLP, **NET)
    return {
        "free": partial(gaussian, scale=FreeScale),
        "trunk": partial(gaussian, scale=TrunkScale),
        "net": partial(gaussian, scale=partial(NetScale, **NET)),
        "mixture": partial(GaussianMixtureMLP, components=3, hidden=[8]),
        "deterministic": partial(DeterministicMLP, **NET),
        "sinh_arcsinh": partial(SinhArcsinh, **NET),
        "flow": partial(Flow, folds=[], bins=4, rounds=0, couplings=2, hidden=[8]),
    }[request.param]


class Linear:
    """The linear-Gaussian model x = a z + σ ε, z ~ N(0, 1), as networks without hidden non-linearity: all is known
    exactly.

    log p(x) = log N(x; 0, a² + σ²); the posterior is N(a x / (a² + σ²), σ² / (a² + σ²)).
    """

    a, sigma = 1.5, 0.7

    @property
    def variance(self) -> float:
        return self.a**2 + self.sigma**2

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        return (-0.5 * x**2 / self.variance - 0.5 * math.log(2 * math.pi * self.variance)).sum(-1)

    def model(self) -> Model:
        identity = {"hidden": [1], "activations": ["Identity"], "scale": FreeScale}
        model = Model(StandardNormal(1), GaussianMLP(1, 1, **identity), GaussianMLP(1, 1, **identity))
        slopes = {
            model.decoder: (self.a, self.sigma**2),
            model.encoder: (self.a / self.variance, self.sigma**2 / self.variance),
        }
        with torch.no_grad():
            for density, (slope, variance) in slopes.items():
                for layer, value in ((density.trunk[0], 1.0), (density.mean, slope)):
                    layer.weight.fill_(value)
                    layer.bias.zero_()
                density.scale.log_variance.fill_(math.log(variance))
        return model


@pytest.fixture
def linear():
    return Linear()


# The term of TERMS that each force belongs to.
GROUPS = {
    "HarmonicBondForce": 0,
    "HarmonicAngleForce": 1,
    "PeriodicTorsionForce": 2,
    "CMAPTorsionForce": 2,
    "NonbondedForce": 3,
    "CustomGBForce": 4,
    "GBSAOBCForce": 4,
}


def reference(system: openmm.System, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """OpenMM's energies by kind in kJ/mol, (n, 5), and forces in kJ/mol/nm, (n, D), of x in nm, (n, D)."""
    system = copy.deepcopy(system)
    for force in system.getForces():
        force.setForceGroup(GROUPS.get(force.getName(), 31))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    energies, forces = np.zeros((len(x), len(TERMS))), np.zeros(x.shape)
    for i, frame in enumerate(x):
        context.setPositions(frame.reshape(-1, 3))
        for group in range(len(TERMS)):
            energies[i, group] = (
                context.getState(energy=True, groups={group})
                .getPotentialEnergy()
                .value_in_unit(unit.kilojoule_per_mole)
            )
        found = context.getState(forces=True).getForces(asNumpy=True)
        forces[i] = found.value_in_unit(unit.kilojoule_per_mole / unit.nanometer).reshape(-1)
    return energies, forces


def batched(system: openmm.System, x: np.ndarray, dtype: torch.dtype = torch.double) -> tuple[np.ndarray, np.ndarray]:
    engine, x = Batched(system), torch.tensor(x, dtype=dtype)
    terms = engine.terms(x)
    energies, gradients = engine.evaluate(x)
    assert tuple(terms) == TERMS and torch.allclose(sum(terms.values()), energies, rtol=1e-5)
    return torch.stack([terms[name] for name in TERMS], 1).double().numpy(), -gradients.double().numpy()


def check(system: openmm.System, x: np.ndarray) -> None:
    """Equal to 1e-8 kJ/mol and kJ/mol/nm, and to 1e-11 where atoms that touch make numbers of 1e16."""
    (energies, forces), (found, pulls) = reference(system, x), batched(system, x)
    np.testing.assert_allclose(found, energies, rtol=1e-11, atol=1e-8)
    assert (abs(pulls - forces) <= 1e-8 + 1e-11 * abs(forces).max(1, keepdims=True)).all()


def approach(frame: np.ndarray, one: int, other: int, distance: float) -> np.ndarray:
    """The frame, (D,), with one atom moved to so far from the other."""
    moved = frame.reshape(-1, 3).copy()
    moved[other] = moved[one] + distance * np.array([2.0, -1.0, 2.0]) / 3
    return moved.reshape(-1)


def call(monkeypatch, *arguments: str, program=cli.main) -> int:
    """The exit code of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["predcg", *arguments])
    try:
        program()
    except SystemExit as end:
        return end.code
    return 0


# Of alanine dipeptide: φ turns all from the alanine's HA on about N-CA, ψ its O and the methylamide about CA-C.
N, CA, C = 6, 8, 14
BEYOND = {"phi": [9, 10, 11, 12, 13, *range(14, 22)], "psi": [*range(15, 22)]}


def turn(r: torch.Tensor, start: int, end: int, moved: list[int], radians: torch.Tensor) -> torch.Tensor:
    """Rodrigues' rotation of some atoms about the axis from one atom to another, (n, atoms, 3) by (n,)."""
    origin = r[:, start : start + 1]
    axis = torch.nn.functional.normalize(r[:, end : end + 1] - origin, dim=-1)
    v, cos, sin = r[:, moved] - origin, radians.cos()[:, None, None], radians.sin()[:, None, None]
    turned = (
        v * cos + torch.linalg.cross(axis.expand_as(v), v) * sin + axis * (axis * v).sum(-1, keepdim=True) * (1 - cos)
    )
    return r.index_copy(1, torch.tensor(moved), turned + origin)


@pytest.fixture
def hinge(ala2):
    """z to alanine dipeptide with φ = -60° - 20° z2 and ψ = 150° + 50° z1, all else as in its PDB file."""
    start = mdtraj.Trajectory(ala2.start(1).view(1, -1, 3).numpy(), ala2.topology)
    phi, psi = (torch.tensor(compute(start)[1].item()) for compute in (mdtraj.compute_phi, mdtraj.compute_psi))

    def decode(z: torch.Tensor) -> torch.Tensor:
        flat = z.reshape(-1, z.shape[-1])
        r = atoms(ala2.start(1)).expand(len(flat), -1, -1)
        r = turn(r, N, CA, BEYOND["phi"], torch.deg2rad(-60 - 20 * flat[:, 1]) - phi)
        r = turn(r, CA, C, BEYOND["psi"], torch.deg2rad(150 + 50 * flat[:, 0]) - psi)
        return r.reshape(*z.shape[:-1], -1)

    return decode


def run_of(system, x=None, **parts) -> Run:
    """A run of which figures may ask the model's `parts` and the frames x, training and held out alike."""
    batch = Batch.of(system.start(3) if x is None else x)
    model = SimpleNamespace(latent=StandardNormal(2), **parts)
    return Run(
        **dict.fromkeys(Run._fields)
        | {
            "name": "some/experiment",
            "system": system,
            "model": model,
            "data": Data(batch, batch),
        }
    )
