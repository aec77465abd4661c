"""What a finished run leaves."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from predcg.batch import Data
from predcg.errors import InputError
from predcg.files import read_json, reading
from predcg.model import Model
from predcg.posteriors import WeightPosterior
from predcg.priors import Prior
from predcg.systems import System
from predcg.systems.trajectory import configurations

SNAPSHOTS = "snapshots"  # The part of a run folder with step-<n>.pt; earlier versions wrote step=<n>.pt.
APART = 0.1  # In nat per coordinate: a held-out bound that lies further below that of training is told; our choice.
AVERAGED = 10  # The bound of training is a mean of at most so many minibatches.


class Snapshot(NamedTuple):
    """The model after so many optimiser steps, with the β and the count of energy evaluations of that time."""

    step: int
    model: Model
    beta: float
    evaluations: int


class Run(NamedTuple):
    """A finished training with all that a figure may ask of it.

    Args:
        name: experiment and overrides, as a legend would show them.
        folder: the run folder.
        system, model, prior: the nouns, trained.
        posterior: that of the decoder's weights, where one was asked for.
        data: what it learnt from and what was held out.
        history: rows of metrics.csv.
        seed: for figures that draw samples.
        step: optimiser steps behind the model, those of the checkpoint that it was loaded from.
        acquired: what its round has acquired itself; `data` are these and what it has learnt from earlier rounds.
        number: of its round, from 1 on; folder and history are that round's.
        planned: how many rounds there may be at most.
        load: makes the Run of another round of its number.
        recall: reads the objective back, see `objective`.
    """

    name: str
    folder: Path
    system: System
    model: Model
    prior: Prior
    posterior: WeightPosterior | None
    data: Data
    history: list[dict[str, float]]
    seed: int
    step: int
    acquired: Data | None = None
    number: int = 1
    planned: int = 1
    load: Callable[..., "Run"] | None = None
    recall: Callable[[], nn.Module] | None = None

    @property
    def objective(self) -> nn.Module:
        """The objective with all that it has recorded, read from the checkpoint by each call: of a million evaluations
        that is a hundred megabytes, which few figures need.
        """
        return self.recall()

    @property
    def summary(self) -> dict[str, float]:
        """The numbers of the whole run, of its last round."""
        return read_json((self.folder if self.number == 1 else self.folder.parents[1]) / "summary.json")

    @property
    def rounds(self) -> list["Run"]:
        """The run as each of its rounds up to this one has left it, the first one first."""
        return [*(self.load(round=number) for number in range(1, self.number)), self]

    @property
    def snapshots(self) -> dict[int, Path]:
        """Files of the model during training, by optimiser step; none unless the configuration says `snapshots:
        <steps>`.
        """
        files = {int(file.stem[len("step-") :]): file for file in (self.folder / SNAPSHOTS).glob("step[-=]*.pt")}
        return dict(sorted(files.items()))

    def column(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of one logged quantity."""
        rows = [row for row in self.history if key in row]
        return [row["step"] for row in rows], [row[key] for row in rows]

    def cv(self, frames: Any) -> Tensor:
        """Collective variables of configurations in nm, (n, d), without gradients.

        Args:
            frames: an mdtraj Trajectory of the system's atoms; the path of a file that `acquisition=load` reads without
                a unit; or an array of numpy or torch, (n, atoms, 3) or (n, D), of any float type.

        Raises:
            InputError: another shape, other atoms, or bonds far off the force field's, as in angstrom.
        """
        x = configurations(frames, self.system)
        with torch.no_grad():
            return self.model.cv(x.to(next(iter(self.model.parameters()), x)))

    def snapshot(self, step: int) -> Snapshot:
        """A copy of the model as it was. Raises InputError when none was kept at this step."""
        files = self.snapshots
        if step not in files:
            raise InputError(
                f"step: expected one of {', '.join(map(str, files)) or 'none (train with snapshots=<steps>)'}; found"
                f" {step}"
            )
        with reading(files[step], "delete it, or start the run again with force=true"):
            content = torch.load(files[step], map_location="cpu", weights_only=True)
            model = deepcopy(self.model)
            model.load_state_dict(content["model"])
            return Snapshot(step, model, content["beta"].item(), int(content["evaluations"]))


def bounds(run: Run) -> dict[str, float]:
    """What the objective's bound was where the model comes from, the prior left out, nat per frame: none without
    training.

    checkpoint_step; bound_training, the mean over the last ten logged minibatches up to there (of fewer than twenty,
    the later half), with its standard error; where frames were held out, bound_held_out, beside bound_held_out_best,
    its highest at β = 1, and best_step, where that was.
    """
    training = [row["train/bound"] for row in run.history if "train/bound" in row and row["step"] <= run.step]
    training = training[len(training) // 2 :][-AVERAGED:]  # The start is far below.
    if not training:
        return {}
    numbers = {"checkpoint_step": run.step, "bound_training": sum(training) / len(training)}
    if len(training) > 1:
        numbers["bound_training_error"] = torch.tensor(training).std().item() / len(training) ** 0.5
    held_out = {row["step"]: row["val/bound"] for row in run.history if "val/bound" in row}
    if run.step in held_out:
        numbers["bound_held_out"] = held_out[run.step]
    at_target = {row["step"]: row["val/bound"] for row in run.history if "val/bound" in row and row["val/beta"] == 1}
    if at_target:
        best = max(at_target, key=at_target.get)
        numbers |= {"bound_held_out_best": at_target[best], "best_step": best}
    return numbers


def parted(numbers: dict[str, float], size: int) -> str | None:
    """A warning, where the held-out bound among `bounds` lies more than 0.1 nat per coordinate below that of training;
    size: coordinates of the system.
    """
    if numbers["bound_training"] - numbers.get("bound_held_out", numbers["bound_training"]) <= APART * size:
        return None
    best = (
        f"; it was best, {numbers['bound_held_out_best']:.5g}, at step {numbers['best_step']}, which checkpoint=best"
        " uses"
        if "best_step" in numbers
        else ""
    )
    return (
        f"overfitted: at step {numbers['checkpoint_step']} the bound is {numbers['bound_held_out']:.5g} nat on held-out"
        f" frames and {numbers['bound_training']:.5g} on training frames, more than {APART} nat per coordinate"
        f" apart{best}; more frames or a prior narrow the gap"
    )
