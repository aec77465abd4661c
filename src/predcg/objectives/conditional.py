"""The conditional reverse KL: a decoder learns p(x|z) from the energy, at collective variables that are asked for."""

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import EnergyBased, FreeEnergy, sample_with_log_prob, shortened
from predcg.errors import InputError, NonFiniteError
from predcg.model import Model
from predcg.objectives.objective import Evaluated, Terms
from predcg.objectives.recording import Recording
from predcg.objectives.reverse import evaluated
from predcg.observables.observable import apart
from predcg.ranges import PositiveInt
from predcg.systems import System

TOLERANCE = 1e-2  # Single precision changes z by less than this on the way to x and back, relative to max(1, |z|).


class ConditionalKL(Recording):
    """E_z KL(q(x|z) || p_β(x|z)) over the z of a batch, up to E_z F(z); and what past draws say once more, for which no
    energy is paid.

    Every `every`-th step makes one draw x ~ q(x|z) for each z of the batch, L = E[β u(x) + log q(x|z)] (Schopmans and
    Friederich 2024; theirs is every = 1). Each draw is kept with its weight w = e^(-β u(x)) / q(x|z), whose mean given
    z is e^-F(z). All other steps minimise the forward divergence, -E log q(x|z), over draws of all times, resampled
    with probability ∝ min(w e^F(z), cap): where the reverse one leaves tails out, this one cannot. F, the potential of
    the latent density, is a constant here.

    Args:
        every: steps from one batch of fresh draws to the next.
        replayed: past draws in each step between.
        cap: largest w e^F(z), so that no draw makes up a whole minibatch while F is still wrong.
        longest: longest slope of the energy in kT per unit of x, or, with `path`, of energy and log q together in the
            coordinates that the decoder leaves open, to which longer ones are shortened; None leaves them.
        path: leave out the score of q, whose mean is zero; where q is exact no draw has any gradient left (Roeder, Wu,
            Duvenaud 2017).

    Raises:
        InputError: a number below 1, a latent density without a potential, or a decoder whose draws at z do not have
            the collective variables z.
        NonFiniteError: no draw of a batch has a finite energy and density.

    >>> ConditionalKL(every=8).cost(64)
    8.0
    """

    needs = frozenset({"z"})
    recorded = ("z", "x", "log_w")

    def __init__(
        self,
        every: PositiveInt = 1,
        replayed: PositiveInt = 256,
        cap: Annotated[float, Ge(1)] = 50.0,
        longest: Annotated[float, Ge(1)] | None = None,
        path: bool = False,
    ):
        super().__init__()
        for name, number in {"every": every, "replayed": replayed, "cap": cap, "longest": longest}.items():
            if number is not None and not number >= 1:
                raise InputError(f"objective.{name}: expected at least 1; found {number}")
        self.every, self.replayed, self.cap, self.longest, self.path = every, replayed, cap, longest, path
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("dropped_samples", torch.zeros((), dtype=torch.long))

    def cost(self, batch_size: int) -> float:
        return batch_size / self.every

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        if not self.training:
            _check(model, batch.z)
            return self._fresh(model, system, batch.z)
        fresh = self.calls.item() % self.every == 0
        self.calls += 1
        if not fresh:
            return self._again(model)
        terms = self._fresh(model, system, batch.z)
        if self.every > 1:  # Else nothing is drawn again.
            self.record(**terms.evaluated._asdict())
        return terms

    def _draw(self, model: Model, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.path and self.training:
            return model.decoder.pathwise(z, self.longest)
        return sample_with_log_prob(model.decoder(z))

    def _fresh(self, model: Model, system: System, z: Tensor) -> Terms:
        x, log_q = self._draw(model, z)
        while not (whole := log_q.isfinite() & x.isfinite().all(-1)).all():
            # A draw left out of the mean alone would give every weight the gradient 0 · ∞: the others are drawn anew.
            if not whole.any():
                raise NonFiniteError(f"none of {len(x)} draws has a finite density", x[0].detach())
            z = z[whole]
            self._drop(~whole)
            x, log_q = self._draw(model, z)
        u, slope = evaluated(system, x, self.training)
        finite = u.isfinite() & slope.isfinite().all(-1)
        self._drop(~finite)
        if not finite.any():
            raise NonFiniteError(f"none of {len(x)} draws has a finite energy", x[0].detach())
        slope = slope[finite] if self.path else shortened(slope[finite], self.longest)
        energy = u[finite] + ((x - x.detach())[finite] * slope).sum(-1)
        loss = (self.beta * energy + log_q[finite]).mean()
        # A draw without a finite energy is one that e^-F is not made of: it counts, with the weight 0.
        log_w = torch.where(finite, -self.beta * u - log_q.detach(), -torch.inf).double()
        return Terms(loss, {"conditional_bound": -loss.detach()}, Evaluated(z.detach(), x.detach(), log_w))

    def _drop(self, lost: Tensor) -> None:
        if self.training:
            self.dropped_samples += int(lost.sum())

    def _again(self, model: Model) -> Terms:
        with torch.no_grad():
            log_share = (self.log_w + model.latent.potential(self.z).double()).clamp(max=math.log(self.cap))
            chosen = log_share.softmax(0).multinomial(self.replayed, replacement=True)
        loss = -model.decoder(self.z[chosen]).log_prob(self.x[chosen]).mean()
        return Terms(loss, {"replayed_bound": -loss.detach()})


def _check(model: Model, z: Tensor) -> None:
    """Raise InputError on what does not learn from this objective."""
    if not isinstance(model.latent, EnergyBased):
        raise InputError(
            "objective: ConditionalKL needs a latent density with a potential; found"
            f" {type(model.latent).__name__}; choose latent=free_energy"
        )
    found, period = model.cv(model.decoder(z).sample()), model.encoder.period
    if found.shape != z.shape or not (apart(found, z, period).abs() <= TOLERANCE * z.abs().clamp_min(1)).all():
        raise InputError(
            "decoder: expected one that completes what the encoder observes, so that draws at z have the collective"
            f" variables z; found {type(model.decoder).__name__}, which does not; choose encoder=torsions"
            " decoder=completion of a molecule, else encoder=observed decoder=linear_completion"
        )
    box = model.latent.box if isinstance(model.latent, FreeEnergy) else None
    if box and period and not (box.periodic.all() and ((box.sides - period).abs() < 1e-3).all()):
        raise InputError(
            "latent.low, high, periodic: expected a whole circle for each torsion, as latent.low=[-3.14159265,...]"
            " latent.high=[3.14159265,...] latent.periodic=[true,...]; found"
            f" {box.low.tolist()}, {box.high.tolist()}, {box.periodic.tolist()}; mend them"
        )
