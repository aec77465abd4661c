"""Speed of training: the steps of a run beside the same steps without Lightning, and beside those of Lightning as it
comes.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from predcg.batch import Batch, Data
from predcg.benchmarks.timing import threads_set
from predcg.densities import FreeScale, GaussianMLP, StandardNormal, TrunkScale
from predcg.model import Model
from predcg.objectives import ForwardKL
from predcg.priors import ARD
from predcg.systems import Molecule
from predcg.training import Training, fit
from predcg.training.loader import Loader
from predcg.transforms import Chain, RigidFrame, Unit

FRAMES, BATCH = 500, 64
PARTS = ("forward", "backward", "optimiser")


def loops(rounds: int, epoch: int, whole: int) -> tuple[list[dict[str, dict[str, float]]], float]:
    """ms per step of each loop, in all and of its parts, in rounds in which the loops take turns at an epoch of steps;
    the minutes that a run needs for `whole` steps. Of alanine dipeptide with the nets of the source, on one thread.
    """
    molecule = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0)
    x = molecule.start(FRAMES + 100) + 0.01 * torch.randn(
        FRAMES + 100, molecule.size, generator=torch.Generator().manual_seed(0)
    )
    data = Data(Batch.of(x[:FRAMES]), Batch.of(x[FRAMES:]))
    kinds: dict[str, Callable] = {"without Lightning": _bare, "a run": _ours, "Lightning as it comes": _plain}
    with threads_set(1):
        for loop in kinds.values():
            loop(_training(molecule), data, 50, epoch)
        times = [
            {name: loop(_training(molecule), data, epoch, epoch) for name, loop in kinds.items()} for _ in range(rounds)
        ]
        return times, _ours(_training(molecule), data, whole, epoch)["all"] * whole / 60e3


def _training(molecule: Molecule) -> Training:
    """Tables 1 and 2 of Schöberl, Zabaras, Koutsourelakis 2019."""
    torch.manual_seed(0)
    angstrom = [Chain([RigidFrame(molecule.frame_atoms), Unit(0.1)]) for _ in range(2)]
    decoder = GaussianMLP(2, molecule.size, [100, 100, 50], ["Tanh"] * 3, FreeScale, transform=angstrom[0])
    encoder = GaussianMLP(
        molecule.size, 2, [50, 100, 100], ["SELU", "SELU", "LogSigmoid"], TrunkScale, features=angstrom[1]
    )
    model = Model(StandardNormal(2), decoder, encoder)
    return Training(
        model, molecule, ARD(1 / FRAMES), ForwardKL(), lambda parameters: torch.optim.Adam(parameters, 1e-3, fused=True)
    )


def _loss(module: Training, batch: Batch) -> Tensor:
    return module.objective(module.model, module.system, batch).loss - module.prior(module.model.decoder)


def _bare(module: Training, data: Data, steps: int, epoch: int) -> dict[str, float]:
    """ms per step, in all and of its parts."""
    optimizer, spent, began = module.configure_optimizers(), [0.0] * 3, time.perf_counter()
    for batch in chain.from_iterable(repeat(Loader(data.train, BATCH, min(steps, epoch)), steps // min(steps, epoch))):
        optimizer.zero_grad()
        at = [time.perf_counter()]
        loss = _loss(module, batch)
        at.append(time.perf_counter())
        loss.backward()
        at.append(time.perf_counter())
        optimizer.step()
        at.append(time.perf_counter())
        spent = [total + later - earlier for total, earlier, later in zip(spent, at, at[1:], strict=False)]
    return {
        name: 1e3 * total / steps
        for name, total in zip(["all", *PARTS], [time.perf_counter() - began, *spent], strict=False)
    }


def _ours(module: Training, data: Data, steps: int, epoch: int) -> dict[str, float]:
    trainer = partial(pl.Trainer, max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, log_every_n_steps=100)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(module, data, trainer, [], [], Path(folder), BATCH, epoch)
        return {"all": 1e3 * (time.perf_counter() - began) / steps}


def _plain(module: Training, data: Data, steps: int, epoch: int) -> dict[str, float]:
    class Plain(pl.LightningModule):
        """The LightningModule of a tutorial."""

        def __init__(self):
            super().__init__()
            self.module = module

        def training_step(self, batch: Batch, index: int) -> Tensor:
            loss = _loss(module, batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return module.configure_optimizers()

    with tempfile.TemporaryDirectory() as folder:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": pl.loggers.CSVLogger(folder)}
        trainer = pl.Trainer(
            max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, default_root_dir=folder, **quiet
        )
        began = time.perf_counter()
        trainer.fit(Plain(), Loader(data.train, BATCH, epoch))
        return {"all": 1e3 * (time.perf_counter() - began) / steps}
