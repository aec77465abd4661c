"""Coarse dynamics reproduce the free energy that they are made of, whatever the sampler."""

import math

import pytest
import torch

from predcg.coarse import Coarse
from predcg.densities import FreeEnergyNetworks, FreeEnergySplines, SpinChain, StandardNormal
from predcg.errors import InputError
from predcg.samplers import HMC, Langevin, Metropolis, ReplicaExchange

SAMPLERS = {
    "langevin": Langevin(0.1, 1.0, 10, 600),
    "hmc": HMC(0.2, 5, 4, 120),
    "metropolis": Metropolis(0.5, 20, 600),
    "replica_exchange": ReplicaExchange(0.1, 1.0, 10, 300, ladder=[1.0, 2.0], exchange=10),
}


def known(z: torch.Tensor) -> torch.Tensor:
    """A double well in the first coordinate, with a barrier of 3 kT, and a wave in the second where there is one."""
    f = 3 * (z[..., 0] ** 2 - 1) ** 2 + z[..., 0]
    return f + (2 * z[..., 1]).cos() if z.shape[-1] > 1 else f


def latent_of(size: int) -> FreeEnergySplines:
    """An ensemble that is known(z) to 0.005 kT, by least squares on the coefficients."""
    box = [([-2.0], [2.0]), ([-2.0, -math.pi], [2.0, math.pi])][size - 1]
    latent = FreeEnergySplines(size, *box, intervals=[24, 12][:size], periodic=[False, True][:size], members=2)
    z, _ = latent.cells()
    index, value = latent.splines(z)
    design = torch.zeros(len(z), latent.splines.size, dtype=torch.float64).scatter_add_(1, index, value)
    theta = torch.linalg.lstsq(design, known(z)).solution
    latent.theta.copy_(torch.stack([theta + 1.0, theta - 1.0]))
    assert (latent.potential(z) - known(z)).abs().max() < 5e-3
    return latent


@pytest.mark.parametrize("name", SAMPLERS)
def test_coarse_dynamics_reproduce_a_known_free_energy(name):
    """From one point in the higher well: -log of the histogram against F, RMS over bins below 4 kT."""
    system = Coarse(latent_of(1))
    batch = SAMPLERS[name].run(system, torch.full((2000, 1), 0.9), 20)
    z = batch.x[batch.beta == 1, 0]
    edges = torch.linspace(-1.8, 1.8, 31)
    centres = (edges[1:] + edges[:-1]) / 2
    apart = -z.histogram(edges).hist.log() - known(centres.unsqueeze(-1))
    low = known(centres.unsqueeze(-1)) - known(centres.unsqueeze(-1)).min() < 4
    assert 12 < low.sum() < 30
    apart = apart[low] - apart[low].mean()
    assert apart.square().mean().sqrt() < 0.07


def test_coarse_dynamics_go_round_a_circle():
    """Exact means under the product of the two densities, from one point."""
    batch = Langevin(0.1, 1.0, 20, 400).run(Coarse(latent_of(2)), torch.tensor([[-1.0, 0.0]]).repeat(900, 1), 20)
    grid = torch.linspace(-math.pi, math.pi, 2001)[:-1]
    p = (-(2 * grid).cos()).softmax(0)
    waves = torch.stack([(2 * batch.x[:, 1]).cos(), batch.x[:, 1].cos(), batch.x[:, 1].sin()], -1)
    exact = torch.tensor([(p @ (2 * grid).cos()).item(), 0.0, 0.0])
    blocks = waves.view(900, 20, 3).mean(1)
    assert ((blocks.mean(0) - exact).abs() < 5 * blocks.std(0) / 30).all() and blocks.std(0).max() < 1


def test_a_coarse_system_is_named_by_its_free_energy():
    latent = latent_of(1)
    before = Coarse(latent).fingerprint()
    latent(), Coarse(latent)(torch.zeros(3, 1))
    assert Coarse(latent).fingerprint() == before
    latent.theta[0, 3] += 1e-6
    assert Coarse(latent).fingerprint() != before
    networks = FreeEnergyNetworks(1, [0.0], [1.0], hidden=[4])
    before = Coarse(networks).fingerprint()
    with torch.no_grad():
        networks.biases[1][2] += 1e-3
    assert Coarse(networks).fingerprint() != before


def test_a_chain_of_spins_is_a_coarse_system_of_its_own():
    chain = SpinChain(size=4, reach=1, linear=False, triple=False, field=0.2, beta=0.5)
    x = chain().sample((50,))
    u, log_p = Coarse(chain)(x), chain().log_prob(x)
    assert torch.allclose(u - u[0], log_p[0] - log_p, atol=1e-5)


def test_a_density_without_a_potential_is_refused():
    with pytest.raises(
        InputError, match=r"^latent: expected a density with a potential, .*; found StandardNormal; cho"
    ):
        Coarse(StandardNormal(1))
