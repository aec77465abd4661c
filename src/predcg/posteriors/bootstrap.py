"""An ensemble of the whole model, each member trained again on frames that a Bayesian bootstrap weighs: for any density
that can be sampled and evaluated.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import Gamma
from torch.func import functional_call, grad_and_value, vmap

from predcg.batch import Batch
from predcg.model import Model
from predcg.posteriors.posterior import Posterior, WeightPosterior, needs_data
from predcg.priors import Prior
from predcg.progress import progress
from predcg.ranges import PositiveFloat, PositiveInt


class Members(WeightPosterior):
    """Equally likely sets of the parameters of latent density, decoder and encoder.

    Args:
        spread: by a parameter's name in the model, its values in all K members, (K, ...).
    """

    def models(self, model: Model) -> Iterator[Model]:
        """The members, one after another, in one copy of the model."""
        twin = copy.deepcopy(model)
        for member in range(len(next(iter(self.spread.values())))):
            twin.load_state_dict({name: values[member] for name, values in self.spread.items()}, strict=False)
            yield twin

    @torch.no_grad()
    def predict(self, model: Model, draws: int, frames: int) -> Iterator[Tensor]:
        """For each of `draws` draws, `frames` configurations of a member, (frames, D); members come up equally often,
        give or take one.
        """
        members = len(next(iter(self.spread.values())))
        for member, twin in enumerate(self.models(model)):
            for _ in range(member, draws, members):
                yield twin.generate(frames)


class Bootstrap(Posterior):
    """What frames leave open of all parameters, by K members trained again from the trained ones.

    Member k maximises Σ_i s_ki log p(x_i | θ) + prior(θ), with the importance-weighted bound in place of log p(x | θ) =
    log ∫ p(x|z, θ) p(z|θ) dz and shares s_k of the frames that are in proportion to w_i e_ki. With e_ki ~ Gamma(1)
    shares are Dirichlet distributed: what is not known is how many of all possible frames are like each one seen. With
    Gamma(1 / g) spreads are √g times as large, as of N / g frames: the variance of a mean over correlated frames.
    Members begin in one maximum, so that other maxima are not in their spread, and neither is what no θ can do.

    Args:
        members: K.
        steps: of Adam for each, in minibatches of `batch_size` frames, at a rate that falls from `lr` to zero as a
            cosine.
        samples: latent draws of each frame, see Model.log_prob.
        inefficiency: statistical inefficiency g of the frames, 1 + 2 Σ_t of their autocorrelation; 1 where they are
            independent.

    Raises:
        InputError: no data.
        FloatingPointError: a loss that is not finite.

    Source: Rubin 1981, Ann. Stat. 9, 130 (the Bayesian bootstrap); Newton and Raftery 1994, J. R. Stat. Soc. B 56, 3
    (weighted likelihood); Lakshminarayanan, Pritzel, Blundell 2017 (ensembles of networks).

    >>> from predcg.densities import FreeScale, GaussianMLP, StandardNormal
    >>> from predcg.priors import Flat
    >>> net = {"hidden": [], "activations": [], "scale": FreeScale}
    >>> model = Model(StandardNormal(1), GaussianMLP(1, 3, **net), GaussianMLP(3, 1, **net))
    >>> weights = Bootstrap(members=4, steps=5)(model, Flat(), Batch.of(torch.randn(25, 3)))
    >>> [x.shape for x in weights.predict(model, draws=2, frames=7)]
    [torch.Size([7, 3]), torch.Size([7, 3])]
    """

    kind = Members

    def __init__(
        self,
        members: PositiveInt = 20,
        steps: PositiveInt = 500,
        batch_size: PositiveInt = 32,
        lr: PositiveFloat = 1e-3,
        samples: PositiveInt = 8,
        inefficiency: PositiveFloat = 1.0,
    ):
        self.members, self.steps, self.batch_size, self.lr = members, steps, batch_size, lr
        self.samples, self.inefficiency = samples, inefficiency

    def __call__(self, model: Model, prior: Prior, batch: Batch) -> Members:
        needs_data(batch)
        return self._train(model, prior, batch, self.steps)

    def rehearse(self, model: Model, prior: Prior, batch: Batch) -> None:
        needs_data(batch)
        self._train(model, prior, batch, 1)

    def _train(self, model: Model, prior: Prior, batch: Batch, steps: int) -> Members:
        n, x = len(batch), batch.x
        shares = batch.w * Gamma(1 / self.inefficiency, 1.0).sample((self.members, n)).to(x)
        shares = n * shares / shares.sum(-1, keepdim=True).clamp_min(1e-30)
        target = _Target(model, prior, self.samples)
        theta = {
            name: parameter.detach().expand(self.members, *parameter.shape).clone().requires_grad_()
            for name, parameter in target.named_parameters()
        }
        # All members at once, which takes half as long as one after another; frames go to each, since zuko's couplings
        # write what depends on a member into what does not.
        slopes = vmap(
            grad_and_value(lambda theta, x, share: functional_call(target, theta, (x, share))),
            randomness="different",
        )
        optimizer = torch.optim.Adam(theta.values(), self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        bar = progress(steps, f"{self.members} members", shown=steps > 1)
        order = torch.randperm(n)
        for _ in range(steps):
            if not len(order):
                order = torch.randperm(n)
            seen, order = order[: self.batch_size], order[self.batch_size :]
            found, loss = slopes(
                {name: values.detach() for name, values in theta.items()},
                x[seen].expand(self.members, -1, -1),
                shares[:, seen],
            )
            if not loss.isfinite().all():
                raise FloatingPointError("posterior: the loss of a member is not finite; lower posterior.lr")
            for name, values in theta.items():
                values.grad = found[name]
            optimizer.step()
            schedule.step()
            bar.update()
        bar.close()
        return Members({name.removeprefix("model."): values.detach() for name, values in theta.items()})


class _Target(nn.Module):
    """-Σ_i s_i log p(x_i | θ) / n - prior(θ), of one member in one minibatch."""

    def __init__(self, model: Model, prior: Prior, samples: int):
        super().__init__()
        self.model, self.prior, self.samples = model, prior, samples

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        log_p = self.model.log_prob(x, self.samples)
        return -(share * log_p).mean() - self.prior(self.model.latent, self.model.decoder)
