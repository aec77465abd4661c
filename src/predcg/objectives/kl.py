"""The forward Kullback-Leibler divergence, and its mixture with the reverse one."""

import torch
from torch import nn

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Objective, Terms, needs_data
from predcg.ranges import PositiveInt, UnitInterval
from predcg.systems import System


class ForwardKL(Objective):
    """Importance-weighted evidence lower bound, negative; with one sample the usual ELBO.

    L = -E_w E_{z_k ~ q(z|x)} log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), with E_w the weighted mean over frames. For K = 1
    it is the data part of KL(p(x) q(z|x) || p(x|z) p(z)) (Kingma and Welling 2014); the larger K, the closer to that of
    KL(p(x) || ∫ p(x|z) p(z) dz), and the less the encoder's shape matters (Burda, Grosse, Salakhutdinov 2016).

    Args:
        samples: latent draws per frame, K.
    """

    def __init__(self, samples: PositiveInt = 1):
        super().__init__()
        if samples < 1:
            raise InputError(f"samples: expected at least 1; found {samples}")
        self.samples = samples

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        needs_data(batch, "the forward KL")
        bound = batch.mean(model.log_prob(batch.x, self.samples))
        return Terms(-bound, {"forward_bound": bound.detach()})


class Mixed(Objective):
    """α forward + (1 - α) reverse.

    Args:
        alpha: share of the forward divergence, in [0, 1].
        forward, reverse: the two objectives; forward may be a Replay, which makes data of the model's own draws.
        target_alpha: its share once tempering has reached β = 1; default alpha.

    >>> from predcg.objectives import ReverseKL
    >>> Mixed(0.3, ForwardKL(samples=8), ReverseKL(samples=256)).shares
    (0.3, 0.7)
    """

    def __init__(
        self, alpha: UnitInterval, forward: Objective, reverse: Objective, target_alpha: UnitInterval | None = None
    ):
        super().__init__()
        self.alpha, self.target_alpha = alpha, alpha if target_alpha is None else target_alpha
        for name in ("alpha", "target_alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a number in [0, 1]; found {getattr(self, name)}")
        self.divergences = nn.ModuleList([forward, reverse])

    @property
    def shares(self) -> tuple[float, float]:
        """Those of forward and reverse at the present β."""
        alpha = self.alpha if self.beta < 1 else self.target_alpha
        return alpha, 1 - alpha

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        loss, log = 0.0, {}
        # A rehearsal, without gradients, tells of all that will be needed, be it only before or after β = 1.
        needed = (
            self.shares
            if torch.is_grad_enabled()
            else (max(self.alpha, self.target_alpha), 1 - min(self.alpha, self.target_alpha))
        )
        for share, need, divergence in zip(self.shares, needed, self.divergences, strict=True):
            if need > 0:  # at α = 0 no data are needed, at α = 1 no energies
                terms = divergence(model, system, batch)
                loss, log = loss + share * terms.loss, log | terms.log
        return Terms(loss, log | {"alpha": torch.tensor(self.shares[0])})
