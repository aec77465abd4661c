"""Relative entropy, what predictive coarse-graining is compared with: the coarse model alone is learnt."""

import torch

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Objective, Terms
from predcg.ranges import PositiveInt
from predcg.systems import System


class RelativeEntropy(Objective):
    """L = -E_w E_{X ~ q(X|x)} log p(X), with a coarse map q(X|x) that is not learnt (Shell 2008).

    At its minimum the coarse model has the moments of the mapped data. It says nothing of the decoder, which must not
    need to learn.

    Args:
        samples: draws of X per frame, where the map is random.
    """

    needs = frozenset({"x"})

    def __init__(self, samples: PositiveInt = 1):
        super().__init__()
        if samples < 1:
            raise InputError(f"objective.samples: expected at least 1; found {samples}")
        self.samples = samples

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        if any(True for _ in model.decoder.parameters()):
            raise InputError(
                "objective: relative entropy does not learn a decoder; choose one without parameters,"
                " decoder=majority_blocks"
            )
        with torch.no_grad():
            z = model.encoder(batch.x).sample((self.samples,))
        return Terms(-batch.mean(model.latent().log_prob(z).mean(0)), {})
