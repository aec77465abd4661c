"""A force field over batches of any size: in blocks, on every thread, compiled where that pays."""

import copy
import ctypes
import functools
import logging
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path

import openmm
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from predcg.systems.forcefield.forcefield import TERMS, ForceField

log = logging.getLogger(__name__)
LANES = 32  # So many configurations stand side by side: two vector registers of the widest kind.
# A chunk on a CPU has at most so many pairs of atoms: the arrays of larger ones leave the cache.
CACHED_PAIRS = 250_000
MEMORY_BYTES = 4 << 30  # The intermediate arrays of one call take at most so much.
ARRAYS = 16  # So many arrays of one number per pair of atoms live at a time.
LEAST = 16  # A chunk has at least so many configurations: one register.
# Compiling takes about as long as this many evaluations of one pair of atoms by the interpreter.
COMPILE_PAIRS = 1_000_000 * 484


class Batched:
    """Energies and gradients of any number of configurations, from one fused pass.

    Configurations are padded to blocks and computed in chunks that fit the cache (CPU) or the memory (GPU). `expect`
    says that many are coming: the chunk is then compiled, once for each shape, and its gradient is compared with the
    interpreter's on strongly perturbed geometries (torch's compiler can drop a force). Where the compiler is missing,
    fails or disagrees, the interpreter goes on, with one warning.

    Args:
        system: see ForceField.
    """

    def __init__(self, system: openmm.System):
        self.size = 3 * system.getNumParticles()
        self._original = ForceField(system)
        self._copies: dict[tuple, ForceField] = {}
        self._compiled: dict[tuple, Callable] = {}
        self._expected = 0

    def expect(self, evaluations: int) -> None:
        """Announce how many evaluations are coming; whether compiled code is used follows from them alone, not from
        what was announced or compiled before.
        """
        self._expected = evaluations

    @torch.no_grad()  # So it is outside of autograd too: a change of mode would compile again.
    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies in kJ/mol, (n,), and gradients in kJ/mol/nm, (n, D), of x in nm, (n, D), in the precision of x and
        on its device.
        """
        energies, gradients = x.new_empty(len(x)), torch.empty_like(x)
        chunk = self.chunk(x)
        for begin in range(0, len(x), chunk):
            part = x[begin : begin + chunk]
            blocks = _blocks(part, chunk)
            terms, gradient, *_ = self._function(blocks)(blocks)
            energies[begin : begin + chunk] = sum(terms).flatten()[: len(part)]
            gradients[begin : begin + chunk] = gradient.permute(0, 3, 2, 1).reshape(-1, self.size)[: len(part)]
        return energies, gradients

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        """Energies by kind in kJ/mol, (n,) each: bond, angle, torsion, nonbonded, solvation."""
        chunk = self.chunk(x)
        parts = [self._forcefield(x)(_blocks(x[begin : begin + chunk], chunk))[0] for begin in range(0, len(x), chunk)]
        columns = zip(*parts, strict=True) if parts else [[x.new_empty(0)]] * len(TERMS)
        return {
            name: torch.cat([values.flatten() for values in column])[: len(x)]
            for name, column in zip(TERMS, columns, strict=True)
        }

    def chunk(self, x: Tensor) -> int:
        """How many configurations are computed at a time: a power of two, so that few shapes are ever compiled."""
        pairs = (self.size // 3) ** 2
        most = MEMORY_BYTES // (ARRAYS * x.element_size() * pairs)
        if x.device.type == "cpu":
            most = min(most, CACHED_PAIRS // pairs)
        return max(1 << min(max(most, LEAST).bit_length() - 1, (len(x) - 1).bit_length()), LEAST)

    def __getstate__(self) -> dict:
        """Compiled code does not travel to another process."""
        return self.__dict__ | {"_compiled": {}}

    def _forcefield(self, x: Tensor) -> ForceField:
        key = (x.dtype, x.device)
        if key not in self._copies:
            self._copies[key] = copy.deepcopy(self._original).to(device=x.device, dtype=x.dtype)
        return self._copies[key]

    def _function(self, blocks: Tensor) -> Callable:
        forcefield = self._forcefield(blocks)
        if self._expected * (self.size // 3) ** 2 < COMPILE_PAIRS:
            return forcefield
        key = (blocks.shape, blocks.dtype, blocks.device, torch.get_num_threads())
        if key not in self._compiled:
            # It has failed for another shape, and would fail and warn again.
            failed = forcefield in self._compiled.values()
            self._compiled[key] = forcefield if failed else _compile(forcefield, blocks)
        return self._compiled[key]


def _blocks(x: Tensor, chunk: int) -> Tensor:
    """Blocks side by side, (K, 3, n_atoms, W), of x, (n, D), filled up to the chunk with copies of the first
    configuration.
    """
    lanes = min(LANES, chunk)
    filled = torch.cat([x, x[:1].expand(chunk - len(x), -1)]) if len(x) < chunk else x
    return filled.view(-1, lanes, x.shape[1] // 3, 3).permute(0, 3, 2, 1).contiguous()


def _compile(forcefield: ForceField, blocks: Tensor) -> Callable:
    """The compiled function where it can be had and agrees with the interpreter, else the interpreter."""
    _keep_memory()
    # Compiled code is kept between sessions, away from the temporary folder, which is emptied.
    os.environ.setdefault(
        "TORCHINDUCTOR_CACHE_DIR",
        str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "predcg" / "torch"),
    )
    log.info(
        "compiling the force field for %d configurations at a time (up to a minute, then kept on disk)",
        blocks.shape[0] * blocks.shape[-1],
    )
    # Configurations are strained by 0.02 nm, without the global generator, so that compiling changes no trajectory.
    strained = blocks + 0.02 * torch.randn(blocks.shape, generator=torch.Generator().manual_seed(0)).to(blocks)
    try:
        # Each shape has a graph of its own: torch refuses to compile one function for more than a few.
        function = torch.compile(make_fx(forcefield)(strained), dynamic=False, fullgraph=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The compiler warns about itself.
            found = function(strained)[1]
    except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError, OSError) as reason:
        log.warning(
            "the force field runs without compilation, several times slower: %s", str(reason).strip().splitlines()[0]
        )
        return forcefield
    expected = forcefield(strained)[1]
    apart = (found - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2))
    if not apart.max() < (1e-3 if blocks.dtype == torch.float32 else 1e-9):
        log.warning(
            "the force field runs without compilation: torch's compiler changed its gradient by %.1e", apart.max()
        )
        return forcefield
    return function


@functools.cache
def _keep_memory() -> None:
    """Have the C library keep freed arrays of megabytes: fetching them anew from the system costs as much as computing
    them.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: smaller arrays come from the heap.
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: the end of the heap is not given back.
