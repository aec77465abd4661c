"""What a training has to say at its end: weighted draws, figures and their numbers."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from predcg import figures, importance
from predcg.figures.style import save
from predcg.files import atomic
from predcg.measures.weights import effective_frames
from predcg.objectives import Objective
from predcg.results import Run

log = logging.getLogger(__name__)
FAILED = "_failed"  # In a summary it ends the name of what could not be done.


def weigh(finished: Run, folder: Path, draws: int = 10_000, samples: int = 15) -> dict[str, float]:
    """Write draws of the model, weighted towards the target, into `folder`/draws (see Weighted.save).

    Args:
        samples: further latent draws in log q, where there is a latent variable.
    """

    def made() -> dict[str, float]:
        importance.draw(finished.model, finished.system, draws, samples).finite().save(
            folder / importance.DRAWS, finished.system
        )
        return {}

    return _survived("draws", finished, made, folder / "figures")


def draw(finished: Run, names: list[str], folder: Path) -> dict[str, float]:
    """Draw the named figures of one run into `folder`; return their numbers, and <figure>_failed = 1 for one that
    fails, whose traceback is <figure>.txt there; where frames weigh unevenly, also their effective sample sizes.
    """
    summary = effective_frames([finished.data])
    for name in names:

        def drawn(name: str = name) -> dict[str, float]:
            picture, numbers = getattr(figures, name)([finished])
            save(picture, folder / name)
            return numbers

        summary |= _survived(name, finished, drawn, folder)
    return summary


def final_beta(objective: Objective) -> dict[str, float]:
    """β at the end of a training on the energy, with a warning where it is not that of the target."""
    if not objective.of_energy:
        return {}
    beta = objective.beta.item()
    if beta < 1:
        log.warning(
            "tempering: β ended at %.3g, so that the model is that of a hotter system, not of the target; choose more"
            " steps, or a faster tempering",
            beta,
        )
    return {"beta_final": beta}


def _survived(name: str, finished: Run, make: Callable[[], dict[str, float]], folder: Path) -> dict[str, float]:
    """What is made from the seed of the run; an error is told and kept, and the run goes on. What the file system
    refuses is no fault of the figure.
    """
    file = folder / f"{name}.txt"
    torch.manual_seed(finished.seed)
    try:
        made = make()
    except OSError:
        raise
    except Exception as reason:
        with atomic(file) as temporary:
            temporary.write_text(traceback.format_exc())
        log.error("%s failed: %s (%s)", name, " ".join(f"{type(reason).__name__}: {reason}".split()), file)
        return {name + FAILED: 1}
    file.unlink(missing_ok=True)
    return made
