"""Laplace's approximation with the curvature of the likelihood of the frames, their collective variables integrated
out.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from predcg.batch import Batch
from predcg.densities import GaussianMLP, StandardNormal
from predcg.errors import InputError
from predcg.model import Model
from predcg.posteriors.posterior import Floored, WeightPosterior, needs_data
from predcg.posteriors.quadrature import latent_nodes
from predcg.priors import Prior

ROWS = 20_000  # So many pairs of a frame and a node are summed at a time.
RANK = 1e-3  # Parts of a frame's missing information that are smaller, relative to the largest, are left out.
# At most so many directions are kept, those in which most is missing; of 500 frames and 6,000 weights the others would
# widen bands by less than 1 %.
KEPT = 500


class LastLayers(WeightPosterior):
    """Gaussian density of θ: the last layers of a Gaussian decoder's mean and log σ², and the latent density N(c, L
    Lᵀ), about the trained ones and N(0, I).

    θ = trained + S (1 + Σ_k q_k (s_k - 1) q_kᵀ) ε, in the order of outputs, of each its mean's and its log σ²'s
    weights; c; L, row by row.

    Args:
        spread: `factor` with a block of S for each output, (D, p, p); `latent` with the diagonal of S for c and L,
            (h,); `directions` with the unit vectors q_k, (k, D p + h); `deviations` with s_k, (k,).
    """

    def shift(self) -> tuple[Tensor, Tensor]:
        """One draw of θ less the trained one: of the decoder's outputs, (D, p), and of the latent density, (h,)."""
        factor, latent, directions, deviations = (
            self.spread[name] for name in ("factor", "latent", "directions", "deviations")
        )
        noise = torch.randn(directions.shape[1], dtype=directions.dtype, device=directions.device)
        noise = noise + ((directions @ noise) * (deviations - 1)) @ directions
        of_outputs, of_latent = noise.split([len(noise) - len(latent), len(latent)])
        return (factor @ of_outputs.view(*factor.shape[:2], 1)).squeeze(-1), latent * of_latent

    def draw(self, decoder: nn.Module) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """One draw: parameters of the decoder by name, c, (d,), and L, (d, d)."""
        of_outputs, of_latent = self.shift()
        names = [name for names in _last_layers(decoder).values() for name in names] if of_outputs.numel() else []
        trained = [decoder.get_parameter(name) for name in names]
        columns = of_outputs.split([p.numel() // len(of_outputs) for p in trained], -1)
        size = int((2 * len(of_latent) + 2.25) ** 0.5 - 1.5)  # It solves h = d + d (d + 1) / 2.
        lower = torch.eye(size, dtype=of_latent.dtype, device=of_latent.device)
        lower[tuple(torch.tril_indices(size, size))] += of_latent[size:]
        return (
            {name: p + column.reshape(p.shape).to(p) for name, p, column in zip(names, trained, columns, strict=True)},
            of_latent[:size],
            lower,
        )

    @torch.no_grad()
    def predict(self, model: Model, draws: int, frames: int) -> Iterator[Tensor]:
        for _ in range(draws):
            parameters, centre, lower = self.draw(model.decoder)
            z = model.latent().sample((frames,))
            yield functional_call(model.decoder, parameters, (centre.to(z) + z @ lower.T.to(z),)).sample()


class Laplace(Floored):
    """What the frames leave open of the latent density and of a Gaussian decoder's last layers, all together, from the
    observed information.

    Λ = -∂² [Σ_i log p(x_i | θ) + N · prior(decoder)], N being Batch.effective_size and log p(x | θ) = log ∫ p(x|z, θ)
    p(z|θ) dz. By Louis' identity it is the information of frames whose z is known, on average over p(z|x), less what z
    would tell: E[-∂² log p(x, z)] - Var[∂ log p(x, z)]. The former is a block for each output, the latter of low rank.
    Layers before the last are held (last-layer Laplace, Daxberger et al. 2021); what they would do to z, the latent
    density does, whose mean and covariance are open, too: how many frames fell where. The decoder alone is held where
    it is not Gaussian. A precision that the prior learns is held at its mean ⟨τ⟩. A curvature along a direction below
    `floor` is replaced by 10 N, as the source does for single weights; so is what the latent density and the decoder
    can do alike.

    Args:
        floor: smallest curvature that is trusted.

    Raises:
        InputError: another latent density than the standard normal one, or more than six collective variables.

    Source: Louis 1982, J. R. Stat. Soc. B 44, 226; credible bands and the floor: Schöberl, Zabaras, Koutsourelakis
    2019, J. Chem. Phys. 150, 024109, who take the information of a known z (ConditionalLaplace): too sure of itself
    even where the model is right.

    >>> from predcg.densities import FreeScale
    >>> from predcg.priors import Flat
    >>> net = {"hidden": [], "activations": [], "scale": FreeScale}
    >>> model = Model(StandardNormal(1), GaussianMLP(1, 3, **net), GaussianMLP(3, 1, **net))
    >>> weights = Laplace()(model, Flat(), Batch.of(torch.randn(25, 3)))
    >>> [x.shape for x in weights.predict(model, draws=2, frames=7)]
    [torch.Size([7, 3]), torch.Size([7, 3])]
    """

    kind = LastLayers

    def __call__(self, model: Model, prior: Prior, batch: Batch) -> LastLayers:
        needs_data(batch)
        if not isinstance(model.latent, StandardNormal):
            raise InputError(
                f"posterior: laplace expects latent=normal; found {type(model.latent).__name__}; choose another"
                " posterior"
            )
        model = copy.deepcopy(model).double().requires_grad_(False)
        frames = batch.effective_size
        shares = frames * batch.w.double() / batch.w.double().sum()
        complete = sum(_complete(part) for part in _parts(model, batch, shares)) + _of_prior(
            model.decoder, prior, frames
        )
        values, vectors = torch.linalg.eigh(complete)
        factor = vectors * self.deviation(values, frames).unsqueeze(1)
        size = model.latent().event_shape[0]
        # The derivatives are by c and L in N(c, L Lᵀ).
        fisher = torch.cat([torch.ones(size), 1 + torch.eye(size)[tuple(torch.tril_indices(size, size))]]).double()
        latent = (frames * fisher).rsqrt()
        known, directions = _directions(
            torch.cat([_missing(part, factor, latent) for part in _parts(model, batch, shares)])
        )
        of_outputs, of_latent = directions.split([directions.shape[1] - len(latent), len(latent)], -1)
        along = torch.einsum("dpq,kdq->kdp", factor, of_outputs.view(len(directions), *factor.shape[:2])).flatten(1)
        lengths = (along.square().sum(-1) + (latent * of_latent).square().sum(-1)).sqrt()
        deviations = self.deviation(known / lengths.square(), frames) / lengths
        return LastLayers({"factor": factor, "latent": latent, "directions": directions, "deviations": deviations})


# Of some frames: z (n, K, d), its weights (n, K), shares of the frames (n,), and what _outputs finds.
Part = tuple[Tensor, ...]


def _parts(model: Model, batch: Batch, shares: Tensor) -> Iterator[Part]:
    nodes = latent_nodes(model, batch.x[:1].double())[0].shape[1]
    for x, share in zip(*(of.split(max(1, ROWS // nodes)) for of in (batch.x.double(), shares)), strict=True):
        z, w = latent_nodes(model, x)
        yield z, w, share, *_outputs(model.decoder, x, z)


def _last_layers(decoder: nn.Module) -> dict[str, list[str]]:
    """Names of the parameters in which mean and log σ² are linear, by the linear layer's name; `` where they are log σ²
    itself; none of other decoders.
    """
    if not isinstance(decoder, GaussianMLP):
        return {}
    linear = [name for name, module in decoder.scale.named_modules() if isinstance(module, nn.Linear)][-1:]
    layers = ["mean", *(f"scale.{name}" for name in linear)]
    return {layer: [f"{layer}.weight", f"{layer}.bias"] for layer in layers} | (
        {} if linear else {"": ["scale.log_variance"]}
    )


def _of_prior(decoder: nn.Module, prior: Prior, frames: float) -> Tensor:
    """Curvature of the prior on the last layers, (D, p, p): on weights, not on biases or a free log σ²."""
    columns = [torch.zeros(0, 0, dtype=torch.float64)]
    for parameter in (decoder.get_parameter(name) for names in _last_layers(decoder).values() for name in names):
        precision = (
            frames * prior.weight * prior.precision(parameter) if parameter.ndim == 2 else torch.zeros_like(parameter)
        )
        columns.append(precision.reshape(len(parameter), -1))
    return torch.diag_embed(torch.cat(columns[1:] or columns, -1))


def _outputs(decoder: nn.Module, x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    """Inputs of the last layer of the mean and of log σ², (n, K, m), y - μ and 1/σ², (n, K, D), with y the transformed
    x; empty of other decoders.
    """
    layers, inputs = _last_layers(decoder), {}
    if not layers:
        return (z[..., :0],) * 4
    hooks = [
        decoder.get_submodule(layer).register_forward_pre_hook(
            lambda _, arguments, layer=layer: inputs.__setitem__(layer, arguments[0])
        )
        for layer in layers
        if layer
    ]
    base = decoder.base(decoder.features(z))
    for hook in hooks:
        hook.remove()
    of_mean, of_scale = (nn.functional.pad(inputs.get(layer, z[..., :0]), (0, 1), value=1.0) for layer in layers)
    return (
        of_mean,
        of_scale,
        decoder.transform(x).unsqueeze(1) - base.mean,
        (-2 * base.log_scale).exp().expand_as(base.mean),
    )


def _complete(part: Part) -> Tensor:
    """Σ_i E[-∂² log p(x_i|z)] by the weights of each output, (D, p, p)."""
    _, w, share, of_mean, of_scale, residual, precision = part

    def block(c: Tensor, left: Tensor, right: Tensor) -> Tensor:
        c = (c * (w * share.unsqueeze(-1)).unsqueeze(-1)).flatten(0, 1).T
        return (c.unsqueeze(-1) * left.flatten(0, 1)).mT @ right.flatten(0, 1)

    mixed = block(residual * precision, of_mean, of_scale)
    top = torch.cat([block(precision, of_mean, of_mean), mixed], -1)
    return torch.cat(
        [top, torch.cat([mixed.mT, block(0.5 * residual.square() * precision, of_scale, of_scale)], -1)], -2
    )


def _missing(part: Part, factor: Tensor, latent: Tensor) -> Tensor:
    """Rows a with Σ a aᵀ = Sᵀ Σ_i Var[∂ log p(x_i, z)] S, (n, D p + h)."""
    z, w, share, of_mean, of_scale, residual, precision = part
    lower = tuple(torch.tril_indices(z.shape[-1], z.shape[-1]))
    by_mean, by_scale = residual * precision, 0.5 * (residual.square() * precision - 1)
    by_latent = latent * torch.cat(
        [z, (z.unsqueeze(-1) * z.unsqueeze(-2) - torch.eye(z.shape[-1]).to(z))[..., *lower]], -1
    )
    rows = []
    # A few frames are done at a time: a row is as long as all weights.
    for wi, si, v, u, g, h, l in zip(
        *(of.split(25) for of in (w, share, of_mean, of_scale, by_mean, by_scale, by_latent)), strict=True
    ):
        score = torch.cat([g.unsqueeze(-1) * v.unsqueeze(-2), h.unsqueeze(-1) * u.unsqueeze(-2)], -1)
        score = torch.cat(
            [(score.flatten(0, 1).transpose(0, 1) @ factor).transpose(0, 1).reshape(*wi.shape, -1), l], -1
        )
        apart = (si.unsqueeze(-1) * wi).sqrt().unsqueeze(-1) * (score - (wi.unsqueeze(-1) * score).sum(1, keepdim=True))
        values, vectors = torch.linalg.eigh(apart @ apart.mT)
        count = int((values > RANK * values[:, -1:]).sum(-1).max())
        rows.append((vectors[..., -count:].mT @ apart).flatten(0, 1))
    return torch.cat(rows)


def _directions(rows: Tensor) -> tuple[Tensor, Tensor]:
    """1 minus the eigenvalues of Σ a aᵀ, (k,), what is known of what would be known with z, and its eigenvectors, (k,
    P).
    """
    if len(rows) > rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        return 1 - values[-KEPT:], vectors.T[-KEPT:]
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    values = values[-KEPT:]
    return 1 - values, (vectors.T[-KEPT:] @ rows) / values.clamp_min(1e-300).sqrt().unsqueeze(-1)
