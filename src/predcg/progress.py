"""Progress bars: rate and remaining time, calm in a log file."""

import sys

from tqdm import tqdm


def progress(total: int, description: str, done: int = 0, shown: bool = True) -> tqdm:
    """A bar over `total` steps, redrawn every second on a terminal and every half minute in a file."""
    interval = 1.0 if sys.stderr.isatty() else 30.0
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit="step",
        unit_scale=total > 1e6,
        mininterval=interval,
        disable=not shown,
    )
