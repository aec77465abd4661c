"""Systems with closed-form answers in any dimension."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import PositiveFloat
from predcg.systems.system import System


class Harmonic(System):
    """u(x) = ½ Σ_i (x_i / s_i)²; log Z = Σ_i log(s_i √(2π)).

    Args:
        scales: standard deviation of every coordinate at β = 1.

    >>> round(Harmonic([1.0, 2.0]).exact()["log_z"], 4)
    2.531
    """

    def __init__(self, scales: list[PositiveFloat]):
        if any(scale <= 0 for scale in scales):
            raise InputError(f"scales: expected positive numbers; found {list(scales)}")
        super().__init__(len(scales))
        self.register_buffer("scales", torch.tensor(scales), persistent=False)

    def energy(self, x: Tensor) -> Tensor:
        return 0.5 * (x / self.scales).pow(2).sum(-1)

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, self.size, device=self.scales.device) * self.scales

    def exact(self) -> dict[str, float]:
        scales = self.scales.double()
        answers = {"log_z": (scales.log() + 0.5 * math.log(2 * math.pi)).sum().item()}
        for axis, scale in enumerate(scales.tolist()):
            answers |= {f"mean_x{axis + 1}": 0.0, f"sd_x{axis + 1}": scale}
        return answers


class GaussianMixture(System):
    """u(x) = -log Σ_k π_k N(x; m_k, s_k² I), so that log Z = 0.

    Args:
        means: one centre per component, K lists of D numbers.
        scales: one standard deviation per component.
        weights: one positive number per component, normalised here.

    >>> round(GaussianMixture([[0.0], [10.0]], [1.0, 1.0], [1.0, 3.0]).exact()["mean_x1"], 4)
    7.5
    """

    def __init__(self, means: list[list[float]], scales: list[PositiveFloat], weights: list[PositiveFloat]):
        if not len(means) == len(scales) == len(weights):
            raise InputError(
                f"means, scales, weights: expected equal lengths; found {len(means)}, {len(scales)}, {len(weights)}"
            )
        if any(value <= 0 for value in [*scales, *weights]):
            raise InputError(f"scales, weights: expected positive numbers; found {list(scales)}, {list(weights)}")
        super().__init__(len(means[0]))
        self.basins = tuple(f"component_{k}" for k in range(len(means)))
        self.register_buffer("means", torch.tensor([list(m) for m in means]), persistent=False)
        self.register_buffer("scales", torch.tensor(list(scales)), persistent=False)
        self.register_buffer("log_weights", torch.tensor(list(weights)).log().log_softmax(0), persistent=False)

    def _log_joint(self, x: Tensor) -> Tensor:
        square = ((x.unsqueeze(-2) - self.means) / self.scales[:, None]).pow(2).sum(-1)
        return self.log_weights - 0.5 * square - self.size * (self.scales.log() + 0.5 * math.log(2 * math.pi))

    def energy(self, x: Tensor) -> Tensor:
        return -self._log_joint(x).logsumexp(-1)

    def label(self, x: Tensor) -> Tensor:
        """The component that most probably made the configuration."""
        return self._log_joint(x).argmax(-1)

    def sample(self, n: int) -> Tensor:
        k = self.log_weights.exp().multinomial(n, replacement=True)
        return self.means[k] + torch.randn(n, self.size, device=self.means.device) * self.scales[k, None]

    def exact(self) -> dict[str, float]:
        p, means, scales = self.log_weights.double().exp(), self.means.double(), self.scales.double()
        mean = p @ means
        sd = (p @ (scales[:, None] ** 2 + (means - mean) ** 2)).sqrt()
        answers = {"log_z": 0.0}
        for axis in range(self.size):
            answers |= {f"mean_x{axis + 1}": mean[axis].item(), f"sd_x{axis + 1}": sd[axis].item()}
        return answers
