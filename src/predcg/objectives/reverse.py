"""The reverse Kullback-Leibler divergence between model and system."""

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import held_log_prob, sample_with_log_prob, shortened
from predcg.errors import InputError, NonFiniteError
from predcg.model import Model
from predcg.objectives.objective import Objective, Terms
from predcg.ranges import PositiveInt
from predcg.systems import System


class ReverseKL(Objective):
    """KL(p(x|z) p(z) || p_β(x) r(z|x)) up to log Z_β, with the encoder as auxiliary r; it needs no data.

    L = E_{p(z) p(x|z)}[β u(x) + log p(x|z) + log p(z) - log r(z|x)] >= -log Z_β, reparametrised (Schöberl et al. 2019).

    The energy enters by its value and slope ∇u at the draws. A draw without a finite one is left out of the mean and
    counted in the buffer `dropped_samples`. log p(x|z) is sampled also where its mean is known: the gradient of a
    Gaussian is the same, and the value would lose the noise that cancels that of u near the optimum.

    Args:
        samples: draws (z, x) per step.
        cap: longest slope in units of the batch's median, to which longer ones are shortened; None leaves them.
        path: leave out the score of p(x|z) p(z), whose mean is zero; where the model is exact no draw has any gradient
            left (Roeder, Wu, Duvenaud 2017).
        dropped: largest share of the draws of one batch that may be left out; beyond it NonFiniteError.
    """

    evaluates = True

    def __init__(
        self,
        samples: PositiveInt = 256,
        cap: Annotated[float, Ge(1)] | None = None,
        path: bool = False,
        dropped: Annotated[float, Ge(0), Lt(1)] = 0.01,
    ):
        super().__init__()
        if samples < 1:
            raise InputError(f"samples: expected at least 1; found {samples}")
        if cap is not None and not cap >= 1:
            raise InputError(f"cap: expected a number of medians, at least 1, or null; found {cap}")
        if not 0 <= dropped < 1:
            raise InputError(f"dropped: expected a number in [0, 1); found {dropped}")
        self.samples, self.cap, self.path, self.dropped = samples, cap, path, dropped
        self.register_buffer("dropped_samples", torch.zeros((), dtype=torch.long))

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        z, log_latent = sample_with_log_prob(model.latent(), (self.samples,))
        x, log_decoder = sample_with_log_prob(model.decoder(z))
        broken = x[:0]
        while not (whole := x.isfinite().all(-1)).all():
            # A draw that is left out of the mean alone would give every weight the gradient 0 · ∞: the others are drawn
            # anew without it.
            broken, z, log_latent = torch.cat([broken, x[~whole]]), z[whole], log_latent[whole]
            if not len(z):  # This raises.
                self._count(broken)
            x, log_decoder = sample_with_log_prob(model.decoder(z))
        u, slope = evaluated(system, x, self.training)
        length = torch.linalg.vector_norm(slope, dim=-1, dtype=torch.float64)  # Squares would leave float32.
        finite = u.isfinite() & length.isfinite()
        lost = self._count(torch.cat([x[~finite], broken]))
        if lost:
            z, log_latent, x, log_decoder, u, slope, length = (
                value[finite] for value in (z, log_latent, x, log_decoder, u, slope, length)
            )
        if self.cap is not None:
            slope = shortened(slope, self.cap * length.median().item())
        if self.path:
            log_latent, log_decoder = held_log_prob(model.latent, None, z), held_log_prob(model.decoder, z, x)
        energy = u + ((x - x.detach()) * slope).sum(-1)
        loss = (self.beta * energy + log_decoder + log_latent - model.encoder(x).log_prob(z)).mean()
        return Terms(
            loss, {"reverse_bound": -loss.detach(), "mean_energy": u.mean(), "dropped": torch.tensor(float(lost))}
        )

    def cost(self, batch_size: int) -> int:
        return self.samples

    def _count(self, lost: Tensor) -> int:
        """How many draws are left out; too many are refused."""
        if len(lost) > self.dropped * self.samples:
            raise NonFiniteError(
                f"{len(lost)} of {self.samples} draws have no finite energy or slope, more than the share dropped ="
                f" {self.dropped}",
                lost[0].detach(),
            )
        if self.training:  # What rehearsal or validation has lost does not count.
            self.dropped_samples += len(lost)
        return len(lost)


def evaluated(system: System, x: Tensor, slopes: bool) -> tuple[Tensor, Tensor]:
    """u, (N,), and ∇u, (N, D), finite or not, without gradients of their own; ∇u = 0 where no slopes are asked for."""
    at = x.detach()
    if not slopes:
        return system.unchecked(at).detach(), torch.zeros_like(at)
    with torch.enable_grad():
        u = system.unchecked(at.requires_grad_())
        return u.detach(), torch.autograd.grad(u.sum(), at)[0]
