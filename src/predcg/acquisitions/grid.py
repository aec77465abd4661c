"""Collective variables everywhere in a box, more of them where the free energy is low."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from predcg.acquisitions.acquisition import Acquisition, asked, fits
from predcg.batch import Data
from predcg.densities import FreeEnergy
from predcg.errors import InputError
from predcg.model import Model
from predcg.ranges import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from predcg.samplers import Sampler
from predcg.systems import System


class Grid(Acquisition):
    """Collective variables z in the box of latent=free_energy: a share of them uniform, the others in proportion to
    exp(-power min(F(z), ceiling)), F above its lowest; in the first round all of them uniform.

    Uniform ones are scrambled Sobol points (Owen 1998), of the others so many are in each cell of the box as it has
    mass, give or take one.

    Args:
        queries: z of a round.
        uniform: share of them.
        power: of e^-F; 0 is uniform, 1 the density itself.
        ceiling: kT.
        test_fraction: of z that are held out.

    Raises:
        InputError: another latent density.
    """

    of_target = False

    def __init__(
        self,
        queries: PositiveInt = 8192,
        uniform: UnitInterval = 0.3,
        power: NonNegativeFloat = 0.4,
        ceiling: PositiveFloat = 20.0,
        test_fraction: UnitInterval = 0.0,
    ):
        self.queries, self.uniform, self.power, self.ceiling = queries, uniform, power, ceiling
        self.test_fraction = test_fraction

    @torch.no_grad()
    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        fits(system, queries=self.queries)
        latent = model.latent
        if not isinstance(latent, FreeEnergy):
            raise InputError(
                "acquisition: grid expects a latent density in a box; found"
                f" {type(latent).__name__}; choose latent=free_energy"
            )
        everywhere = round(self.uniform * self.queries) if past else self.queries
        z = torch.cat([self._uniform(latent, everywhere), self._tempered(latent, self.queries - everywhere)])
        return asked(model, z, self.test_fraction)

    @staticmethod
    def _uniform(latent: FreeEnergy, n: int) -> Tensor:
        engine = SobolEngine(latent.box.size, scramble=True, seed=int(torch.randint(2**31, ())))
        z = latent.box.low + latent.box.sides * engine.draw(max(n, 1), dtype=torch.float64)[:n]
        return latent.box.folded(z.to(torch.get_default_dtype()))

    def _tempered(self, latent: FreeEnergy, n: int) -> Tensor:
        cells, sides = latent.cells()
        f = latent.potential(cells)
        upto = (-self.power * (f - f.min()).clamp_max(self.ceiling)).softmax(0).cumsum(0)
        places = (torch.arange(n, dtype=upto.dtype) + torch.rand(n, dtype=upto.dtype)) / max(n, 1) * upto[-1]
        drawn = cells[torch.searchsorted(upto, places).clamp_max(len(cells) - 1)]
        z = drawn + (torch.rand_like(drawn) - 0.5) * sides
        return latent.box.folded(z.to(torch.get_default_dtype()))
