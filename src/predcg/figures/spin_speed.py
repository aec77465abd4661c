"""Speed of Gibbs sampling and of EM for chains of spins, and how it grows with their length."""

import time

import numpy as np
from matplotlib.figure import Figure

from predcg.batch import Batch
from predcg.densities import Majority, SpinBlocks, SpinChain
from predcg.figures.runs import needs
from predcg.figures.speed import threads_set
from predcg.figures.style import DATA, MODEL, new
from predcg.model import Model
from predcg.objectives import EM, ExactEM
from predcg.progress import progress
from predcg.provenance import machine
from predcg.results import Run
from predcg.spins import Spins
from predcg.systems import IsingChain, System
from predcg.text import align

SITES = [32, 128, 512, 2048, 4096]
SPINS = 2**20  # of all chains together
FRAMES = 20
COLOURS = {
    "batched, 1 thread": MODEL,
    "batched, 2 threads": "#8d1f35",
    "site after site in NumPy": DATA,
    "EM": MODEL,
    "EM, exact": "#8d1f35",
}


@needs(System, "claim")
def ising_speed(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Gibbs spin updates per second against the number of sites, beside a NumPy loop over sites that takes all chains
    at once; seconds of one step of EM.

    Numbers: best rates, the ratio of one thread to the loop at every length, at least, and the exponents of time by
    sites.
    """
    rates: dict[str, list[float]] = {"batched, 1 thread": [], "batched, 2 threads": [], "site after site in NumPy": []}
    steps: dict[str, list[float]] = {"EM": [], "EM, exact": []}
    with progress(len(SITES), "timing, spins") as bar:
        for sites in SITES:
            chain = IsingChain(sites, 1.0, 1, 1.0, 0.3, 0.3)
            start = chain.start(SPINS // sites)
            for form, threads in (("batched, 1 thread", 1), ("batched, 2 threads", 2)):
                with threads_set(threads):
                    rates[form].append(SPINS / _fastest(lambda: chain.spins().gibbs_sweeps(start, 5)) * 5)
            rates["site after site in NumPy"].append(
                SPINS / _fastest(lambda: _loop(start.numpy().T.copy(), chain.spins()))
            )
            batch = Batch.of(chain.start(FRAMES))
            for form, objective in (("EM", EM(samples=5, sweeps=10)), ("EM, exact", ExactEM())):
                model = Model(
                    SpinChain(sites // 2, 1, False, False, 0.3, 0.3),
                    SpinBlocks(sites // 2, sites, 0.7),
                    Majority(sites, sites // 2),
                )
                steps[form].append(_fastest(lambda: objective(model, chain, batch).loss.backward()))
            bar.update()
    figure, (left, right) = new(2, width=4.4, height=3.4)
    for form, rate in rates.items():
        left.loglog(SITES, rate, "o-", markersize=3, color=COLOURS[form], label=form)
    for form, seconds in steps.items():
        right.loglog(
            SITES,
            [1000 * one for one in seconds],
            "o-",
            markersize=3,
            color=COLOURS[form],
            label=f"{form}, {FRAMES} frames",
        )
    left.set(
        xlabel="sites",
        ylabel="spin updates per second",
        title=f"Gibbs sampling, {SPINS:,} spins in all",
        ylim=(1e6, None),
    )
    right.set(xlabel="sites", ylabel="ms per step, with gradient", title="EM")
    for axes in (left, right):
        axes.set_xticks(SITES, SITES)
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
    numbers["exponent_gibbs"] = 1 - _exponent(rates["batched, 1 thread"])
    numbers |= {"exponent_em": _exponent(steps["EM"]), "exponent_em_exact": _exponent(steps["EM, exact"])}
    print(
        f"\n{machine()}\n"
        + align(
            [("sites", *map(str, SITES)), *((form, *(f"{one:.3g}" for one in rate)) for form, rate in rates.items())]
        )
    )
    return figure, numbers


def _exponent(values: list[float]) -> float:
    return float(np.polyfit(np.log(SITES), np.log(values), 1)[0])


def _fastest(call) -> float:
    """Seconds of the fastest of three calls after one to warm up."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _loop(s: np.ndarray, spins: Spins) -> None:
    """One sweep over a ring, (sites, chains), one site after another."""
    rng, (field, pair) = np.random.default_rng(0), (spins.field[0].item(), spins.pair[0].item())
    sites, chains = s.shape
    for i in range(sites):
        h = field + pair * (s[i - 1] + s[(i + 1) % sites])
        s[i] = np.where(rng.random(chains, dtype=np.float32) < 1 / (1 + np.exp(-2 * h)), 1, -1)
