"""What a posterior is: from a trained model, its prior and the data to draws of its weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.files import atomic, reading
from predcg.model import Model
from predcg.priors import Prior
from predcg.ranges import PositiveFloat


class WeightPosterior:
    """Gaussian density of a decoder's weights θ, centred on the trained ones.

    Args:
        spread: for each linear layer, by its name in the decoder, the standard deviations of [weight, bias], (out, in +
            1), or for each of its units a matrix S with covariance S Sᵀ, (out, in + 1, in + 1).
    """

    def __init__(self, spread: dict[str, Tensor]):
        self.spread = spread

    def draw(self, decoder: nn.Module) -> dict[str, Tensor]:
        """Parameters of the decoder for one draw of θ, by name."""
        parameters = {}
        for name, spread in self.spread.items():
            layer = decoder.get_submodule(name)
            noise = torch.randn(spread.shape[:2], dtype=spread.dtype, device=spread.device)
            shift = spread * noise if spread.ndim == 2 else (spread @ noise.unsqueeze(-1)).squeeze(-1)
            parameters[f"{name}.weight"] = layer.weight + shift[:, :-1].to(layer.weight)
            parameters[f"{name}.bias"] = layer.bias + shift[:, -1].to(layer.bias)
        return parameters

    @torch.no_grad()
    def predict(self, model: Model, draws: int, frames: int) -> Iterator[Tensor]:
        """For each of `draws` draws of θ, `frames` configurations x ~ p(x|z, θ) p(z), (frames, D): the posterior
        predictive.
        """
        for _ in range(draws):
            parameters = self.draw(model.decoder)
            yield functional_call(model.decoder, parameters, (model.latent().sample((frames,)),)).sample()

    def save(self, path: Path) -> None:
        """Write the spreads to an `.npz`."""
        with atomic(path) as temporary:
            np.savez(temporary, **{name: spread.cpu().numpy() for name, spread in self.spread.items()})

    @classmethod
    def load(cls, path: Path) -> "WeightPosterior":
        """Read what `save` wrote."""
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            return cls({name: torch.from_numpy(arrays[name]) for name in arrays})


class Posterior(ABC):
    """`posterior(model, prior, batch) -> WeightPosterior`: of most, p(θ | data) ≈ N(θ_MAP, Λ⁻¹), Λ the curvature of
    -log p(θ | data) at the trained θ.

    Attributes:
        kind: class of the weights that it makes.
    """

    kind: type[WeightPosterior] = WeightPosterior

    @abstractmethod
    def __call__(self, model: Model, prior: Prior, batch: Batch) -> WeightPosterior:
        """The posterior given a trained model, the prior it was trained with and the frames it was trained on."""

    def rehearse(self, model: Model, prior: Prior, batch: Batch) -> None:
        """Meet whatever will be refused, before it is trained for; of two frames and an untrained model."""
        self(model, prior, batch)


class Floored(Posterior):
    """A curvature below `floor` is replaced by 10 N, as the source does: training need not end in a maximum, and many
    weights leave the data as they are.

    Args:
        floor: smallest curvature that is trusted.
    """

    def __init__(self, floor: PositiveFloat = 0.5):
        if not floor > 0:
            raise InputError(f"posterior.floor: expected a positive curvature; found {floor}")
        self.floor = floor

    def deviation(self, curvature: Tensor, frames: float) -> Tensor:
        """curvature^-½ above the floor, (10 N)^-½ below it, elementwise."""
        return torch.where(curvature < self.floor, 10.0 * frames, curvature).rsqrt()


def needs_data(batch: Batch) -> None:
    """Raise InputError where there are no frames."""
    if not len(batch):
        raise InputError(
            "posterior: given data, and there are none; choose posterior=none, or acquisition=simulate or load"
        )
