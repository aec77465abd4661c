"""Several objectives as one."""

import torch
from torch import nn

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Evaluated, Objective, Terms
from predcg.ranges import NonNegativeFloat, UnitInterval
from predcg.systems import System


class Sum(Objective):
    """L = Σ_k weight_k L_k of named terms; one whose weight is 0 is not evaluated and costs nothing.

    A term takes what is not its own to learn as constant. What a term has evaluated, the others are told.

    Args:
        terms: objectives, by name.
        weights: a number >= 0 for each of these names.

    Raises:
        InputError: other names than those of the terms, a negative weight, or none above 0.

    >>> from predcg.objectives import ForwardKL, ReverseKL
    >>> both = Sum({"data": ForwardKL(), "energy": ReverseKL(256)}, {"data": 1.0, "energy": 0.5})
    >>> both.cost(64), sorted(both.needs)
    (256.0, ['x'])
    """

    def __init__(self, terms: dict[str, Objective], weights: dict[str, NonNegativeFloat]):
        super().__init__()
        if terms.keys() != weights.keys():
            raise InputError(
                f"objective.weights: expected one for each of {', '.join(terms)}; found {', '.join(weights) or 'none'}"
            )
        if min(weights.values(), default=0) < 0 or not any(weights.values()):
            raise InputError(f"objective.weights: expected numbers >= 0, at least one above 0; found {dict(weights)}")
        self.names, self.weights = list(terms), dict(weights)
        self.divergences = nn.ModuleList(terms.values())  # It is the name that checkpoints know them by.

    @property
    def shares(self) -> dict[str, float]:
        """The weights at the present β."""
        return self.weights

    @property
    def largest(self) -> dict[str, float]:
        """The largest weight that each term has at any β."""
        return self.weights

    @property
    def terms(self) -> dict[str, Objective]:
        """The terms that are evaluated at some β."""
        largest = self.largest
        return {name: term for name, term in zip(self.names, self.divergences, strict=True) if largest[name] > 0}

    @property
    def needs(self) -> frozenset[str]:
        """What its terms need, each of which is asked when it is evaluated."""
        return frozenset().union(*(term.needs for term in self.terms.values()))

    def __call__(self, model: Model, system: System, batch: Batch) -> Terms:
        # A term that is not evaluated in this step needs nothing: each checks the batch when it is.
        return nn.Module.__call__(self, model, system, batch)

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        shares, loss, log = self.shares, torch.zeros(()), {}
        for name, term in self.terms.items():
            if shares[name] > 0 or not self.training:
                found = term(model, system, batch)
                loss, log = loss + shares[name] * found.loss, log | found.log
                if found.evaluated is not None and self.training:
                    for other in self.terms.values():
                        if other is not term:
                            other.observe(found.evaluated)
        return Terms(loss, log)

    def cost(self, batch_size: int) -> float:
        return sum(term.cost(batch_size) for term in self.terms.values())

    def observe(self, evaluated: Evaluated) -> None:
        for term in self.terms.values():
            term.observe(evaluated)


class Mixed(Sum):
    """α forward + (1 - α) reverse.

    Args:
        alpha: share of the forward divergence, in [0, 1].
        forward, reverse: the two objectives; forward may be a Replay, which makes data of the model's own draws.
        target_alpha: its share once tempering has reached β = 1; default alpha.

    >>> from predcg.objectives import ForwardKL, ReverseKL
    >>> Mixed(0.3, ForwardKL(samples=8), ReverseKL(samples=256)).shares
    {'forward': 0.3, 'reverse': 0.7}
    """

    def __init__(
        self, alpha: UnitInterval, forward: Objective, reverse: Objective, target_alpha: UnitInterval | None = None
    ):
        self.alpha, self.target_alpha = alpha, alpha if target_alpha is None else target_alpha
        for name in ("alpha", "target_alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a number in [0, 1]; found {getattr(self, name)}")
        super().__init__({"forward": forward, "reverse": reverse}, _shares(alpha))

    @property
    def shares(self) -> dict[str, float]:
        return _shares(self.alpha if self.beta < 1 else self.target_alpha)

    @property
    def largest(self) -> dict[str, float]:
        return {"forward": max(self.alpha, self.target_alpha), "reverse": 1 - min(self.alpha, self.target_alpha)}

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        terms = super().forward(model, system, batch)
        return Terms(terms.loss, terms.log | {"alpha": torch.tensor(self.shares["forward"])})


def _shares(alpha: float) -> dict[str, float]:
    return {"forward": alpha, "reverse": 1 - alpha}
