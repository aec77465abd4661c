"""Numbers and rows as text."""


def table(numbers: dict[str, float]) -> str:
    """Aligned lines: name, value with its error, and the exact or reference value, from the suffixes of the names.

    >>> print(table({"log_z": 12.05, "log_z_error": 0.012, "log_z_exact": 12.0649, "steps": 20}))
    log_z  12.05 ± 0.012  exact 12.065
    steps  20
    """
    rows = []
    for name, value in numbers.items():
        if not name.endswith(("_error", "_exact", "_reference")):
            error = f" ± {numbers[f'{name}_error']:.2g}" if f"{name}_error" in numbers else ""
            beside = [
                f"{kind} {numbers[f'{name}_{kind}']:.5g}"
                for kind in ("exact", "reference")
                if f"{name}_{kind}" in numbers
            ]
            rows.append((name, f"{value:.5g}{error}", " ".join(beside)))
    return align(rows)


def align(rows: list[tuple[str, ...]]) -> str:
    """Rows of text as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
