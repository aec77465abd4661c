"""Training: the loader, tempering, and a resume that is equal bit by bit."""

import math
import random
import subprocess
import sys
import time
from itertools import chain, pairwise, repeat
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging

from predcg.batch import Batch, Data
from predcg.config import compose
from predcg.errors import InputError
from predcg.objectives import ForwardKL, Mixed, Replay, ReverseKL
from predcg.priors import Flat, Gaussian
from predcg.run import run
from predcg.systems import DoubleWell, Harmonic
from predcg.training import (
    AdaptiveTempering,
    Converged,
    CosineOverRounds,
    Tempering,
    Training,
    fit,
    read_checkpoint,
    read_history,
)
from predcg.training.adaptive import overlap
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


def test_minibatches_of_weighted_frames_have_the_weighted_mean():
    """Weights over four decades: normalised minibatch by minibatch the mean would be far off; here it is right within
    the noise of resampling.
    """
    w = 10 ** torch.linspace(-2, 2, 200)
    batch = Batch(torch.arange(200.0).unsqueeze(-1), w)
    exact = batch.mean(batch.x[:, 0]).item()
    steps = list(Loader(batch, batch_size=8, steps=25 * 40))
    assert all(len(set(step.w.tolist())) == 1 for step in steps)
    means = torch.tensor([step.mean(step.x[:, 0]) for step in steps])
    naive = torch.stack(
        [part.mean(part.x[:, 0]) for part in (batch.frames(torch.randperm(200)[:8]) for _ in range(1000))]
    )
    assert abs(naive.mean().item() - exact) > 10  # what this is for
    assert means.mean().item() == pytest.approx(exact, abs=0.5)
    passes = torch.cat([step.x[:, 0] for step in steps]).view(40, 200)
    copies = torch.stack([row.long().bincount(minlength=200) for row in passes])
    assert ((copies - 200 * w / w.sum()).abs() < 1).all()


def test_all_frames_at_once_keep_their_weights():
    batch = Batch(torch.arange(5.0).unsqueeze(-1), torch.arange(1.0, 6.0))
    for step in Loader(batch, batch_size=5, steps=3):
        assert step.mean(step.x[:, 0]).item() == pytest.approx(batch.mean(batch.x[:, 0]).item())


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


def train(linear, folder, steps, callbacks=(), objective=None, prior=None, tempering=None, snapshots=None, held=3):
    """A small training of every part that has state: data order, noise, optimiser, schedule, tempering."""
    torch.manual_seed(7)
    objective = objective or Mixed(0.5, ForwardKL(2), ReverseKL(16))
    data = Data(frames(10), frames(held))

    def optimizer(parameters):
        return torch.optim.Adam(parameters, lr=1e-2)

    def scheduler(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)

    def trainer(**more):
        return pl.Trainer(max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, log_every_n_steps=2, **more)

    module = Training(linear.model(), Harmonic([1.0]), prior or Flat(), objective, optimizer, scheduler)
    tempering = tempering or Tempering(start=0.1, growth=1.5, increment=0.1, steps=3)
    fit(module, data, trainer, [tempering, *callbacks], [], folder, batch_size=4, epoch_steps=5, snapshots=snapshots)
    return module


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("stop", [10, 13, 19])
def test_an_interrupted_training_resumes_bit_by_bit(stop, adaptive, linear, tmp_path):
    def tempering():
        return AdaptiveTempering(start=0.1, increment=0.2, steps=6, most=30, block=3, draws=200) if adaptive else None

    whole = train(linear, tmp_path / "whole", 25, tempering=tempering())
    with pytest.raises(KeyboardInterrupt):
        train(linear, tmp_path / "parts", 25, [Interrupt(stop)], tempering=tempering())
    assert read_checkpoint(tmp_path / "parts/checkpoints/last.ckpt")["global_step"] == stop // 5 * 5
    resumed = train(linear, tmp_path / "parts", 25, tempering=tempering())
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert resumed.objective.beta == whole.objective.beta < 1
    assert read_history(tmp_path / "parts/metrics.csv") == read_history(tmp_path / "whole/metrics.csv")


@pytest.mark.parametrize("stop", [13, 19])
def test_replay_and_averaged_weights_resume_bit_by_bit(stop, linear, tmp_path):
    def training(folder, *callbacks):
        replay = Replay(ForwardKL(2), size=1, batch_size=8, frames=16, keep=2, every=2, samples=3)
        average = EMAWeightAveraging(decay=0.9, use_buffers=False)
        return train(
            linear, tmp_path / folder, 25, [average, *callbacks], Mixed(0.5, replay, ReverseKL(16), target_alpha=1.0)
        )

    whole = training("whole")
    with pytest.raises(KeyboardInterrupt):
        training("parts", Interrupt(stop))
    resumed = training("parts")
    last = read_checkpoint(tmp_path / "parts/checkpoints/last.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert torch.equal(value, last["state_dict"][name]), name  # which is what a run is loaded from
    assert not torch.equal(
        last["state_dict"]["model.decoder.mean.weight"], last["current_model_state"]["model.decoder.mean.weight"]
    )


def test_the_last_checkpoint_is_the_last_also_when_the_held_out_loss_rises(linear, tmp_path):
    module = train(linear, tmp_path, 20)
    last = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    assert last["global_step"] == 20
    for name, value in module.state_dict().items():
        assert torch.equal(last["state_dict"][name], value)


def test_the_best_checkpoint_has_the_highest_held_out_bound_without_the_prior_at_the_target(linear, tmp_path):
    """The prior pulls the weights towards zero all the time: with it, the first epoch would be the worst. Before β = 1,
    bounds are of other targets.
    """

    class Kept(pl.Callback):
        states = {}

        def on_train_epoch_end(self, trainer, module):
            self.states[trainer.global_step] = {
                name: value.detach().clone() for name, value in module.state_dict().items()
            }

    for folder, weight in (("flat", 0.0), ("prior", 10.0)):
        train(linear, tmp_path / folder, 60, [Kept()], prior=Gaussian(weight=weight, tau=5.0))
        rows = [row for row in read_history(tmp_path / folder / "metrics.csv") if "val/bound" in row]
        assert {row["val/beta"] == 1 for row in rows} == {False, True}
        for row in rows:
            assert row["val/bound"] == pytest.approx(-row["val/loss"] - row["val/log_prior"], rel=1e-4, abs=1e-5)
            forward, reverse = row["val/forward_bound"], row["val/reverse_bound"]
            assert row["val/bound"] == pytest.approx(0.5 * (forward + reverse), rel=1e-5)
        at_target = {row["step"]: row["val/bound"] for row in rows if row["val/beta"] == 1}
        best = read_checkpoint(tmp_path / folder / "checkpoints/best.ckpt")
        assert best["global_step"] == max(at_target, key=at_target.get)
        for name, value in Kept.states[best["global_step"]].items():
            assert torch.equal(best["state_dict"][name], value), name


@pytest.mark.parametrize("stop", [8, 13, 18])
def test_a_resumed_training_knows_which_checkpoint_was_the_best(stop, linear, tmp_path, monkeypatch):
    """Bounds on held-out frames that fall from the first epoch on: what is kept is the first epoch's, also where the
    run is interrupted right after it.
    """
    bounds = {5: -1.0, 10: -2.0, 15: -1.5, 20: -3.0}
    measure = Training._measure

    def falling(module, batch):
        loss, values = measure(module, batch)
        return loss, values if torch.is_grad_enabled() else values | {"bound": torch.tensor(bounds[module.global_step])}

    monkeypatch.setattr(Training, "_measure", falling)
    at_target = Tempering(start=1.0, growth=1.5, increment=0.1, steps=3)
    with pytest.raises(KeyboardInterrupt):
        train(linear, tmp_path, 20, [Interrupt(stop)], tempering=at_target)
    train(linear, tmp_path, 20, tempering=at_target)
    assert read_checkpoint(tmp_path / "checkpoints/best.ckpt")["global_step"] == 5


@pytest.mark.parametrize("held", [3, 0])
@pytest.mark.parametrize("stop", [8, 13, 19])
def test_every_callbacks_state_and_every_counter_is_that_of_an_uninterrupted_training(stop, held, linear, tmp_path):
    """All of the last checkpoint but the names of files: with held-out frames and without, when epochs once ended one
    step late.
    """

    def training(folder, *callbacks):
        average = EMAWeightAveraging(decay=0.9, use_buffers=False)
        return train(
            linear,
            folder,
            25,
            [average, Converged(window=3, tolerance=1e-9), *callbacks],
            objective=ReverseKL(16),
            held=held,
        )

    training(tmp_path / "whole")
    # In a folder of the same name, since the states of checkpoint callbacks hold it.
    (tmp_path / "whole").rename(tmp_path / "kept")
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "whole", Interrupt(stop))
    training(tmp_path / "whole")
    whole, parts = (leaves(read_checkpoint(tmp_path / name / "checkpoints/last.ckpt")) for name in ("kept", "whole"))
    assert whole.keys() == parts.keys() and any("optimizer_states" in name for name in whole)
    assert {name: (whole[name], parts[name]) for name in whole if whole[name] != parts[name]} == {}


def leaves(node, path=""):
    """Numbers, texts and the bytes of tensors in nested containers, by their path."""
    if isinstance(node, dict):
        return {name: leaf for key, child in node.items() for name, leaf in leaves(child, f"{path}.{key}").items()}
    if isinstance(node, (list, tuple)):
        return leaves(dict(enumerate(node)), path)
    return {path: (node.dtype, node.numpy().tobytes()) if isinstance(node, torch.Tensor) else repr(node)}


def test_a_training_that_had_converged_does_not_go_on(linear, tmp_path):
    """Interrupted when all steps are done and nothing else is."""
    for _ in range(2):
        train(linear, tmp_path, 25, [Converged(window=2, tolerance=1e9)])
        assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] == 4


def test_checkpoints_are_written_beside_their_place(linear, tmp_path, monkeypatch):
    """The temporary folder may be another disk, from which a file is copied: a kill would leave half of it."""
    monkeypatch.setattr("tempfile.mkstemp", lambda *args, **kwargs: pytest.fail("written elsewhere"))
    train(linear, tmp_path, 5)
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {"last.ckpt"}


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


@pytest.mark.parametrize(("steps", "reached"), [(30, False), (31, True)])
def test_tempering_that_ends_before_the_target_is_told(steps, reached, linear, tmp_path, caplog):
    module = train(linear, tmp_path, steps)
    assert (module.objective.beta == 1) == reached
    assert ("β reaches 1 after 30 steps, and there are 30" in caplog.text) == (not reached)


def test_tempering_is_checked():
    with pytest.raises(InputError, match="start"):
        Tempering(start=0.0, growth=2.0, increment=0.1, steps=1)
    with pytest.raises(InputError, match="growth"):
        Tempering(start=0.1, growth=1.0, increment=0.1, steps=1)


def test_a_loss_that_is_not_finite_ends_the_training(linear, tmp_path):
    class Broken(ForwardKL):
        def forward(self, *parts):
            terms = super().forward(*parts)
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
    assert read_history(tmp_path / "metrics.csv") == [
        {"step": 0, "loss": 0.0},
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 9.0},
    ]


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
        return Training(
            Linear().model(),
            Harmonic([1.0]),
            Gaussian(weight=0.1),
            objective,
            lambda p: torch.optim.Adam(p, 1e-2, fused=True),
        )

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


@pytest.mark.parametrize(("beta", "raised"), [(0.5, 0.7), (8.0, 9.0)])
def test_growth_is_that_of_the_exact_divergence(beta, raised, linear):
    """Of N(0, v) from N(0, s²/β), KL = ½ (r - 1 - log r) with r = β v / s²; the encoder is exact and adds nothing."""
    s, n = 1.3, 400_000
    seen = overlap(linear.model(), Harmonic([s]), beta, n)
    before, after = (b * linear.variance / s**2 for b in (beta, raised))
    before_kl, after_kl = (0.5 * (r - 1 - math.log(r)) for r in (before, after))
    assert seen.kl == pytest.approx(before_kl, abs=0.01)
    assert seen.growth(raised - beta) == pytest.approx((after_kl - before_kl) / max(before_kl, 1.0), abs=0.003)
    for r, rise in ((before, 0.0), (after, raised - beta)):
        assert seen.effective_sample_size(rise) == pytest.approx(math.sqrt(2 * r - 1) / r, rel=0.02)
    log_z, error = seen.log_z
    assert 0 < error < 0.01 and log_z == pytest.approx(math.log(s * math.sqrt(2 * math.pi / beta)), abs=4 * error)
    ratio, error = seen.log_ratio(raised - beta)
    assert 0 < error < 0.001 and ratio == pytest.approx(-0.5 * math.log(raised / beta), abs=4 * error)


def test_the_error_of_a_ratio_is_its_spread_over_repetitions(linear):
    ratios, errors = zip(
        *(overlap(linear.model(), Harmonic([1.3]), 0.5, 500).log_ratio(0.5) for _ in range(400)), strict=True
    )
    assert torch.tensor(errors).mean().item() == pytest.approx(torch.tensor(ratios).std().item(), rel=0.15)


def test_draws_without_a_finite_energy_weigh_nothing(linear):
    """A wall at 0 halves Z, and what remains is symmetric: the divergence from draws on this side is what it was."""

    class Half(Harmonic):
        def energy(self, x):
            return torch.where(x[..., 0] > 0, super().energy(x), torch.inf)

    seen, r = overlap(linear.model(), Half([1.3]), 0.5, 400_000), 0.5 * linear.variance / 1.3**2
    log_z, _ = seen.log_z
    assert log_z == pytest.approx(math.log(1.3 * math.sqrt(2 * math.pi / 0.5) / 2), abs=0.01)
    assert seen.kl == pytest.approx(0.5 * (r - 1 - math.log(r)), abs=0.01)


QUICK = {"steps": 10, "most": 40, "block": 5, "draws": 4000}


def test_adaptive_tempering_sums_log_z_to_the_exact_one(linear, tmp_path):
    train(
        linear, tmp_path, 200, objective=ReverseKL(64), tempering=AdaptiveTempering(start=0.3, increment=0.2, **QUICK)
    )
    rows = [row for row in read_history(tmp_path / "metrics.csv") if "tempering/beta" in row]
    assert rows[-1]["step"] == 200 and rows[-1]["tempering/beta"] == 1.0
    for one, following in pairwise(rows):
        assert following["tempering/beta"] == pytest.approx(one["tempering/beta"] + one["tempering/rise"], rel=1e-6)
        assert one["tempering/forced"] or one["tempering/growth"] <= 0.1 or one["tempering/rise"] == 0
        assert one["tempering/rise"] <= min(2 * one["tempering/beta"], 0.2) + 1e-12
    assert 0 < rows[-1]["sample/log_z_error"] < 0.05
    for row in rows:
        for key in ("log_z", "log_z_direct"):
            exact = 0.5 * math.log(2 * math.pi / row["tempering/beta"])
            assert row[f"sample/{key}"] == pytest.approx(exact, abs=4 * row[f"sample/{key}_error"] + 1e-4), (
                row["step"],
                key,
            )


def test_backtracking_ends_in_a_forced_rise(linear, tmp_path):
    """The model is wider than the target, so that every rise takes the target further away."""
    train(
        linear,
        tmp_path,
        39,
        tempering=AdaptiveTempering(start=0.8, increment=0.05, threshold=1e-9, **QUICK | {"most": 20}),
    )
    rows = {row["step"]: row for row in read_history(tmp_path / "metrics.csv") if "tempering/beta" in row}
    assert {step for step, row in rows.items() if row["tempering/rise"] > 0} == {20}
    assert rows[20]["tempering/forced"] == 1 and rows[20]["tempering/shrunk"] == 9
    assert rows[20]["tempering/rise"] == pytest.approx(0.05 * 0.6**9)


def test_too_few_effective_draws_forbid_a_rise(linear, tmp_path):
    """At β = 0.002 the target is 14 times wider than the model, and raising β would bring it closer: the growth is
    negative.
    """
    train(linear, tmp_path, 20, tempering=AdaptiveTempering(start=0.002, **QUICK | {"most": 20, "draws": 100}))
    row = next(row for row in read_history(tmp_path / "metrics.csv") if row["step"] == 20)
    assert row["tempering/growth"] < 0 and row["tempering/forced"] == 1


def test_all_state_of_adaptive_tempering_is_in_the_checkpoint(linear, tmp_path):
    settings = {"start": 0.1, "increment": 0.2, "steps": 12, "most": 30, "block": 3, "draws": 200}
    used, fresh = (AdaptiveTempering(**settings) for _ in range(2))
    train(linear, tmp_path, 10, tempering=used)
    state = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["callbacks"]["AdaptiveTempering"]
    assert state["least"] < math.inf and state["total"] != 0  # three blocks and a third of one
    fresh.load_state_dict(state)
    assert fresh.state_dict() == used.state_dict() != AdaptiveTempering(**settings).state_dict()


def test_adaptive_tempering_is_checked():
    for wrong in (
        {"start": 0.0},
        {"growth": 1.0},
        {"threshold": 0.0},
        {"steps": 5, "block": 10},
        {"most": 10},
        {"draws": 10},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            AdaptiveTempering(**wrong)


@pytest.mark.slow
def test_a_killed_adaptive_tempering_goes_on_bit_by_bit(tmp_path):
    """SIGKILL of a process at an arbitrary moment after the first checkpoint; another goes on."""
    settings = {
        "_target_": "predcg.training.AdaptiveTempering",
        "start": 1e-4,
        "increment": 0.02,
        "steps": 10,
        "most": 20,
        "block": 5,
        "draws": 500,
    }
    overrides = [
        *("experiment=double_well/forward_kl", "objective=reverse_kl", "acquisition=none", "objective.samples=64"),
        *("steps=300", "epoch_steps=20", "trainer.log_every_n_steps=1", "logger=none", "figures=[training]"),
        *(f"+callbacks.tempering.{key}={value}" for key, value in settings.items()),
        "+callbacks.bounds.draws=50",
    ]
    command = [sys.executable, "-m", "predcg.run", *overrides, f"folder={tmp_path / 'killed'}"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "killed/checkpoints/last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(0.2 * random.random())
    process.kill()
    process.wait()
    step = read_checkpoint(last)["global_step"]
    assert 0 < step < 300
    for folder in ("killed", "whole"):
        run(compose([*overrides, f"folder={tmp_path / folder}"]))
    one, other = (read_checkpoint(tmp_path / folder / "checkpoints/last.ckpt") for folder in ("killed", "whole"))
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert one["callbacks"]["AdaptiveTempering"] == other["callbacks"]["AdaptiveTempering"]
    rows, whole = (read_history(tmp_path / folder / "metrics.csv") for folder in ("killed", "whole"))
    assert rows == whole
    raised = [row["step"] for row in rows if row.get("tempering/rise", 0) > 0]
    raised = [at for at in raised if at < 300]  # at the last step there is none after it
    assert (
        any(at > step for at in raised)
        and len({row["train/beta"] for row in rows if "train/beta" in row}) == len(raised) + 1
    )


def snapshots(folder):
    """Content by step."""
    return {
        int(file.stem.removeprefix("step-")): torch.load(file, weights_only=True)
        for file in (folder / "snapshots").iterdir()
    }


class Seen(pl.Callback):
    """The model's parameters after each step."""

    def __init__(self):
        self.states = [None]

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.states.append({name: value.detach().clone() for name, value in module.model.named_parameters()})


@pytest.mark.parametrize("stop", [None, 3, 13, 24])
def test_snapshots_are_the_model_of_their_step_also_after_a_resume(stop, linear, tmp_path):
    seen = Seen()
    train(linear, tmp_path / "whole", 25, [seen], snapshots=4)
    folder = tmp_path / "whole"
    if stop:
        folder = tmp_path / "parts"
        with pytest.raises(KeyboardInterrupt):
            train(linear, folder, 25, [Interrupt(stop)], snapshots=4)
        train(linear, folder, 25, snapshots=4)
    kept = snapshots(folder)
    assert sorted(kept) == [4, 8, 12, 16, 20, 24, 25]
    betas = [0.1, 0.15, 0.225, 0.325, 0.425, 0.525, 0.625, 0.725, 0.825]  # three steps each
    for step, content in kept.items():
        assert content["model"].keys() == seen.states[step].keys()
        assert all(torch.equal(content["model"][name], value) for name, value in seen.states[step].items()), step
        assert content["beta"].item() == pytest.approx(betas[(step - 1) // 3])
        # A validation after every fifth step is one evaluation of the objective too.
        assert content["evaluations"] == 16 * (step + (step - 1) // 5)


def test_snapshots_hold_the_averaged_weights(linear, tmp_path):
    seen = Seen()
    train(linear, tmp_path, 10, [EMAWeightAveraging(decay=0.8, use_buffers=False), seen], snapshots=3)
    kept, average = snapshots(tmp_path), seen.states[1]
    for step in range(1, 11):
        average = {name: 0.8 * value + 0.2 * seen.states[step][name] for name, value in average.items()}
        if step in (3, 6, 9, 10):
            for name, value in average.items():
                assert torch.allclose(kept[step]["model"][name], value, rtol=1e-5), (step, name)
                assert not torch.allclose(seen.states[step][name], value, rtol=1e-5)


def test_without_the_key_there_are_no_snapshots(linear, tmp_path):
    train(linear, tmp_path, 5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoints", "metrics.csv"]


def test_a_rate_over_all_rounds_is_that_of_one_long_training():
    """Three rounds of 40 steps against one of 120; and the formula at places that are known."""

    def rates(rounds: int, steps: int) -> list[float]:
        found = []
        for number in range(1, rounds + 1):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
            schedule = CosineOverRounds(optimizer, steps, rounds, number, warm_up=0.1, last=0.02)
            for _ in range(steps):
                found.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
        return found

    apart, together = rates(3, 40), rates(1, 120)
    assert apart == pytest.approx(together)
    assert together[:12] == pytest.approx([0.5 * (t + 1) / 12 for t in range(12)]) and together[12] == 0.5
    assert together[66] == pytest.approx(0.5 * (0.02 + 0.98 / 2)) and 0.01 < together[-1] < 0.0102


def test_a_rate_over_all_rounds_is_checked():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    with pytest.raises(InputError, match="scheduler.round: expected one of 1 to rounds = 2; found 3"):
        CosineOverRounds(optimizer, 10, 2, 3)
    with pytest.raises(InputError, match=r"scheduler.last: expected a number in \[0, 1\]; found 2"):
        CosineOverRounds(optimizer, 10, 2, last=2)
