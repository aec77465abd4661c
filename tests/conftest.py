"""What several test files share."""

import math
from functools import partial

import pytest
import torch

from predcg.densities import DeterministicMLP, Flow, FreeScale, GaussianMixtureMLP, GaussianMLP, NetScale, StandardNormal, TrunkScale
from predcg.model import Model
from predcg.systems import DoubleWell, GaussianMixture, Harmonic, IsingChain, Molecule, MuellerBrown

NET = {"hidden": [8, 8], "activations": ["Tanh", "SELU"]}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ala2():
    boxes = {"α": {"phi": [-60, 10], "psi": [-50, 10]}, "β-1": {"phi": [-140, 40], "psi": [155, 50]}, "β-2": {"phi": [-60, 40], "psi": [150, 60]}}
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


@pytest.fixture(params=["free", "trunk", "net", "mixture", "deterministic", "flow"])
def conditional(request):
    """A maker of every kind of density that a network parametrises, of (context, size, ...)."""
    gaussian = partial(GaussianMLP, **NET)
    return {
        "free": partial(gaussian, scale=FreeScale),
        "trunk": partial(gaussian, scale=TrunkScale),
        "net": partial(gaussian, scale=partial(NetScale, **NET)),
        "mixture": partial(GaussianMixtureMLP, components=3, hidden=[8]),
        "deterministic": partial(DeterministicMLP, **NET),
        "flow": partial(Flow, folds=[], bins=4, rounds=0, couplings=2, hidden=[8]),
    }[request.param]


class Linear:
    """The linear-Gaussian model x = a z + σ ε, z ~ N(0, 1), as networks without hidden non-linearity: all is known exactly.

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
        slopes = {model.decoder: (self.a, self.sigma**2), model.encoder: (self.a / self.variance, self.sigma**2 / self.variance)}
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
