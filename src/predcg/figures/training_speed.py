"""Speed of training: the steps of a run beside the same steps without Lightning, and beside those of Lightning as it
comes.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from predcg.batch import Batch, Data
from predcg.densities import FreeScale, GaussianMLP, StandardNormal, TrunkScale
from predcg.figures.runs import needs
from predcg.figures.speed import threads_set
from predcg.figures.style import DATA, MODEL, NOWHERE, new
from predcg.model import Model
from predcg.objectives import ForwardKL
from predcg.priors import ARD
from predcg.provenance import machine
from predcg.results import Run
from predcg.systems import Molecule, System
from predcg.text import align
from predcg.transforms import Chain, RigidFrame, Unit

if TYPE_CHECKING:  # Lightning takes seconds to import, and nobody who draws another figure needs it
    from predcg.training import Training

FRAMES, BATCH, EPOCH = 500, 64, 1000
WHOLE = 8000 * 8  # steps of 8,000 passes over 500 frames, eight batches each
ROUNDS = 9
COLOURS = {"forward": DATA, "backward": MODEL, "optimiser": "#edae49", "rest": NOWHERE}


@needs(System, "claim")
def training_speed(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Milliseconds of a training step, of 500 frames of alanine dipeptide with the nets of the source, in three loops
    on one thread.

    Numbers: the median time of each loop and of each part of the bare one, over rounds in which the loops take turns at
    a thousand steps; the median ratios in a round; the minutes of 8,000 passes over the frames. What goes with the
    steps, validation and checkpoints, is included.
    """
    molecule = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0)
    x = molecule.start(FRAMES + 100) + 0.01 * torch.randn(
        FRAMES + 100, molecule.size, generator=torch.Generator().manual_seed(0)
    )
    data = Data(Batch.of(x[:FRAMES]), Batch.of(x[FRAMES:]))
    loops: dict[str, Callable] = {"without Lightning": _bare, "a run": _ours, "Lightning as it comes": _plain}
    with threads_set(1):
        for loop in loops.values():
            loop(_training(molecule), data, 50)
        rounds = [{name: loop(_training(molecule), data, EPOCH) for name, loop in loops.items()} for _ in range(ROUNDS)]
        minutes = _ours(_training(molecule), data, WHOLE)["all"] * WHOLE / 60e3
    cost = {name: median(times[name]["all"] for times in rounds) for name in loops}
    ratio = {name: median(times[name]["all"] / times["without Lightning"]["all"] for times in rounds) for name in loops}
    parts = {
        part: median(times["without Lightning"][part] for times in rounds)
        for part in ("forward", "backward", "optimiser")
    }
    figure, (axes,) = new(width=5.0, height=2.6)
    for name, total in cost.items():
        left = 0.0
        for part, width in (parts | {"rest": total - sum(parts.values())}).items():
            axes.barh(name, width, left=left, color=COLOURS[part])
            left += width
    axes.invert_yaxis()
    axes.set(xlabel="ms per step", title=machine())
    figure.legend(
        handles=[Patch(color=colour, label=part) for part, colour in COLOURS.items()],
        loc="outside lower center",
        ncols=4,
    )
    print(
        f"\n{machine()}\n"
        + align(
            [("", "ms per step", "times the bare loop"), *((n, f"{c:.3f}", f"{ratio[n]:.2f}") for n, c in cost.items())]
        )
    )
    return figure, {
        "bare_ms": cost["without Lightning"],
        **{f"{part}_ms": value for part, value in parts.items()},
        "ours_ms": cost["a run"],
        "lightning_over_bare": ratio["a run"],
        "plain_lightning_ms": cost["Lightning as it comes"],
        "plain_lightning_over_bare": ratio["Lightning as it comes"],
        "minutes_for_8000_epochs_n500": minutes,
    }


def _training(molecule: Molecule) -> "Training":
    """Tables 1 and 2 of Schöberl, Zabaras, Koutsourelakis 2019."""
    from predcg.training import Training

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


def _loss(module: "Training", batch: Batch) -> Tensor:
    return module.objective(module.model, module.system, batch).loss - module.prior(module.model.decoder)


def _bare(module: "Training", data: Data, steps: int) -> dict[str, float]:
    """ms per step, in all and of its parts."""
    from predcg.training.loader import Loader

    optimizer, spent, began = module.configure_optimizers(), [0.0] * 3, time.perf_counter()
    for batch in chain.from_iterable(repeat(Loader(data.train, BATCH, min(steps, EPOCH)), steps // min(steps, EPOCH))):
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
        for name, total in zip(["all", *COLOURS], [time.perf_counter() - began, *spent], strict=False)
    }


def _ours(module: "Training", data: Data, steps: int) -> dict[str, float]:
    import pytorch_lightning as pl

    from predcg.training import fit

    trainer = partial(pl.Trainer, max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, log_every_n_steps=100)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(module, data, trainer, [], [], Path(folder), BATCH, EPOCH)
        return {"all": 1e3 * (time.perf_counter() - began) / steps}


def _plain(module: "Training", data: Data, steps: int) -> dict[str, float]:
    import pytorch_lightning as pl

    from predcg.training.loader import Loader

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
        trainer.fit(Plain(), Loader(data.train, BATCH, EPOCH))
        return {"all": 1e3 * (time.perf_counter() - began) / steps}
