"""Training: the loader, tempering, and a resume that is equal bit by bit."""

from itertools import chain, repeat
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.objectives import ForwardKL, Mixed, ReverseKL
from predcg.priors import Flat, Gaussian
from predcg.systems import DoubleWell, Harmonic
from predcg.training import Tempering, Training, fit, read_checkpoint, read_history
from predcg.training.history import History
from predcg.training.loader import Loader


def frames(count):
    return Batch.of(torch.arange(float(count))[:, None])


def test_every_pass_of_the_loader_sees_every_frame_once():
    steps = [batch.x.flatten() for batch in Loader(frames(10), batch_size=4, steps=6)]
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2]
    for one_pass in (steps[:3], steps[3:]):
        assert sorted(torch.cat(one_pass).tolist()) == list(range(10))
    assert not torch.equal(torch.cat(steps[:3]), torch.cat(steps[3:]))


def test_the_loader_without_frames_still_counts_steps():
    batches = list(Loader(Batch.of(torch.zeros(0, 2)), 4, 3))
    assert [batch.x.shape for batch in batches] == [(0, 2)] * 3


def test_processes_share_the_frames_of_a_pass(monkeypatch):
    import predcg.training.loader as loader

    monkeypatch.setattr(loader, "is_initialized", lambda: True)
    monkeypatch.setattr(loader, "get_world_size", lambda: 2)
    seen = []
    for rank in range(2):
        monkeypatch.setattr(loader, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(5)
        seen += [x for batch in Loader(frames(8), 4, 1) for x in batch.x.flatten().tolist()]
    assert sorted(seen) == list(range(8))


class Interrupt(pl.Callback):
    """Ctrl-C in the middle of a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def train(linear, folder, steps, callbacks=(), objective=None, prior=None):
    """A small training of every part that has state: data order, noise, optimiser, schedule, tempering."""
    torch.manual_seed(7)
    objective = objective or Mixed(0.5, ForwardKL(2), ReverseKL(16))
    data = Data(frames(10), frames(3))

    def optimizer(parameters):
        return torch.optim.Adam(parameters, lr=1e-2)

    def scheduler(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)

    def trainer(**more):
        return pl.Trainer(max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, log_every_n_steps=2, **more)

    module = Training(linear.model(), Harmonic([1.0]), prior or Flat(), objective, optimizer, scheduler)
    tempering = Tempering(start=0.1, growth=1.5, increment=0.1, steps=3)
    fit(module, data, trainer, [tempering, *callbacks], [], folder, batch_size=4, epoch_steps=5)
    return module


@pytest.mark.parametrize("stop", [10, 13, 19])
def test_an_interrupted_training_resumes_bit_by_bit(stop, linear, tmp_path):
    whole = train(linear, tmp_path / "whole", 25)
    with pytest.raises(KeyboardInterrupt):
        train(linear, tmp_path / "parts", 25, [Interrupt(stop)])
    assert read_checkpoint(tmp_path / "parts/checkpoints/last.ckpt")["global_step"] == stop // 5 * 5
    resumed = train(linear, tmp_path / "parts", 25)
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert resumed.objective.beta == whole.objective.beta < 1
    assert read_history(tmp_path / "parts/metrics.csv") == read_history(tmp_path / "whole/metrics.csv")


def test_the_last_checkpoint_is_the_last_also_when_the_held_out_loss_rises(linear, tmp_path):
    module = train(linear, tmp_path, 20)
    last, best = (read_checkpoint(tmp_path / f"checkpoints/{name}.ckpt") for name in ("last", "best"))
    assert last["global_step"] == 20
    for name, value in module.state_dict().items():
        assert torch.equal(last["state_dict"][name], value)
    held_out = {row["step"]: row["val/loss"] for row in read_history(tmp_path / "metrics.csv") if "val/loss" in row}
    assert best["global_step"] == min(held_out, key=held_out.get)


def test_maximum_likelihood_finds_the_exact_answer():
    """A linear-Gaussian decoder on Gaussian data: the marginal variance a² + σ² is the data's."""
    from conftest import Linear

    data = torch.randn(2000, 1) * 2.0
    module = Training(Linear().model(), Harmonic([2.0]), Flat(), ForwardKL(4), lambda p: torch.optim.Adam(p, 2e-2))
    optimizer = module.configure_optimizers()
    for _ in range(1500):
        optimizer.zero_grad()
        module.objective(module.model, module.system, Batch.of(data[torch.randint(2000, (200,))])).loss.backward()
        optimizer.step()
    assert module.model.generate(100_000).var().item() == pytest.approx(data.var().item(), rel=0.05)


def test_the_prior_enters_the_loss(linear, tmp_path):
    train(linear, tmp_path, 5, prior=Gaussian(weight=0.1, tau=2.0))
    row = next(row for row in read_history(tmp_path / "metrics.csv") if "train/log_prior" in row)
    first_weights = linear.a**2 + 1.0  # of the trunk, 1, and of the mean, a
    assert row["train/log_prior"] == pytest.approx(-0.5 * 2.0 * 0.1 * first_weights, rel=1e-5)


def test_tempering_rises_by_growth_and_increment_to_one(linear, tmp_path):
    class Betas(pl.Callback):
        seen = []

        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            self.seen.append(round(module.objective.beta.item(), 4))

    train(linear, tmp_path, 40, [Betas()])
    assert Betas.seen[:12] == [0.1] * 3 + [0.15] * 3 + [0.225] * 3 + [0.325] * 3
    assert Betas.seen[-1] == 1.0 and Betas.seen == sorted(Betas.seen)


def test_tempering_is_checked():
    with pytest.raises(InputError, match="start"):
        Tempering(start=0.0, growth=2.0, increment=0.1, steps=1)
    with pytest.raises(InputError, match="growth"):
        Tempering(start=0.1, growth=1.0, increment=0.1, steps=1)


def test_a_loss_that_is_not_finite_ends_the_training(linear, tmp_path):
    class Broken(ForwardKL):
        def forward(self, *nouns):
            terms = super().forward(*nouns)
            return terms._replace(loss=terms.loss * torch.nan)

    with pytest.raises(FloatingPointError, match="loss is nan at step 0"):
        train(linear, tmp_path, 5, objective=Broken())


def test_a_corrupted_checkpoint_is_named(linear, tmp_path):
    train(linear, tmp_path, 5)
    path: Path = tmp_path / "checkpoints/last.ckpt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="last.ckpt cannot be read"):
        train(linear, tmp_path, 10)


def test_checkpoints_hold_plain_python_only(linear, tmp_path):
    train(linear, tmp_path, 5)
    content = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert content["state_dict"]["objective.beta"].item() == pytest.approx(0.15)
    assert content["callbacks"]["Tempering"] == {"until": 6}


def test_history_goes_on_where_it_was_cut(tmp_path):
    history = History(tmp_path / "metrics.csv")
    for step in range(4):
        history.log_metrics({"loss": float(step), "epoch": 0}, step)
    history.log_metrics({"val": 7.0}, 3)
    history.save()
    resumed = History(tmp_path / "metrics.csv")
    resumed.truncate(1)
    resumed.log_metrics({"loss": 9.0}, 2)
    resumed.save()
    assert read_history(tmp_path / "metrics.csv") == [{"step": 0, "loss": 0.0}, {"step": 1, "loss": 1.0}, {"step": 2, "loss": 9.0}]


def test_bounds_need_no_more_than_the_system(tmp_path):
    from functools import partial

    from predcg.densities import FreeScale, GaussianMLP, StandardNormal
    from predcg.model import Model
    from predcg.training import LogZBounds

    net = partial(GaussianMLP, hidden=[4], activations=["Tanh"], scale=FreeScale)
    model = Model(StandardNormal(1), net(1, 2), net(2, 1))
    module = Training(model, DoubleWell(), Flat(), ReverseKL(8), lambda p: torch.optim.Adam(p, 1e-3))
    nothing = Data(Batch.of(torch.zeros(0, 2)), Batch.of(torch.zeros(0, 2)))
    trainer = lambda **more: pl.Trainer(max_steps=2, max_epochs=-1, accelerator="cpu", devices=1, **more)  # noqa: E731
    fit(module, nothing, trainer, [LogZBounds(200, 4)], [], tmp_path, 4, 2)
    row = read_history(tmp_path / "metrics.csv")[-1]
    exact = DoubleWell().exact()["log_z"]
    assert row["sample/log_z_lower"] < exact < row["sample/log_z_upper"]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_lightning_carries_and_computes_nothing(clip, tmp_path):
    """Two epochs and a half through `fit` leave the parameters of the plain loop, bit by bit."""
    from conftest import Linear

    def begin():
        torch.manual_seed(7)
        objective = Mixed(0.5, ForwardKL(2), ReverseKL(16))
        return Training(Linear().model(), Harmonic([1.0]), Gaussian(weight=0.1), objective, lambda p: torch.optim.Adam(p, 1e-2, fused=True))

    def trainer(**more):
        return pl.Trainer(max_steps=12, max_epochs=-1, accelerator="cpu", devices=1, gradient_clip_val=clip, **more)

    carried, data = begin(), Data(frames(10), frames(0))
    fit(carried, data, trainer, [], [], tmp_path, batch_size=4, epoch_steps=5)
    plain = begin()
    optimizer = plain.configure_optimizers()
    for _, batch in zip(range(12), chain.from_iterable(repeat(Loader(data.train, 4, 5))), strict=False):
        optimizer.zero_grad()
        loss = plain.objective(plain.model, plain.system, batch).loss - plain.prior(plain.model.decoder)
        loss.backward()
        if clip:
            assert torch.nn.utils.clip_grad_norm_(plain.parameters(), clip) > clip
        optimizer.step()
    for (name, one), other in zip(carried.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other), name
