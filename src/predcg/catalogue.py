"""What ships, each in one line: experiments, groups with their options, claims; and the help that is made of them."""

import re
import shutil
import textwrap
from itertools import takewhile
from pathlib import Path

HELP = """\
predcg {version}: coarse-grained models and collective variables of molecules,
from data, from the force field alone, and from both

predcg experiment=<name> [group=option ...] [key=value ...]

An experiment selects one option of each group and states what differs; group=option selects another,
key=value sets any number in it. A run writes outputs/<experiment>/<overrides>/seed-<n>/ (model, metrics,
figures, summary) and prints a table. The same command again goes on where an interrupted run was; a
finished one is skipped.

Experiments
{experiments}

Groups and their options
{groups}

Examples
  predcg experiment=ala2/forward_kl                                               two collective variables
  predcg experiment=ala2/forward_kl --cfg job                                     show every key, run nothing
  predcg experiment=ala2/forward_kl acquisition=load acquisition.path=frames.xtc  learn from frames of your own
  predcg experiment=ala2/reverse_kl system=molecule system.pdb=mine.pdb           your molecule, without any data
  predcg -m experiment=double_well/forward_kl prior=flat,ard seed=0,1,2           a sweep: one run for each combination

Flags
  --help, --version, --list     this page; the version; the names of the experiments
  -m                            sweep over values with commas between them
  --cfg job, --info             show the configuration; show how it was put together
  --hydra-help                  the other flags, which are Hydra's

Completion of groups, options and keys with <Tab>: eval "$(predcg -sc install=bash)", also zsh and fish.
Figures with their claims are drawn by predcg-draw; see predcg-draw --help. Python: from predcg.run import load."""

DRAW_HELP = """\
predcg-draw {version}: a claim in; picture, numbers and verdict out

predcg-draw <claim> [<claim> ...] [key=value ...]
predcg-draw --all [<claim> ...] [force=true]

Runs what is missing of a claim, writes outputs/figures/<claim>.{{png,pdf,json}}, and prints what was found
against what was expected, with its source. Exits with 1 when a number is out of tolerance. key=value are
further overrides of every run, as of predcg. --all keeps the results beside the claims of a checkout, and
rewrites experiments/README.md.

Claims
{claims}

Examples
  predcg-draw double_well/bounds
  predcg-draw schoberl2019/fig16 schoberl2019/fig17
  predcg-draw speed/energy force=true

Flags
  --help, --version, --list     this page; the version; the names of the claims"""


def shipped(name: str) -> Path:
    """The folder `conf` or `experiments`: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    return package / name if (package / name).is_dir() else package.parents[1] / name


def listing(folder: Path) -> list[str]:
    """Names of all yaml files below a folder, as a user would write them."""
    return sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.yaml"))


def groups() -> dict[str, list[str]]:
    """The configuration groups, experiments aside, with their options."""
    folders = sorted(path for path in shipped("conf").iterdir() if path.is_dir() and path.name != "experiment")
    return {folder.name: listing(folder) for folder in folders}


def description(file: Path) -> str:
    """The first sentence of a yaml's comment, which says what it shows."""
    lines = takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    comment = " ".join(line.removeprefix("#").strip() for line in lines if "@package" not in line)
    return re.split(r"(?<=\.)\s+(?=[A-Z])", comment)[0]


def help_page() -> str:
    """What `predcg --help` prints."""
    from importlib.metadata import version  # It is not always needed, and takes time.

    wide = shutil.get_terminal_size((150, 0)).columns
    options = [(f"  {group:<13} ", ", ".join(found)) for group, found in groups().items()]
    text = "\n".join(
        textwrap.fill(line, wide, initial_indent=name, subsequent_indent=" " * len(name)) for name, line in options
    )
    return HELP.format(
        version=version("predcg"), experiments=_described(shipped("conf") / "experiment", wide), groups=text
    )


def draw_help_page() -> str:
    """What `predcg-draw --help` prints."""
    from importlib.metadata import version

    wide = shutil.get_terminal_size((150, 0)).columns
    return DRAW_HELP.format(version=version("predcg"), claims=_described(shipped("experiments"), wide))


def _described(folder: Path, wide: int) -> str:
    found = listing(folder)
    column = max(map(len, found)) + 2
    told = [
        textwrap.shorten(description(folder / f"{name}.yaml"), max(wide - column - 2, 30), placeholder=" ...")
        for name in found
    ]
    return "\n".join(f"  {name:<{column}}{line}" for name, line in zip(found, told, strict=True))
