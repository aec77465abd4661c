"""A bound on the gradient of each sample, in the coordinates where it stands."""

import torch
from torch import Tensor

from predcg.ranges import PositiveFloat
from predcg.transforms.transform import Transform


class Capped(Transform):
    """y = x; on the way back from gradients, those of single samples are at most `cap` times the batch's median in
    length.

    One clash among a thousand samples has a gradient that outweighs all others. Stands in the chain of a decoder's
    transforms where lengths of gradients are comparable: after InternalCoordinates a sample's is about √D.

    Args:
        cap: longest gradient, in units of the median over the batch.
    """

    def __init__(self, cap: PositiveFloat):
        super().__init__()
        self.cap = cap

    def _call(self, x: Tensor) -> Tensor:
        return _Cap.apply(x, self.cap)

    def _inverse(self, y: Tensor) -> Tensor:
        return _Cap.apply(y, self.cap)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


class _Cap(torch.autograd.Function):
    generate_vmap_rule = True  # of several models at once, each by itself

    @staticmethod
    def forward(x: Tensor, cap: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.cap = inputs[1]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        length = grad.norm(dim=-1, keepdim=True)
        return grad * (ctx.cap * length.median() / length.clamp_min(1e-30)).clamp_max(1.0), None
