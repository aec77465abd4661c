"""Claims, the results that are kept beside them, and the page that shows these."""

from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from predcg.catalogue import listing
from predcg.errors import InputError
from predcg.files import atomic, read_json, write_json
from predcg.messages import unknown

RESERVED = {"folder", "force", "trust_code"}
EXPECTED = dict.fromkeys(("value", "tolerance", "at_least", "at_most", "source"))
WIDTH_PIXELS, SIZE_BYTES = 1000, 150_000  # A kept picture is at most so large: it is a part of the checkout.


def claim(folder: Path, name: str) -> dict[str, Any]:
    """What the claim <folder>/<name>.yaml says: `runs`, `figure`, `expect`; `round`, where it is not the last one's.

    A claim may be somebody else's: what is replaced, what is written where, and whose code is run are said on the
    command line alone.

    Raises:
        InputError: no such claim, or one that is none.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise InputError(unknown("figure", name, listing(folder)))
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as reason:
        raise InputError(
            f"{path}: expected a claim in plain YAML; found {' '.join(str(reason).split())}; mend the file"
        ) from reason
    if not isinstance(content, dict) or not content.keys() >= {"runs", "figure", "expect"}:
        raise InputError(f"{path}: expected the keys runs, figure and expect; found {list(content)}; mend the file")
    if type(content.get("round", 1)) is not int:
        raise InputError(f"{path}: expected round, a whole number; found {content['round']!r}; mend the file")
    for number, expected in content["expect"].items():
        if not isinstance(expected, dict) or expected.keys() - EXPECTED:
            found = sorted(expected.keys() - EXPECTED) if isinstance(expected, dict) else expected
            raise InputError(
                f"{path}: expected of {number} some of {', '.join(EXPECTED)}; found {found}; write a source that has a"
                " comma in quotes"
            )
    for override in (override for entry in content["runs"] for override in entry):
        key = str(override).partition("=")[0].strip().lstrip("+~")
        if key in RESERVED or key.startswith("hydra"):
            raise InputError(
                f"{path}: expected overrides that a claim may make; found {override!r}; leave it out, and say it on the"
                " command line"
            )
    return content


def keep(folder: Path, name: str, picture: Any, result: dict[str, Any]) -> None:
    """Write a small <name>.png and <name>.json beside the claim.

    Args:
        folder: experiments/ of the checkout.
        name: <paper>/<figure>.
        picture: a figure of matplotlib, saved with as many dots per inch as its limits allow.
        result: the claim, and what `draw.make` has found.
    """
    path = folder / f"{name}.json"
    with atomic(path.with_suffix(".png")) as temporary:
        dpi = min(160.0, WIDTH_PIXELS / picture.get_figwidth())
        picture.savefig(temporary, dpi=dpi)
        while temporary.stat().st_size > SIZE_BYTES:
            dpi *= 0.8
            picture.savefig(temporary, dpi=dpi)
    write_json(path, result)  # The result comes last: one that is there has a picture.


def kept(folder: Path, name: str) -> dict[str, Any] | None:
    """The kept result of a claim; None where there is none, or where the claim has changed since."""
    content, path = claim(folder, name), folder / f"{name}.json"
    if not (path.is_file() and path.with_suffix(".png").is_file()):
        return None
    result = read_json(path)
    return result if {key: result.get(key) for key in content} == content else None


def rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """A header, then of every expected number its name, what was found with its error, what was expected, verdict and
    source.

    >>> expect = {"log_z": {"value": 12.06, "tolerance": 0.05, "source": "exact"}}
    >>> rows({"expect": expect, "numbers": {"log_z": 12.05, "log_z_error": 0.012}, "met": {"log_z": True}})[1]
    ('log_z', '12.05 ± 0.012', '12.06 ± 0.05', 'met', 'exact')
    """
    numbers, forms = result["numbers"], {"value": "{0} ± {1}", "at_least": ">= {0}", "at_most": "<= {0}"}
    lines = [("name", "found", "expected", "met", "source")]
    for key, expected in result["expect"].items():
        error = f" ± {numbers[f'{key}_error']:.2g}" if f"{key}_error" in numbers else ""
        wanted = " and ".join(
            form.format(expected[k], expected.get("tolerance")) for k, form in forms.items() if k in expected
        )
        lines.append(
            (key, f"{numbers[key]:.5g}{error}", wanted, "met" if result["met"][key] else "NOT MET", expected["source"])
        )
    return lines


def page(folder: Path) -> str:
    """Markdown of all kept results below `folder`, paper by paper, and the commands of those that are missing."""
    results = {name: kept(folder, name) for name in listing(folder)}
    drawn = {name: result for name, result in results.items() if result}
    contents = [("paper", "figures", "met", "not met")]
    for paper in sorted({name.split("/")[0] for name in drawn}):
        here = [name for name in drawn if name.split("/")[0] == paper]
        met = [verdict for name in here for verdict in drawn[name]["met"].values()]
        # GitHub makes an anchor of a heading by leaving out its slashes.
        links = ", ".join(f"[{name.partition('/')[2]}](#{name.replace('/', '').lower()})" for name in here)
        contents.append((paper, links, str(sum(met)), str(len(met) - sum(met))))
    parts = [
        "# Claims and what was found",
        "`predcg-draw --all` rebuilds this page and draws what is missing.",
        _table(contents),
    ]
    parts += [_section(folder, name, result) for name, result in drawn.items()]
    missing = [name for name, result in results.items() if not result]
    return "\n\n".join([*parts, *(["## Not drawn yet", _commands(missing)] if missing else [])]) + "\n"


def _section(folder: Path, name: str, result: dict[str, Any]) -> str:
    comment = takewhile(lambda line: line.startswith("#"), (folder / f"{name}.yaml").read_text().splitlines())
    text = "\n".join(line.lstrip("# ") for line in comment)
    made = (
        f"{result['run_time_s'] / 60:.1f} min of runs and drawing, {result['drawn_on']}, {result['machine']}, commit"
        f" {result['commit']}"
    )
    return "\n\n".join([f"### {name}", text, f"![{name}]({name}.png)", _table(rows(result)), made, _commands([name])])


def _table(lines: list[tuple[str, ...]]) -> str:
    header, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([header, "|" + "---|" * len(lines[0]), *body])


def _commands(names: list[str]) -> str:
    return "\n".join(["```bash", *(f"predcg-draw {name}" for name in names), "```"])
