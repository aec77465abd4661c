"""Densities: one contract for all, and exact answers."""

import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch

from predcg import densities
from predcg.densities import (
    DeterministicMLP,
    Flow,
    FreeScale,
    GaussianMLP,
    NetScale,
    StandardNormal,
    TrunkScale,
    sample_with_log_prob,
)
from predcg.errors import InputError
from predcg.observables import Dihedrals
from predcg.transforms import Chain, RigidFrame, Unit, Whitening


@pytest.mark.parametrize("size", [2, 0])
def test_log_prob_has_the_batch_shape_of_the_context(size, conditional):
    density = conditional(size, 3)
    context = torch.randn(4, 5, size)
    sample = density(context).sample()
    assert sample.shape == (4, 5, 3)
    log_prob = density(context).log_prob(sample)
    assert log_prob.shape == (4, 5) and torch.isfinite(log_prob).all()
    assert torch.allclose(density(context.view(20, size)).log_prob(sample.view(20, 3)).view(4, 5), log_prob, atol=1e-5)


def test_density_integrates_to_one(conditional):
    if conditional.func is DeterministicMLP:
        density = conditional(1, 2)
        value = density.location(torch.zeros(1))
        assert density(torch.zeros(1)).log_prob(value) == 0 and density(torch.zeros(1)).log_prob(value + 1) == -math.inf
        return
    axis = torch.linspace(-12, 12, 601)
    grid = torch.cartesian_prod(axis, axis)
    log_prob = conditional(1, 2)(torch.tensor([0.3])).log_prob(grid)
    assert (log_prob.double().exp().sum() * (24 / 600) ** 2).item() == pytest.approx(1, abs=1e-3)


def test_samples_have_the_location_as_mean(conditional):
    density = conditional(2, 3)
    context = torch.randn(2)
    sample = density(context).sample((100_000,))
    error = sample.std(0) / math.sqrt(len(sample))
    assert ((sample.mean(0) - density.location(context)).abs() <= 5 * error + 1e-6).all()


def test_a_sample_comes_with_its_log_density(conditional):
    distribution = conditional(2, 3)(torch.randn(7, 2))
    if not distribution.has_rsample:
        with pytest.raises(InputError, match="needs reparametrised samples"):
            sample_with_log_prob(distribution)
        return
    sample, log_prob = sample_with_log_prob(distribution, (4,))
    assert sample.requires_grad
    assert torch.allclose(log_prob, distribution.log_prob(sample), atol=1e-5)


def test_a_transform_carries_the_density(conditional, ala2):
    """p(x) = p(y) |dy/dx|, with y the coordinates of the molecule's frame in Å."""
    transform = Chain([RigidFrame([6, 8, 14]), Unit(0.1)])
    density = conditional(2, 66, transform=transform)
    context, x = torch.randn(3, 2), ala2.start(3)
    y = transform(x)
    if conditional.func is DeterministicMLP:
        frozen = density.location(context)[:, [18, 19, 20, 24, 25, 43]]
        assert torch.equal(frozen, torch.zeros(3, 6))
        return
    expected = density.base(context).log_prob(y) + transform.log_abs_det_jacobian(x, y)
    assert torch.allclose(density(context).log_prob(x), expected, rtol=1e-5)
    assert density(context).sample().shape == density.location(context).shape == (3, 66)


def test_features_are_what_the_network_sees(conditional, ala2):
    density = conditional(66, 2, features=Dihedrals([[4, 6, 8, 14], [6, 8, 14, 16]]))
    x = ala2.start(3)
    moved = (x.view(3, 22, 3) + torch.tensor([1.0, 2.0, 3.0])).flatten(1)
    assert density.inputs == 2
    assert torch.allclose(density.location(x), density.location(moved), atol=1e-4)


def test_fit_reaches_the_transforms(conditional):
    density = conditional(3, 2, features=Whitening(3), transform=Whitening(2))
    context, event = 5 + 2 * torch.randn(500, 3), -3 + 0.1 * torch.randn(500, 2)
    density.fit(context, event)
    assert density.features(context).mean(0).abs().max() < 1e-4
    assert torch.allclose(density.transform(event).T.cov(correction=0), torch.eye(2), atol=1e-3)


def test_standard_normal_is_exact():
    x = torch.randn(10, 3)
    expected = -0.5 * (x**2).sum(-1) - 1.5 * math.log(2 * math.pi)
    assert torch.allclose(StandardNormal(3)().log_prob(x), expected)


@pytest.mark.parametrize(
    ("scale", "depends"),
    [
        (partial(FreeScale, init=-2.0), False),
        (TrunkScale, True),
        (partial(NetScale, hidden=[4], activations=["Tanh"]), True),
    ],
)
def test_scales_depend_on_the_context_as_named(scale, depends):
    density = GaussianMLP(2, 3, [8], ["Tanh"], scale)
    stddev = density(torch.randn(2, 2)).stddev
    assert torch.equal(stddev[0], stddev[1]) is not depends
    if not depends:
        assert stddev[0].tolist() == pytest.approx([math.exp(-1.0)] * 3)


def test_activations_are_applied_layer_by_layer():
    density = GaussianMLP(1, 1, [1, 1], ["LogSigmoid", "Tanh"], FreeScale)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.fill_(1.0)
    log_sigmoid = -math.log1p(math.exp(-(0.5 + 1)))
    assert density.location(torch.tensor([0.5])).item() == pytest.approx(np.tanh(log_sigmoid + 1) + 1, abs=1e-6)


def test_activations_are_checked():
    with pytest.raises(InputError, match="one per hidden layer, 2"):
        GaussianMLP(1, 1, [4, 4], ["Tanh"], FreeScale)
    with pytest.raises(InputError, match="names in torch.nn"):
        GaussianMLP(1, 1, [4], ["Sinus"], FreeScale)


def test_gain_multiplies_the_first_layers_alone():
    def seeded(gain):
        torch.manual_seed(3)
        net = {"hidden": [4, 4], "activations": ["Tanh", "Tanh"], "gain": gain}
        return GaussianMLP(1, 2, scale=partial(NetScale, **net), **net)

    for (name, one), other in zip(seeded(1.0).named_parameters(), seeded(4.0).parameters(), strict=True):
        assert torch.equal(4 * one if name.startswith(("trunk.0.", "scale.net.0.")) else one, other), name
        assert one.any()


def torus(rounds: int, folds: tuple[int, ...] = (1, 3), others: int = 1, context: int = 1, noise: float = 0.2) -> Flow:
    """Two angles and one other coordinate unless said, so far from where training starts."""
    flow = Flow(context, len(folds) + others, folds=folds, bins=6, rounds=rounds, couplings=2, hidden=[8]).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += noise * torch.randn_like(parameter)
    return flow


@pytest.mark.parametrize("rounds", [0, 2])
def test_flow_on_a_torus_integrates_to_one(rounds):
    angle = (torch.arange(60, dtype=torch.float64) + 0.5) / 60 * 2 * math.pi - math.pi
    with torch.no_grad():
        q = torus(rounds)(torch.tensor([0.3], dtype=torch.float64))
        sample, log_q = q.rsample_and_log_prob((20_000,))
        assert torch.allclose(q.log_prob(sample), log_q, atol=1e-8)
        # The real coordinate by importance sampling from its own range, the angles by quadrature.
        s = sample[:, 2]
        axis = torch.linspace(s.mean() - 8 * s.std(), s.mean() + 8 * s.std(), 80, dtype=torch.float64)
        mass = sum(
            q.log_prob(torch.cartesian_prod(angle, angle, axis[i : i + 20])).exp().sum() for i in range(0, 80, 20)
        )
    assert (mass * (2 * math.pi / 60) ** 2 * (axis[1] - axis[0])).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize(
    ("folds", "others"), [(folds, others) for folds in ((), (1,), (1, 3)) for others in (0, 1, 2) if folds or others]
)
def test_flow_of_few_coordinates_integrates_to_one(folds, others, rounds, context):
    """Mean of q(y) / r(y) over draws of a wider r: uniform angles, and Student's t with 3 degrees of freedom."""
    flow, wide = (
        torus(rounds, folds, others, context, noise=0.05),
        torch.distributions.StudentT(torch.full((others,), 3.0, dtype=torch.float64), 0.0, 1.5),
    )
    c = torch.full((context,), 0.3, dtype=torch.float64)
    sample, log_q = flow(c).rsample_and_log_prob((7,))
    assert torch.allclose(flow(c).log_prob(sample), log_q, atol=1e-8) and flow.location(c).shape == (
        len(folds) + others,
    )
    (log_q.sum() + (sample**2).sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in flow.parameters())
    with torch.no_grad():
        t, s = 2 * math.pi * torch.rand(10_000, len(folds), dtype=torch.float64) - math.pi, wide.sample((10_000,))
        ratio = (
            flow(c).log_prob(torch.cat([t, s], -1)) - wide.log_prob(s).sum(-1) + len(folds) * math.log(2 * math.pi)
        ).exp()
    error = (ratio.std() / len(ratio) ** 0.5).item()
    assert ratio.mean().item() == pytest.approx(1, abs=4 * error + 1e-6) and error < 0.05


@pytest.mark.parametrize("rounds", [0, 2])
def test_flow_has_no_seam(rounds):
    q = torus(rounds)(torch.tensor([0.3], dtype=torch.float64))
    edge = math.pi - 1e-9
    one, other = (
        torch.tensor([[edge, 0.4, 0.1], [0.7, edge, 0.1]], dtype=torch.float64),
        torch.tensor([[-edge, 0.4, 0.1], [0.7, -edge, 0.1]], dtype=torch.float64),
    )
    assert torch.allclose(q.log_prob(one), q.log_prob(other), atol=1e-5)


def test_flow_is_the_density_of_what_its_noise_is_carried_to():
    """log q against the noise's density and the determinant that autograd finds of the map from noise to s, given t."""
    flow = Flow(context=1, size=4, folds=[1], bins=6, rounds=0, couplings=2, hidden=[8]).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    q = flow.base(torch.tensor([0.3], dtype=torch.float64))
    t, noise = torch.tensor([0.8], dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    others = q._others(t, q.h)
    forward = others.transform.inv
    slope = torch.autograd.functional.jacobian(forward, noise)
    expected = -0.5 * noise @ noise - 1.5 * math.log(2 * math.pi) - torch.linalg.slogdet(slope).logabsdet
    angle = q.turned(q.h).log_prob(t)
    y = torch.cat([t, forward(noise)])
    for shape in ((), (1,), (2, 5)):  # the matrix is inverted for any number of events at once
        assert torch.allclose(q.log_prob(y.expand(*shape, -1)), (expected + angle).expand(shape))


def test_the_gain_of_a_flow_is_that_of_its_initial_means():
    """Means of angles turn over the range of z in proportion to both layers' factors while they are small."""
    z = torch.linspace(-2, 2, 41).unsqueeze(-1)
    means = []
    for gain in (1.0, 4.0):
        torch.manual_seed(3)
        flow = Flow(context=1, size=2, folds=[1, 1], bins=4, rounds=0, couplings=0, hidden=[16, 16], gain=gain)
        means.append(flow._turned(z).centre)
    assert means[1].diff(dim=0).abs().sum() > 8 * means[0].diff(dim=0).abs().sum()


@pytest.mark.parametrize("widest", [0.5, 0.2, 1.0])
def test_no_wrapped_normal_of_a_flow_is_wider_than_it_may_be(widest):
    """Asked for any width, an n-fold angle comes up to the limit and not over it; by quadrature of the density around
    its centre.
    """
    settings = {} if widest == 0.5 else {"widest": widest}  # 0.5 ships
    flow = Flow(context=1, size=2, folds=[1, 3], bins=4, rounds=0, couplings=0, hidden=[8], **settings).double()
    angle = ((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000 - 0.5) * 2 * math.pi
    c, found = torch.tensor([0.3], dtype=torch.float64), []
    with torch.no_grad():
        for asked in (-1.0, 50.0):
            flow.mean[-1].bias[2:] = asked
            q = flow(c)
            near = [
                q.centre + angle.unsqueeze(-1) * axis / n
                for axis, n in zip(torch.eye(2, dtype=torch.float64), (1, 3), strict=True)
            ]
            shares = torch.stack([q.log_prob(t).softmax(0) for t in near])
            # E cos(τ - μ) = exp(-σ² / 2).
            found.append((-2 * (shares * angle.cos()).sum(-1).log()).sqrt() / torch.tensor([1, 3]))
    assert (found[0] < 0.6 * widest).all() and torch.allclose(found[1], torch.full_like(found[1], widest))


def test_flow_of_a_wider_context_than_event():
    flow = torus(2)
    context, y = torch.randn(4, 5, 1, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    expected = torch.stack([flow(c).log_prob(y) for c in context])
    assert torch.allclose(flow(context).log_prob(y), expected)


def test_standard_normal_takes_the_batch_shape_of_its_context():
    assert StandardNormal(2)(torch.zeros(4, 3)).sample().shape == (4, 2)
    assert StandardNormal(0)(torch.zeros(4, 3)).log_prob(torch.zeros(4, 0)).tolist() == [0.0] * 4


def test_branches_of_a_threefold_angle_are_equal():
    with torch.no_grad():
        q = torus(2)(torch.tensor([0.3], dtype=torch.float64))
        y = q.rsample((30_000,))
        angles = Flow(context=1, size=2, folds=[1, 3], bins=6, rounds=2, couplings=0, hidden=[8]).double()(
            torch.tensor([0.3], dtype=torch.float64)
        )
        t = angles.rsample((1000,))
        assert torch.allclose(
            angles.log_prob(t),
            angles.log_prob(t + torch.tensor([0.0, 2 * math.pi / 3], dtype=torch.float64)),
            atol=1e-6,
        )
        third = ((y[:, 1] + math.pi) / (2 * math.pi / 3)).floor()
        assert all(abs((third == k).double().mean().item() - 1 / 3) < 0.012 for k in range(3))  # four standard errors


BARE = {"hidden": [], "activations": []}
LINEAR = {
    "GaussianMLP": lambda: GaussianMLP(2, 3, **BARE, scale=TrunkScale),
    "NetScale": lambda: GaussianMLP(2, 3, **BARE, scale=partial(NetScale, **BARE, gain=2.0), gain=2.0),
    "DeterministicMLP": lambda: DeterministicMLP(2, 3, **BARE),
    "SinhArcsinh": lambda: densities.SinhArcsinh(2, 3, **BARE),
    "GaussianMixtureMLP": lambda: densities.GaussianMixtureMLP(2, 3, components=2, hidden=[]),
    "Flow": lambda: Flow(2, 3, folds=[1, 1], bins=4, rounds=1, couplings=2, hidden=[]),
    "narrow Flow": lambda: Flow(2, 3, folds=[1, 1], bins=4, rounds=0, couplings=0, hidden=[]),
    "FreeEnergyNetworks": lambda: densities.FreeEnergyNetworks(2, [-2.0, -2.0], [2.0, 2.0], members=3, hidden=[]),
}


def test_every_density_with_hidden_layers_is_among_these():
    kinds = [getattr(densities, name) for name in densities.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type) and "hidden" in inspect.signature(kind).parameters]
    assert {kind.__name__ for kind in kinds} | {"NetScale"} == {name.split()[-1] for name in LINEAR}


@pytest.mark.parametrize("kind", LINEAR)
def test_no_hidden_layers_are_a_linear_map(kind):
    """hidden=[] is a network without an activation, whose density is as good as any."""
    density = LINEAR[kind]()
    assert not any(type(part).__module__ == "torch.nn.modules.activation" for part in density.modules())
    one, other = torch.rand(2, 5, 2)
    if kind != "FreeEnergyNetworks":
        made = density(one)
        assert torch.isfinite(made.log_prob(made.sample())).all()
    # Of the others neither mean nor location is what a network puts out.
    affine = {"GaussianMLP": "location", "NetScale": "location", "DeterministicMLP": "location"}
    affine = getattr(density, (affine | {"FreeEnergyNetworks": "members"}).get(kind, ""), None)
    if affine:
        middle = affine((one + other) / 2)
        assert torch.allclose(middle, (affine(one) + affine(other)) / 2, atol=1e-5) and middle.std() > 0
