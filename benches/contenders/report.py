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
    multiple = "" if title == base else f" ({median / setting.median(base):.1f}x)"
    return f"{_digits(median)}{multiple}"


def _digits(value: float) -> str:
    """Three digits or so, and all those before the point."""
    digits = next((digits for least, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)) if value >= least), 4)
    return f"{value:.{digits}f}"


def near_ties(settings: Iterable[Setting]) -> str:
    """A sentence on the rows in which contenders have another closest negative."""
    found = [
        f"{title} {count} at {setting.shape()}, threads {setting.threads}"
        for setting in settings
        for title, count in setting.near_ties.items()
        if count
    ]
    return "; ".join(found) or "none"
