"""Speed of Gibbs sampling and of EM for chains of spins, and how it grows with their length."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from predcg.benchmarks.spins import SITES, em_seconds, gibbs_rates
from predcg.figures.runs import needs
from predcg.figures.style import DATA, MODEL, new
from predcg.provenance import machine
from predcg.results import Run
from predcg.systems import System
from predcg.text import align

COLOURS = {
    "batched, 1 thread": MODEL,
    "batched, 2 threads": "#8d1f35",
    "site after site in NumPy": DATA,
    "EM": MODEL,
    "EM, exact": "#8d1f35",
}


@needs(System, "claim")
def ising_speed(
    runs: list[Run], sites: Sequence[int] = SITES, spins: int = 2**20, frames: int = 20
) -> tuple[Figure, dict[str, float]]:
    """Gibbs spin updates per second against the number of sites, beside a NumPy loop over sites that takes all chains
    at once; seconds of one step of EM.

    Numbers: best rates, the ratio of one thread to the loop at every length, at least, and the exponents of time by
    sites.
    """
    rates, steps = gibbs_rates(sites, spins), em_seconds(sites, frames)
    figure, (left, right) = new(2, width=4.4, height=3.4)
    for form, rate in rates.items():
        left.loglog(sites, rate, "o-", markersize=3, color=COLOURS[form], label=form)
    for form, seconds in steps.items():
        right.loglog(
            sites,
            [1000 * one for one in seconds],
            "o-",
            markersize=3,
            color=COLOURS[form],
            label=f"{form}, {frames} frames",
        )
    left.set(
        xlabel="sites",
        ylabel="spin updates per second",
        title=f"Gibbs sampling, {spins:,} spins in all",
        ylim=(1e6, None),
    )
    right.set(xlabel="sites", ylabel="ms per step, with gradient", title="EM")
    for axes in (left, right):
        axes.set_xticks(sites, sites)
        axes.minorticks_off()
        axes.legend()
    figure.suptitle(machine(), fontsize=8)
    numbers = {
        f"updates_per_s_{name}": max(rate)
        for name, rate in zip(("1_thread", "2_threads", "loop"), rates.values(), strict=True)
    }
    numbers["ratio_to_loop"] = min(
        ours / loop for ours, loop in zip(rates["batched, 1 thread"], rates["site after site in NumPy"], strict=True)
    )
    numbers["exponent_gibbs"] = 1 - _exponent(sites, rates["batched, 1 thread"])
    numbers |= {"exponent_em": _exponent(sites, steps["EM"]), "exponent_em_exact": _exponent(sites, steps["EM, exact"])}
    print(
        f"\n{machine()}\n"
        + align(
            [("sites", *map(str, sites)), *((form, *(f"{one:.3g}" for one in rate)) for form, rate in rates.items())]
        )
    )
    return figure, numbers


def _exponent(sites: Sequence[int], values: list[float]) -> float:
    return float(np.polyfit(np.log(sites), np.log(values), 1)[0])
