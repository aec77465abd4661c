"""Couplings: against zuko's, against autograd, and how often their network is called."""

import math

import pytest
import torch
from torch import nn
from zuko.flows.coupling import GeneralCouplingTransform

from predcg.densities.couplings import AffineCoupling, CircularCoupling

NET = {"hidden_features": (6,), "activation": nn.SiLU}
SEEN = torch.tensor([True, False, False, True, False])


def test_the_affine_one_is_the_coupling_of_zuko():
    """So that weights learned with that one mean the same."""
    theirs, ours = GeneralCouplingTransform(5, 2, SEEN, **NET), AffineCoupling(SEEN, 2, NET)
    ours.load_state_dict(theirs.state_dict())
    x, c = 3 * torch.randn(7, 5), torch.randn(7, 2)
    for one, other in zip(theirs(c).call_and_ladj(x), ours(c).call_and_ladj(x), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert torch.allclose(theirs(c).inv(x), ours(c).inv(x), atol=1e-5)


@pytest.mark.parametrize("coupling", [AffineCoupling(SEEN, 2, NET), CircularCoupling(SEEN, 2, 8, NET)])
def test_there_and_back_with_its_jacobian_and_one_call_of_its_network(coupling):
    coupling, calls = coupling.double(), []
    coupling.hyper.register_forward_hook(lambda *_: calls.append(1))
    c = torch.randn(2, dtype=torch.float64)
    x = math.pi * (2 * torch.rand(5, dtype=torch.float64) - 1)
    y, log_det = coupling(c).call_and_ladj(x)
    back, log_back = coupling(c).inv.call_and_ladj(y)
    assert len(calls) == 2
    assert torch.allclose(back, x) and torch.allclose(log_back, -log_det)
    jacobian = torch.autograd.functional.jacobian(coupling(c), x)
    assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, log_det)
    assert torch.equal(y[SEEN], x[SEEN]) and not torch.isclose(y[~SEEN], x[~SEEN]).any()
