"""The forward Kullback-Leibler divergence between system and model."""

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Objective, Terms
from predcg.ranges import PositiveInt
from predcg.systems import System


class ForwardKL(Objective):
    """Importance-weighted evidence lower bound, negative; with one sample the usual ELBO.

    L = -E_w E_{z_k ~ q(z|x)} log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), with E_w the weighted mean over frames. For K = 1
    it is the data part of KL(p(x) q(z|x) || p(x|z) p(z)) (Kingma and Welling 2014); the larger K, the closer to that of
    KL(p(x) || ∫ p(x|z) p(z) dz), and the less the encoder's shape matters (Burda, Grosse, Salakhutdinov 2016).

    Args:
        samples: latent draws per frame, K.
    """

    needs = frozenset({"x"})

    def __init__(self, samples: PositiveInt = 1):
        super().__init__()
        if samples < 1:
            raise InputError(f"samples: expected at least 1; found {samples}")
        self.samples = samples

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        bound = batch.mean(model.log_prob(batch.x, self.samples))
        return Terms(-bound, {"forward_bound": bound.detach()})
