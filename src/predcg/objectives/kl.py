"""The two Kullback-Leibler divergences between system and model, and their mixture."""

from torch import nn

from predcg.batch import Batch
from predcg.densities import sample_with_log_prob
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Objective, Terms
from predcg.systems import System


class ForwardKL(Objective):
    """Importance-weighted evidence lower bound, negative; with one sample the usual ELBO.

    L = -E_w E_{z_k ~ q(z|x)} log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), with E_w the weighted mean over frames. For K = 1 it
    is the data part of KL(p(x) q(z|x) || p(x|z) p(z)) (Kingma and Welling 2014); the larger K, the closer to that of
    KL(p(x) || ∫ p(x|z) p(z) dz), and the less the encoder's shape matters (Burda, Grosse, Salakhutdinov 2016).

    Args:
        samples: latent draws per frame, K.
    """

    def __init__(self, samples: int = 1):
        super().__init__()
        _positive(samples)
        self.samples = samples

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        if len(batch.x) == 0:
            raise InputError("objective: the forward KL learns from data, and there are none; choose acquisition=simulate, load or exact")
        bound = batch.mean(model.log_prob(batch.x, self.samples))
        return Terms(-bound, {"forward_bound": bound.detach()})


class ReverseKL(Objective):
    """KL(p(x|z) p(z) || p_β(x) r(z|x)) up to log Z_β, with the encoder as auxiliary r; it needs no data.

    L = E_{p(z) p(x|z)}[β u(x) + log p(x|z) + log p(z) - log r(z|x)] >= -log Z_β, reparametrised (Schöberl et al. 2019).

    Args:
        samples: draws (z, x) per step.
    """

    def __init__(self, samples: int = 256):
        super().__init__()
        _positive(samples)
        self.samples = samples

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        z, log_latent = sample_with_log_prob(model.latent(), (self.samples,))
        x, log_decoder = sample_with_log_prob(model.decoder(z))
        u = system(x)
        log_q = log_decoder + log_latent - model.encoder(x).log_prob(z)
        loss = (self.beta * u + log_q).mean()
        return Terms(loss, {"reverse_bound": -loss.detach(), "mean_energy": u.detach().mean()})


class Mixed(Objective):
    """α forward + (1 - α) reverse.

    Args:
        alpha: share of the forward divergence, in [0, 1].
        forward, reverse: the two objectives.

    >>> Mixed(0.3, ForwardKL(samples=8), ReverseKL(samples=256)).shares
    (0.3, 0.7)
    """

    def __init__(self, alpha: float, forward: ForwardKL, reverse: ReverseKL):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha: expected a number in [0, 1]; found {alpha}")
        self.shares = (alpha, 1 - alpha)
        self.divergences = nn.ModuleList([forward, reverse])

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        loss, log = 0.0, {}
        for share, divergence in zip(self.shares, self.divergences, strict=True):
            if share > 0:  # at α = 0 no data are needed, at α = 1 no energies
                terms = divergence(model, system, batch)
                loss, log = loss + share * terms.loss, log | terms.log
        return Terms(loss, log)


def _positive(samples: int) -> None:
    if samples < 1:
        raise InputError(f"samples: expected at least 1; found {samples}")
