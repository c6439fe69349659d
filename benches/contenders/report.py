"""The table in Markdown, and the sentence below it."""

from collections.abc import Iterable

from contenders.turns import Setting


def table(settings: Iterable[Setting], columns: dict[str, str]) -> list[str]:
    """A line for each setting. `columns` has the titles, each with the one that it is a multiple of."""
    heads = ["batch", "threads", *columns, "spread"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for setting in settings:
        cells = (_cell(setting, title, base) for title, base in columns.items())
        first = f"| {setting.shape()} | {setting.threads} | "
        lines.append(first + " | ".join(cells) + f" | {setting.spread():.0%} |")
    return lines


def _cell(setting: Setting, title: str, base: str) -> str:
    if title not in setting.rounds:
        return "-"
    median = setting.median(title)
    multiple = "" if title == base else f" ({_digits(median / setting.median(base))} x)"
    return f"{_time(median)}{multiple}"


def _time(milliseconds: float) -> str:
    """In the unit that leaves the fewest digits."""
    units = (("ms", 1), ("us", 1e3))
    unit, scale = next(((unit, scale) for unit, scale in units if milliseconds * scale >= 1), ("ns", 1e6))
    return f"{_digits(milliseconds * scale)} {unit}"


def _digits(value: float) -> str:
    """Three digits or so, and all those before the point."""
    return f"{value:.{next((digits for least, digits in ((100, 0), (10, 1)) if value >= least), 2)}f}"


def near_ties(settings: Iterable[Setting]) -> str:
    """A sentence on the rows in which contenders have another closest negative."""
    found = [
        f"{title} {count} at {setting.shape()}, threads {setting.threads}"
        for setting in settings
        for title, count in setting.near_ties.items()
        if count
    ]
    return "; ".join(found) or "none"
