"""The table in Markdown, and the sentence below it."""

from collections.abc import Iterable

from contenders.bench import Setting


def table(settings: Iterable[Setting], columns: dict[str, str]) -> list[str]:
    """A line for each setting. `columns` has the titles, each with the one that it is a multiple of."""
    heads = ["batch", "threads", *columns, "spread"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for setting in settings:
        cells = (_cell(setting, title, base) for title, base in columns.items())
        first = f"| {setting.rows} x {setting.dim} | {setting.threads} | "
        lines.append(first + " | ".join(cells) + f" | {setting.spread():.0%} |")
    return lines


def _cell(setting: Setting, title: str, base: str) -> str:
    if title not in setting.rounds:
        return "-"
    median = setting.median(title)
    multiple = "" if title == base else f" ({median / setting.median(base):.1f}x)"
    return f"{_digits(median)}{multiple}"


def _digits(value: float) -> str:
    """Three digits, or all those before the point."""
    return f"{value:.{2 if value >= 1 else 3}f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def near_ties(settings: Iterable[Setting]) -> str:
    """A sentence on the rows in which contenders have another closest negative."""
    found = [
        f"{title} {count} of {setting.rows} at {setting.rows} x {setting.dim}, threads {setting.threads}"
        for setting in settings
        for title, count in setting.near_ties.items()
        if count
    ]
    return "; ".join(found) or "none"
