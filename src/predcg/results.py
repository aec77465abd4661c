"""What a finished run leaves, and how its numbers are told."""

from pathlib import Path
from typing import NamedTuple

from predcg.batch import Data
from predcg.model import Model
from predcg.priors import Prior
from predcg.systems import System


class Run(NamedTuple):
    """A finished training with all that a figure may ask of it.

    Args:
        name: experiment and overrides, as a legend would show them.
        folder: the run folder.
        system, model, prior: the nouns, trained.
        data: what it learnt from and what was held out.
        history: rows of metrics.csv.
        seed: for figures that draw samples.
    """

    name: str
    folder: Path
    system: System
    model: Model
    prior: Prior
    data: Data
    history: list[dict[str, float]]
    seed: int


def table(numbers: dict[str, float]) -> str:
    """Aligned lines: name, value with its error, and the exact or reference value, from the suffixes of the names.

    >>> print(table({"log_z": 12.05, "log_z_error": 0.01, "log_z_exact": 12.0649}))
    log_z  12.05 ± 0.01  exact 12.06
    """
    suffixes = {"_error": "± {}", "_exact": "exact {}", "_reference": "reference {}"}
    rows = []
    for name, value in numbers.items():
        if not name.endswith(tuple(suffixes)):
            notes = [form.format(f"{numbers[name + end]:.4g}") for end, form in suffixes.items() if name + end in numbers]
            rows.append((name, " ".join([f"{value:.4g}", *notes[:1]]) if f"{name}_error" in numbers else f"{value:.4g}",
                         " ".join(notes[1:] if f"{name}_error" in numbers else notes)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)] if rows else [0, 0]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {note}".rstrip() for name, value, note in rows)
