"""Speed of training: the steps of a run beside the same steps without Lightning, and beside those of Lightning as it
comes.
"""

from statistics import median

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from predcg.figures.runs import needs
from predcg.figures.style import DATA, MODEL, NOWHERE, new
from predcg.provenance import machine
from predcg.results import Run
from predcg.systems import System
from predcg.text import align

COLOURS = {"forward": DATA, "backward": MODEL, "optimiser": "#edae49", "rest": NOWHERE}


@needs(System, "claim")
def training_speed(
    runs: list[Run], rounds: int = 9, epoch: int = 1000, whole: int = 8000 * 8
) -> tuple[Figure, dict[str, float]]:
    """Milliseconds of a training step, of 500 frames of alanine dipeptide with the nets of the source, in three loops
    on one thread.

    Numbers: the median time of each loop and of each part of the bare one, over rounds in which the loops take turns at
    a thousand steps; the median ratios in a round; the minutes of `whole` steps, 8,000 passes over the frames. What
    goes with the steps, validation and checkpoints, is included.
    """
    # Lightning takes seconds to import, and nobody who draws another figure needs it.
    from predcg.benchmarks.training import PARTS, loops

    times, minutes = loops(rounds, epoch, whole)
    cost = {name: median(one[name]["all"] for one in times) for name in times[0]}
    ratio = {name: median(one[name]["all"] / one["without Lightning"]["all"] for one in times) for name in cost}
    parts = {part: median(one["without Lightning"][part] for one in times) for part in PARTS}
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
