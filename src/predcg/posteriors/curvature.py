"""Second derivatives of a decoder's log-likelihood by what its linear layers put out, and through them by all of its
weights.

The output h of a linear layer is linear in its weights θ: h_a = Σ_b θ_ab v_b, with v the layer's input and a last 1 for
the bias. So ∂²ℓ/∂θ_ab∂θ_ac = v_b v_c ∂²ℓ/∂h_a² exactly, and the few hundred derivatives by h stand for those by tens of
thousands of weights.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model

CHUNK = 250  # So many frames are done at a time: the derivatives of a hundred units by one another then fill 20 MB.
Curvature = dict[str, tuple[Tensor, Tensor]]


def exact(model: Model, batch: Batch) -> Curvature:
    """For each linear layer of the decoder the inputs v, (N, in + 1), and -∂² log p(x|z) / ∂h_a², (N, out), in float64,
    at z = cv(x).
    """

    def curvature(decoder: nn.Module, z: Tensor, x: Tensor, h: dict[str, Tensor]) -> list[Tensor]:
        log_p = decoder(z).log_prob(x).sum()
        slopes = torch.autograd.grad(log_p, list(h.values()), create_graph=True)
        return [
            -_by_unit(slope, [here])[0].diagonal(dim1=0, dim2=2) for slope, here in zip(slopes, h.values(), strict=True)
        ]

    return _curvature(model, batch, curvature)


def gauss_newton(model: Model, batch: Batch) -> Curvature:
    """As `exact`, with the Fisher information in place of the second derivative: never negative, and equal on average
    if the model is right.

    Of N(μ, diag σ²) it is Σ_d (∂μ_d/∂h_a)² / σ_d² + 2 (∂ log σ_d/∂h_a)². Raises InputError when the decoder is not
    Gaussian.
    """

    def curvature(decoder: nn.Module, z: Tensor, x: Tensor, h: dict[str, Tensor]) -> list[Tensor]:
        base = decoder.base(decoder.features(z))
        normal = getattr(base, "base_dist", base)
        if not isinstance(normal, Normal):
            raise InputError(
                f"posterior: Gauss-Newton expects a Gaussian decoder; found {type(normal).__name__}; choose"
                " posterior=conditional_laplace"
            )
        outputs = (normal.loc / normal.scale.detach(), 2**0.5 * normal.scale.log())
        slopes = [_by_unit(output, list(h.values())) for output in outputs if output.requires_grad]
        return [sum(slope.square().sum(0) for slope in column) for column in zip(*slopes, strict=True)]

    return _curvature(model, batch, curvature)


def _by_unit(y: Tensor, h: list[Tensor]) -> list[Tensor]:
    """∂y_d/∂h_a of every frame, (units of y, N, units of h), for each h; frames do not act on one another."""
    directions = torch.eye(y.shape[-1], dtype=y.dtype, device=y.device).unsqueeze(1).expand(-1, len(y), -1)
    slopes = torch.autograd.grad(y, h, directions, retain_graph=True, is_grads_batched=True, allow_unused=True)
    return [
        torch.zeros(1, *here.shape).to(here) if slope is None else slope for slope, here in zip(slopes, h, strict=True)
    ]


def _curvature(model: Model, batch: Batch, curvature: Callable[..., list[Tensor]]) -> Curvature:
    double = copy.deepcopy(model).double().requires_grad_(False)
    layers = {name: layer for name, layer in double.decoder.named_modules() if isinstance(layer, nn.Linear)}
    elsewhere = sum(p.numel() for p in double.decoder.parameters() if p.ndim >= 2) - sum(
        layer.weight.numel() for layer in layers.values()
    )
    if elsewhere or not layers:
        raise InputError(
            f"posterior: expected a decoder whose weights are all in torch.nn.Linear; {elsewhere} are elsewhere; choose"
            " posterior=none"
        )
    v: dict[str, Tensor] = {}
    h: dict[str, Tensor] = {}
    for name, layer in layers.items():

        def watch(module: nn.Module, arguments: tuple[Tensor], output: Tensor, name: str = name) -> Tensor:
            v[name] = nn.functional.pad(arguments[0].detach(), (0, 1), value=1.0)
            h[name] = torch.zeros_like(output, requires_grad=True)  # It is there to differentiate by.
            return output + h[name]

        layer.register_forward_hook(watch)
    parts = []
    for x in batch.x.double().split(CHUNK):
        found = curvature(double.decoder, double.cv(x), x, h)
        parts.append({name: (v[name], here.detach()) for name, here in zip(h, found, strict=True)})
    return {name: tuple(map(torch.cat, zip(*(part[name] for part in parts), strict=True))) for name in layers}
