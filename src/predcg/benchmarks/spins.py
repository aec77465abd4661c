"""Speed of Gibbs sampling and of EM for chains of spins, and how it grows with their length."""

from collections.abc import Sequence

import numpy as np

from predcg.batch import Batch
from predcg.benchmarks.timing import fastest, threads_set
from predcg.densities import Majority, SpinBlocks, SpinChain
from predcg.model import Model
from predcg.objectives import EM, ExactEM
from predcg.progress import progress
from predcg.spins import Spins
from predcg.systems import IsingChain

SITES = (32, 128, 512, 2048, 4096)


def gibbs_rates(sites: Sequence[int], spins: int) -> dict[str, list[float]]:
    """Spin updates per second of chains of so many sites, by form; `spins` are those of all chains together."""
    rates: dict[str, list[float]] = {"batched, 1 thread": [], "batched, 2 threads": [], "site after site in NumPy": []}
    with progress(len(sites), "timing, Gibbs sampling") as bar:
        for n in sites:
            chain = _chain(n)
            start = chain.start(spins // n)
            for form, threads in (("batched, 1 thread", 1), ("batched, 2 threads", 2)):
                with threads_set(threads):
                    rates[form].append(5 * spins / fastest(lambda: chain.spins().gibbs_sweeps(start, 5)))
            rates["site after site in NumPy"].append(
                spins / fastest(lambda: _loop(start.numpy().T.copy(), chain.spins()))
            )
            bar.update()
    return rates


def em_seconds(sites: Sequence[int], frames: int) -> dict[str, list[float]]:
    """Seconds of one step, with gradient, of chains of so many sites, by form."""
    steps: dict[str, list[float]] = {"EM": [], "EM, exact": []}
    with progress(len(sites), "timing, EM") as bar:
        for n in sites:
            chain = _chain(n)
            batch = Batch.of(chain.start(frames))
            for form, objective in (("EM", EM(samples=5, sweeps=10)), ("EM, exact", ExactEM())):
                model = Model(
                    SpinChain(n // 2, 1, False, False, 0.3, 0.3), SpinBlocks(n // 2, n, 0.7), Majority(n, n // 2)
                )
                steps[form].append(fastest(lambda: objective(model, chain, batch).loss.backward()))
            bar.update()
    return steps


def _chain(sites: int) -> IsingChain:
    return IsingChain(sites, 1.0, 1, 1.0, 0.3, 0.3)


def _loop(s: np.ndarray, spins: Spins) -> None:
    """One sweep over a ring, (sites, chains), one site after another."""
    rng, (field, pair) = np.random.default_rng(0), (spins.field[0].item(), spins.pair[0].item())
    sites, chains = s.shape
    for i in range(sites):
        h = field + pair * (s[i - 1] + s[(i + 1) % sites])
        s[i] = np.where(rng.random(chains, dtype=np.float32) < 1 / (1 + np.exp(-2 * h)), 1, -1)
