"""Collective variables to ask about next: where exploration meets doubt."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from predcg.acquisitions.acquisition import Acquisition, asked, fits
from predcg.batch import Data
from predcg.densities import FreeEnergy
from predcg.densities.free_energy import check_reachable
from predcg.errors import InputError
from predcg.model import Model
from predcg.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, UnitInterval
from predcg.samplers import Sampler
from predcg.systems import System


class Active(Acquisition):
    """Collective variables z around new centres, where Metropolis chains on the mean F of latent=free_energy stop,
    since its ensemble doubts; F itself, the truth, is never read.

    Chains begin at z of the last round and move by N(0, step²) along each variable, at `temperature` (of the target it
    is 1) below the `ceiling`. One stops for good after `least` steps or later, where the doubt is above `threshold`. Of
    the places of stopped chains that is taken which is farthest from all z so far, then again, until there are
    `centres` of them; all but the first are more than `apart` from what was there before. Around each, z is uniform
    within the `radius`. Where no chain stops, z is drawn in proportion to the doubt times e^-F to a `power`, wherever F
    is below the ceiling. In the first round the one centre is `start`. (Schopmans and Friederich 2024: temperature 1,
    one centre of Müller-Brown, no ceiling; the rest is our choice.)

    Args:
        start: a centre in a basin that is known, (d,).
        start_radius: of what is asked for around it.
        queries: z for each centre.
        centres: most of them in a round.
        radius: of what is asked for around each.
        apart: distance of new centres from each other and from all z so far; default the radius.
        chains: of Metropolis.
        step: standard deviation of a proposal.
        temperature: of the chains, in units of the target's.
        ceiling: kT above the lowest F of all z so far.
        threshold: kT of doubt.
        least, most: steps of a chain.
        spread: z where no chain has stopped.
        power: of e^-F among these; 0.5 lowers the predicted divergence most, 0 the doubt everywhere alike.
        test_fraction: of z that are held out.

    Raises:
        InputError: another latent density, a start that is not a point of its box, a threshold below the doubt that the
            evaluations of all rounds leave at best, or nothing below the ceiling.
    """

    of_target = False

    def __init__(
        self,
        start: list[float],
        start_radius: PositiveFloat = 0.25,
        queries: PositiveInt = 256,
        centres: PositiveInt = 2,
        radius: PositiveFloat = 0.5,
        chains: PositiveInt = 50,
        step: PositiveFloat = 0.1,
        temperature: PositiveFloat = 3.0,
        ceiling: PositiveFloat = 15.0,
        threshold: PositiveFloat = 0.4,
        least: NonNegativeInt = 10,
        most: PositiveInt = 3000,
        spread: PositiveInt = 1024,
        power: NonNegativeFloat = 0.0,
        test_fraction: UnitInterval = 0.0,
        apart: PositiveFloat | None = None,
    ):
        self.apart = radius if apart is None else apart
        self.start, self.start_radius = start, start_radius
        self.queries, self.centres, self.radius = queries, centres, radius
        self.chains, self.step, self.temperature, self.ceiling = chains, step, temperature, ceiling
        self.threshold, self.least, self.most = threshold, least, most
        self.spread, self.power, self.test_fraction = spread, power, test_fraction

    def check(self, model: Model, evaluations: int) -> None:
        check_reachable("acquisition.threshold", self.threshold, evaluations)

    @torch.no_grad()
    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        fits(system, queries=self.centres * self.queries, spread=self.spread, chains=self.chains)
        latent = model.latent
        if not isinstance(latent, FreeEnergy):
            raise InputError(
                "acquisition: active expects a latent density that knows its doubt; found"
                f" {type(latent).__name__}; choose latent=free_energy"
            )
        if past:
            z = self._explored(latent, torch.cat([torch.cat([data.train.z, data.test.z]) for data in past]), past[-1])
        else:
            start = torch.tensor(self.start)
            if start.shape != (latent.box.size,) or not latent.box.holds(start):
                raise InputError(
                    f"acquisition.start: expected z = {latent.box.size} numbers in the box of the latent density; found"
                    f" {list(self.start)}"
                )
            z = self._around(latent, start.unsqueeze(0), self.start_radius)
        return asked(model, z, self.test_fraction)

    def _explored(self, latent: FreeEnergy, asked: Tensor, last: Data) -> Tensor:
        """The z of a round after others have `asked` for z."""
        base = latent.potential(asked).min()
        z = last.train.z[torch.randint(len(last.train), (self.chains,))]
        f, stopped = latent.potential(z) - base, torch.zeros(self.chains, dtype=torch.bool)
        for number in range(self.most):
            proposed = z + self.step * torch.randn_like(z)
            there = latent.potential(proposed) - base
            better = torch.rand(self.chains) < ((f - there) / self.temperature).exp()
            moved = better & latent.box.holds(proposed) & (there < self.ceiling) & ~stopped
            z, f = torch.where(moved.unsqueeze(-1), latent.box.folded(proposed), z), torch.where(moved, there, f)
            if number >= self.least:
                stopped |= (latent.doubt(z) > self.threshold) & (f < self.ceiling)
            if stopped.sum() >= self.chains / 2:
                break
        if stopped.any():
            return self._around(latent, self._farthest(latent, z[stopped], asked), self.radius)
        cells, sides = latent.cells()
        inside = cells[latent.potential(cells) - base < self.ceiling]
        if not len(inside):
            raise InputError(
                "acquisition.ceiling: expected kT above the lowest F of all z that were asked for; found"
                f" {self.ceiling}, below which nothing is left to ask for; choose a higher one"
            )
        share = latent.doubt(inside).clamp_min(1e-9) * (-self.power * (latent.potential(inside) - base)).exp()
        drawn = inside[share.multinomial(self.spread, replacement=True)]
        return latent.box.folded(drawn + (torch.rand_like(drawn) - 0.5) * sides).to(asked)

    def _farthest(self, latent: FreeEnergy, candidates: Tensor, asked: Tensor) -> Tensor:
        """At most so many of the candidates, (n, d), far from what was asked for, (m, d), and from each other."""
        apart = latent.box.distance(candidates, asked).min(1).values
        chosen = []
        while len(chosen) < self.centres and (not chosen or apart.max() > self.apart):
            chosen.append(candidates[apart.argmax()])
            apart = torch.minimum(apart, latent.box.distance(candidates, chosen[-1].unsqueeze(0)).squeeze(1))
        return torch.stack(chosen)

    def _around(self, latent: FreeEnergy, centres: Tensor, radius: float) -> Tensor:
        z = centres.repeat_interleave(self.queries, 0)
        away = torch.nn.functional.normalize(torch.randn_like(z), dim=-1)
        return latent.box.folded(z + radius * torch.rand_like(z[:, :1]) ** (1 / z.shape[1]) * away)
