"""The command line: help at once, one line for what cannot be used, and only for a run all that it takes."""

import json
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from predcg.catalogue import draw_help_page, help_page, listing, shipped
from predcg.errors import InputError
from predcg.messages import explain, short
from predcg.overrides import readable

log = logging.getLogger(__name__)
REFUSED = (InputError, FloatingPointError, HydraException, OmegaConfBaseException)


def main() -> None:
    """`predcg experiment=... [group=option] [key=value]`; `-m` for sweeps. Exits with 2 on bad input, 1 on numbers that are not finite, 130 on Ctrl-C."""
    _tell(help_page, listing(shipped("conf") / "experiment"))
    sys.argv[1:] = readable(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on, and they become one line here
    try:
        hydra.main(version_base="1.3", config_path=str(shipped("conf").resolve()), config_name="config")(_job)()
    except REFUSED as reason:
        _end("predcg", reason)
    except KeyboardInterrupt:
        _interrupted("predcg")


def draw() -> None:
    """`predcg-draw <paper>/<figure> [key=value ...]` or `predcg-draw --all`; exits with 1 when a number is out of tolerance."""
    known = listing(shipped("experiments"))
    _tell(draw_help_page, known)
    everything, arguments = "--all" in sys.argv[1:], [argument for argument in sys.argv[1:] if argument != "--all"]
    chosen = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    try:
        if not chosen and not everything:
            raise InputError(f"figure: expected --all or one of {', '.join(known)}; found none; see predcg-draw --help")
        from predcg.draw import draw as draw_one, draw_all

        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        met = [draw_all(chosen, overrides)] if everything else [draw_one(name, overrides) for name in chosen]
    except REFUSED as reason:
        _end("predcg-draw", reason)
    except KeyboardInterrupt:
        _interrupted("predcg-draw")
    sys.exit(0 if all(met) else 1)


def _tell(page: Callable[[], str], known: list[str]) -> None:
    """Answer --help, --version or --list, and end."""
    asked = sys.argv[1:]
    answers = {"--help": page, "-h": page, "--version": lambda: f"predcg {version('predcg')}", "--list": lambda: "\n".join(known)}
    for flag in answers.keys() & set(asked):
        print(answers[flag]())
        sys.exit(0)


def _job(cfg: DictConfig) -> None:
    # Imported for a run only: torch, OpenMM and Lightning take seconds.
    from predcg.config import complete
    from predcg.results import table
    from predcg.run import run

    try:
        folder = run(complete(cfg, HydraConfig.get()))
        log.info(table(json.loads((folder / "summary.json").read_text())))
    except (InputError, FloatingPointError) as reason:
        if HydraConfig.get().mode != RunMode.RUN:
            raise  # in a sweep Hydra says which job it was
        _end("predcg", reason)


def _end(program: str, reason: Exception) -> NoReturn:
    ours = isinstance(reason, (InputError, FloatingPointError))
    print(f"{program}: {short(str(reason) if ours else explain(reason, sys.argv[1:]))}", file=sys.stderr)
    sys.exit(1 if isinstance(reason, FloatingPointError) else 2)


def _interrupted(program: str) -> NoReturn:
    print(f"{program}: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
    sys.exit(130)
