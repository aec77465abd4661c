"""What a figure needs of a run, and what it makes of several."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from predcg.errors import InputError
from predcg.measures.runs import experiment, mean_over_seeds
from predcg.measures.weights import effective_frames
from predcg.results import Run
from predcg.systems import System

Draw = Callable[..., tuple[Figure, dict[str, float]]]

# What a run may have beside its system, and how it is had; known before anything is simulated or learnt.
HAD = {
    "training": "a trained model; choose steps=<n>",
    "data": "frames of the target; choose acquisition=simulate, load or exact",
    "variables": "collective variables; choose z=1 or more",
    "normal": "a standard normal latent density; choose latent=normal",
    "weights": "a decoder with matrices of weights; choose a network such as decoder=gaussian",
    "posterior": "a posterior; choose posterior=laplace",
    "snapshots": "snapshots; choose snapshots=<steps>",
    "draws": "weighted draws; choose an objective of the energy, such as objective=reverse_kl",
    "adaptive": "adaptive tempering; choose callbacks=[adaptive_tempering]",
    "free_energy": "a latent density that knows its free energy; choose latent=free_energy",
    "ladder": "a ladder of temperatures; choose acquisition=simulate sampler=replica_exchange",
    "claim": "the runs that a claim names; draw it with predcg-draw <paper>/<figure>",
}


class Needs(NamedTuple):
    """A kind of system; `names` of what the run must have (see HAD), or else of what the system must have, such as a
    backbone.
    """

    kind: type[System] = System
    names: tuple[str, ...] = ()

    def lacking(self, system: System, had: set[str]) -> str | None:
        """What a run of this system, which has all that, lacks, and what to do; None where nothing is missing."""
        of_system = [name for name in self.names if name not in HAD]
        if not isinstance(system, self.kind) or not all(getattr(system, name) for name in of_system):
            kind = self.kind.__name__
            parts = "".join(f" with {name if name.endswith('s') else f'a {name}'}" for name in of_system)
            return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}{parts}; the system is a {type(system).__name__};"
        return next((f"{HAD[name]}, or" for name in self.names if name in HAD and name not in had), None)


def needs(
    kind: type[System] = System, *names: str, by: Callable[[Run], Any] = lambda run: None, each: bool = False
) -> Callable[[Draw], Draw]:
    """Declare what a figure is drawn of.

    Args:
        kind, names: see Needs.
        by: what tells the runs apart that are kept apart in picture and numbers; those that share it may differ in
            their seeds alone.
        each: whether the figure is of one run: of several seeds the first is drawn, and numbers are means.
    """

    def mark(draw: Draw) -> Draw:
        @wraps(draw)
        def checked(runs: list[Run], **sizes: int) -> tuple[Figure, dict[str, float]]:
            _only_seeds_differ(draw.__name__, runs, by)
            drawn = [draw(same, **sizes) for same in ([[run] for run in runs] if each else [runs])]
            picture, numbers = drawn[0]
            if len(drawn) > 1:
                numbers = mean_over_seeds([numbers for _, numbers in drawn])
            # Weights of collective variables that were asked for say how often to learn from them, nothing of a target.
            framed = [run for run in runs if run.data.train.z is None]
            _tell_weights(picture, framed)
            return picture, numbers | effective_frames([run.data for run in framed])

        checked.needs = Needs(kind, names)
        return checked

    return mark


def _only_seeds_differ(figure: str, runs: list[Run], by: Callable[[Run], Any]) -> None:
    """Raise InputError where numbers of different runs would be pooled as if they were seeds of one."""
    if len(runs) > 1:
        first: dict[Any, str] = {}
        for run in runs:
            name = experiment(run)
            if (other := first.setdefault(by(run), name)) != name:
                raise InputError(
                    f"{figure}: expected runs that differ in their seeds alone; found {other!r} and {name!r}; draw them"
                    " one by one"
                )


def _tell_weights(picture: Figure, runs: list[Run]) -> None:
    """Add to the title of the first panel the effective sample sizes of the first run whose frames weigh unevenly."""
    for run in runs:
        lines = [
            f"{batch.effective_size:.4g} of {len(batch)} {name} frames"
            for name, batch in zip(("training", "held-out"), run.data, strict=True)
            if batch.weighted
        ]
        if lines:
            panel = picture.axes[0]
            panel.set_title("\n".join(filter(None, [panel.get_title(), "effective sample size:", *lines])))
            return
