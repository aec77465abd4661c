"""Coarse dynamics: the potential of a latent density as a system, which every sampler runs."""

import torch
from torch import Tensor

from predcg.densities import Density, EnergyBased
from predcg.errors import InputError
from predcg.systems import System


class Coarse(System):
    """u(z) = F(z), the potential of an energy-based latent density, in kT; masses are 1.

    Args:
        latent: the density, of d coordinates.

    Raises:
        InputError: a latent density without a potential.

    >>> from predcg.densities import FreeEnergySplines
    >>> from predcg.samplers import Langevin
    >>> system = Coarse(FreeEnergySplines(1, [0.0], [1.0], [8]))
    >>> Langevin(timestep=0.02, friction=1.0, stride=5, burn_in=0).run(system, system.start(4), 10).x.shape
    torch.Size([40, 1])
    """

    def __init__(self, latent: Density):
        if not isinstance(latent, EnergyBased):
            raise InputError(
                "latent: expected a density with a potential, for coarse dynamics; found"
                f" {type(latent).__name__}; choose latent=free_energy"
            )
        super().__init__(latent().event_shape[0])
        self.latent = latent

    def energy(self, x: Tensor) -> Tensor:
        return self.latent.potential(x)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        return self.latent().sample((n,))
