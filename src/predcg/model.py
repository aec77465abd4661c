"""The triple that every method learns: latent p(z), decoder p(x|z), encoder q(z|x)."""

import math

import torch
from torch import Tensor, nn

from predcg.densities import Completing, Density, FreeEnergy, sample_with_log_prob
from predcg.errors import InputError


class Model(nn.Module):
    """p(x, z) = p(x|z) p(z), with q(z|x) beside it.

    Args:
        latent: density of z, (d,), without context.
        decoder: density of x, (D,), given z.
        encoder: density of z given x; its location is the collective variable.

    >>> from predcg.densities import FreeScale, GaussianMLP, StandardNormal
    >>> net = {"hidden": [8], "activations": ["Tanh"], "scale": FreeScale}
    >>> model = Model(StandardNormal(1), GaussianMLP(1, 2, **net), GaussianMLP(2, 1, **net))
    >>> model.cv(model.generate(4)).shape
    torch.Size([4, 1])
    """

    def __init__(self, latent: Density, decoder: Density, encoder: Density):
        super().__init__()
        self.latent, self.decoder, self.encoder = latent, decoder, encoder

    def generate(self, n: int) -> Tensor:
        """n draws of x by ancestral sampling, (n, D)."""
        return self.decoder(self.latent().sample((n,))).sample()

    def draw(self, n: int, samples: int) -> tuple[Tensor, Tensor]:
        """n draws of x, (n, D), with log p(x) as `log_prob` estimates it from the generating z and `samples` others,
        (n,); exact where z has no coordinates, or where x tells its z.
        """
        z = self.latent().sample((n,))
        decoded = self.decoder(z)
        if decoded.has_rsample:
            x, log_p = sample_with_log_prob(decoded)
        else:  # A mixture cannot be reparametrised, and no slopes are needed here.
            x = decoded.sample()
            log_p = decoded.log_prob(x)
        if isinstance(self.decoder, Completing):
            return x, log_p + self.latent().log_prob(z)
        return x, self.log_prob(x, samples, z) if z.shape[-1] else log_p

    def cv(self, x: Tensor) -> Tensor:
        """Collective variables of x: (..., D) to (..., d)."""
        return self.encoder.location(x)

    def decode(self, z: Tensor) -> Tensor:
        """The representative configuration of each z: (..., d) to (..., D)."""
        return self.decoder.location(z)

    @torch.no_grad()
    def free_energy(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """F(z) above its lowest and the standard error of this difference, kT: (..., d) to (...,) each.

        Raises:
            InputError: the latent density is none of latent=free_energy, or it has one member only.

        >>> from predcg.densities import Completing, FreeEnergySplines, FreeScale, GaussianMLP, Observed
        >>> from predcg.observables import Combinations
        >>> from predcg.transforms import Matrix
        >>> def rest(**sizes):
        ...     return GaussianMLP(**sizes, hidden=[8], activations=["Tanh"], scale=FreeScale)
        >>> latent = FreeEnergySplines(1, [0.0], [1.0], [4], slope=1e-9)
        >>> decoder = Completing(1, 2, rest, Matrix([[1.0, -1.0]], 2))
        >>> model = Model(latent, decoder, Observed(Combinations([[1.0, -1.0]])))
        >>> f, error = model.free_energy(torch.tensor([[0.3], [1.1]]))  # 0.1 outside: ½ (30 · 0.1)²
        >>> f.round(decimals=3).tolist(), error.round(decimals=3).tolist()
        ([0.0, 4.5], [0.0, 0.0])
        """
        if not isinstance(self.latent, FreeEnergy):
            raise InputError(
                "model: a free energy is that of a latent density which has one; found"
                f" {type(self.latent).__name__}; choose latent=free_energy"
            )
        return self.latent.above_lowest(z)

    def fit(self, x: Tensor) -> None:
        """Let transforms that depend on data see the configurations to be learnt, (N, D)."""
        self.decoder.fit(event=x)
        self.encoder.fit(context=x)

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) + log p(z): (..., D) and (..., d) to (...,)."""
        return self.decoder(z).log_prob(x) + self.latent().log_prob(z)

    def log_prob(self, x: Tensor, samples: int, z: Tensor | None = None) -> Tensor:
        """Estimate of log p(x): logmeanexp_k of p(x, z_k) / q(z_k|x), (N, D) to (N,).

        With z_k ~ q(z|x) it is on average below log p(x) (Burda, Grosse, Salakhutdinov 2016). With the z that
        generated x as one of the draws it is on average above it, and its inverse exp(-estimate) is unbiased for
        1/p(x), so that importance weights made with it are exact for any number of samples.

        Args:
            samples: how many z are drawn from the encoder.
            z: the generating z of each x, (N, d), to be included.
        """
        if not self.latent().event_shape[0]:
            return self.decoder(x[..., :0]).log_prob(x)
        if isinstance(self.decoder, Completing):  # No other z than its own could have made x.
            return self.log_joint(x, self.cv(x))
        draws, log_q = sample_with_log_prob(self.encoder(x), (samples,))
        terms = self.log_joint(x, draws) - log_q
        if z is not None:
            own = self.log_joint(x, z) - self.encoder(x).log_prob(z)
            terms = torch.cat([own.unsqueeze(0), terms])
        return terms.logsumexp(0) - math.log(len(terms)) if len(terms) > 1 else terms.squeeze(0)
