"""How the target was approached."""

from predcg.results import Run


def rises(run: Run) -> dict[str, float]:
    """How often β was raised, and two estimates of log Z where it has reached 1: see figures.tempering."""
    numbers = {
        "beta_rises": sum(rise > 0 for rise in run.column("tempering/rise")[1]),
        "beta_rises_forced": sum(run.column("tempering/forced")[1]),
    }
    last = next((row for row in reversed(run.history) if row.get("tempering/beta") == 1), None)
    if last:
        exact = run.system.exact().get("log_z")
        for name, key in (("log_z_tempering", "sample/log_z"), ("log_z_direct", "sample/log_z_direct")):
            numbers |= {name: last[key], f"{name}_error": last[f"{key}_error"]} | (
                {f"{name}_exact": exact} if exact is not None else {}
            )
    return numbers
