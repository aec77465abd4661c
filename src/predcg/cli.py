"""The command line: help at once, one line for what cannot be used, and only for a run all that it takes."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from predcg.catalogue import draw_help_page, help_page, listing, shipped
from predcg.errors import FigureError, InputError
from predcg.files import read_json
from predcg.messages import explain, short, unknown
from predcg.overrides import readable

log = logging.getLogger(__name__)
OURS = (InputError, FloatingPointError, FigureError)
REFUSED = (*OURS, HydraException, OmegaConfBaseException, OSError)


def main() -> None:
    """`predcg experiment=... [group=option] [key=value]`; `-m` for sweeps. Exits with 2 on bad input, 1 on numbers that
    are not finite or a figure that fails, 130 on Ctrl-C.
    """
    experiments = listing(shipped("conf") / "experiment")
    _tell(help_page, experiments)
    _complete_experiment(experiments)
    _house()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on, and they become one line here.
    try:
        sys.argv[1:] = readable(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(shipped("conf").resolve()), config_name="config")(_job)()
    except REFUSED as reason:
        _end("predcg", reason)
    except KeyboardInterrupt:
        _interrupted("predcg")


def draw() -> None:
    """`predcg-draw <paper>/<figure> [key=value ...]` or `predcg-draw --all`; exits with 1 when a number is out of
    tolerance.
    """
    known = listing(shipped("experiments"))
    _tell(draw_help_page, known)
    everything, arguments = "--all" in sys.argv[1:], [argument for argument in sys.argv[1:] if argument != "--all"]
    chosen = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    try:
        if not chosen and not everything:
            raise InputError(f"figure: expected --all or one of {', '.join(known)}; found none; see predcg-draw --help")
        for name in set(chosen) - set(known):
            raise InputError(unknown("figure", name, known))
        from predcg.draw import draw as draw_one
        from predcg.draw import draw_all
        from predcg.systems import trusted_code

        _house()
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        with trusted_code("trust_code=true" in overrides):
            met = [draw_all(chosen, overrides)] if everything else [draw_one(name, overrides) for name in chosen]
    except REFUSED as reason:
        _end("predcg-draw", reason)
    except KeyboardInterrupt:
        _interrupted("predcg-draw")
    sys.exit(0 if all(met) else 1)


def _tell(page: Callable[[], str], known: list[str]) -> None:
    """Answer --help, --version or --list, and end."""
    asked = sys.argv[1:]
    answers = {
        "--help": page,
        "-h": page,
        "--version": lambda: f"predcg {version('predcg')}",
        "--list": lambda: "\n".join(known),
    }
    for flag in answers.keys() & set(asked):
        print(answers[flag]())
        sys.exit(0)


def _complete_experiment(known: list[str]) -> None:
    """Answer the shell where it completes a call without an experiment yet, and end: Hydra needs one to complete the
    rest, and knows no nested names.
    """
    words = os.environ.get("COMP_LINE", "").split(" ")[1:]
    if (
        {"-sc", "--shell-completion"} & set(sys.argv[1:2])
        and words
        and not any(word.startswith("experiment=") for word in words[:-1])
    ):
        print("\n".join(f"experiment={name}" for name in known))
        sys.exit(0)


def _house() -> None:
    """Give the caches and logs of libraries a temporary folder where the user's home cannot be written: wandb's would
    fail after the training.
    """
    if not os.access(Path.home(), os.W_OK):
        elsewhere = tempfile.mkdtemp(prefix="predcg_")
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            os.environ.setdefault(name, elsewhere)


def _job(cfg: DictConfig) -> None:
    # Imported for a run only: torch, OpenMM and Lightning take seconds.
    from predcg.config import complete
    from predcg.processes import end_with_parent
    from predcg.report import FAILED
    from predcg.run import run
    from predcg.systems import trusted_code
    from predcg.text import table

    end_with_parent()
    try:
        with trusted_code(cfg.trust_code is True):
            folder = run(complete(cfg, HydraConfig.get()))
        summary = read_json(folder / "summary.json")
        log.info(table(summary))
        if failed := [name.removesuffix(FAILED) for name in summary if name.endswith(FAILED)]:
            raise FigureError(
                f"{', '.join(failed)} failed, the rest of the run is there: {folder}; tracebacks are in"
                " figures/<name>.txt"
            )
    except (*OURS, OSError) as reason:
        if HydraConfig.get().mode != RunMode.RUN:
            raise  # In a sweep Hydra says which job it was.
        _end("predcg", reason)


def _end(program: str, reason: Exception) -> NoReturn:
    ours = isinstance(reason, OURS)
    print(f"{program}: {short(str(reason) if ours else explain(reason, sys.argv[1:]))}", file=sys.stderr)
    sys.exit(1 if isinstance(reason, (FloatingPointError, FigureError)) else 2)


def _interrupted(program: str) -> NoReturn:
    print(f"{program}: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
    sys.exit(130)
