"""What an import tells the user: what it understood, what became of the rows, and what to look at.

Belongs here: words and tables on the terminal. Does not belong here: finding any of it out.
"""

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from retail_assets.imports.buckets import Tally
from retail_assets.imports.checking import Understanding
from retail_assets.imports.common import Outcome, Request
from retail_assets.imports.conventions import COMMA

_EXAMPLE_WIDTH: Final = 30
_SHOWN_COLUMNS: Final = 10


def write_report(outcome: Outcome, request: Request, lake: str, console: Console) -> None:
    """Show everything that an import found.

    Args:
        outcome: what it found and did.
        request: what was asked of it.
        lake: how the user calls the lake.
        console: where to show it.
    """
    for one in outcome.understood:
        _write_understanding(one, console)
    _write_rows(outcome, console)
    _write_contents(outcome, console)
    for warning in outcome.warnings:
        _say(console, f"[yellow]Look at this:[/yellow] {escape(warning)}.")
    if outcome.warnings:
        console.print()
    _write_end(outcome, request, lake, console)


def _write_understanding(one: Understanding, console: Console) -> None:
    file = one.file
    _title(console, f"{file.kind.name}: {file.name}, {file.form}, {counted(file.rows, 'row')}")
    grid = _grid()
    for heading in ("field", "column of the file", "read as", "for example"):
        grid.add_column(heading, no_wrap=heading != "for example")
    for field in file.kind.fields:
        if field.name in file.columns:
            examples = "   ".join(text[:_EXAMPLE_WIDTH] for text in one.examples.get(field.name, []))
            grid.add_row(field.name, escape(file.columns[field.name]), one.read_as(field), escape(examples))
    console.print(grid)
    absent = [field.name for field in file.kind.fields if field.name not in file.columns]
    if absent:
        _say(console, f"Not in the file: {', '.join(absent)}")
    if file.ignored:
        more = " …" if len(file.ignored) > _SHOWN_COLUMNS else ""
        _say(console, f"Left out of the file: {escape(', '.join(file.ignored[:_SHOWN_COLUMNS]))}{more}")
    console.print()


def _write_rows(outcome: Outcome, console: Console) -> None:
    tally = outcome.tally
    _title(console, f"Rows of {outcome.understood[0].file.kind.name}")
    grid = _grid()
    grid.add_column("", no_wrap=True)
    grid.add_column("rows", justify="right", no_wrap=True)
    grid.add_column("for example")
    grid.add_row("read", f"{outcome.read:,}", "")
    grid.add_row("accepted", f"{tally.accepted:,}", _of_these(tally))
    if tally.repeated:
        grid.add_row("repeated, counted once", f"{tally.repeated:,}", escape("; ".join(tally.repeated_examples)))
    grid.add_row("rejected", f"{outcome.rejections.total:,}", "")
    for reason, count in outcome.rejections.counts.most_common():
        examples = "; ".join(outcome.rejections.examples.get(reason, []))
        grid.add_row(f"  {escape(reason)}", f"{count:,}", escape(examples))
    console.print(grid)
    console.print()


def _of_these(tally: Tally) -> str:
    return f"{tally.replaced:,} of them replace earlier rows of the same keys" if tally.replaced else ""


def _write_contents(outcome: Outcome, console: Console) -> None:
    tally, observed = outcome.tally, outcome.observed
    if observed is None or not tally.accepted:
        return
    _say(
        console,
        f"Accepted: {tally.first_date} to {tally.last_date}, {counted(len(tally.stores), 'store')}, "
        f"{counted(len(tally.products), 'product')}.",
    )
    for fact in outcome.facts:
        _say(console, fact)
    series = observed.series
    days_on_sale = (series["last_date"] - series["first_date"]).dt.total_days() + 1 - series["closed_days"]
    rows, on_sale = int(series["rows"].sum()), int(days_on_sale.sum())
    _say(
        console,
        f"With what is in the lake: {observed.first_date} to {observed.last_date}, {series.height:,} series (a product "
        f"in a store), {counted(rows, 'day')} with a row.",
    )
    _say(
        console,
        "A series is on sale from its first row to its last, on days on which its store has any row. It has one itself "
        f"on {rows / on_sale:.1%} of them; on the other {counted(on_sale - rows, 'day')} nothing was sold.",
    )
    console.print()


def _write_end(outcome: Outcome, request: Request, lake: str, console: Console) -> None:
    share = outcome.rejections.total / outcome.read
    if outcome.rejected_file is not None:
        # That file is separated by commas, where a point between thousands would be taken for a decimal one.
        has_commas = any(one.file.kind.main and one.decimal == COMMA for one in outcome.understood)
        said = ", with --decimal comma" if has_commas else ""
        _say(
            console, f"The rejected rows are in {escape(str(outcome.rejected_file))}: mend and import that file{said}."
        )
    if not outcome.allowed:
        return
    if request.dry_run:
        _say(console, f"Dry run: nothing was written. Without --dry-run, {escape(lake)} would hold:")
    elif outcome.written:
        _say(console, f"Imported. {escape(lake)} holds:")
    grid = Grid(box=None, pad_edge=False, show_header=False)
    for path, rows in outcome.rows_by_table.items():
        grid.add_row(f"  {path}", counted(rows, "row"))
    console.print(grid)
    if share > 0:
        _say(console, f"{share:.2%} of the rows were rejected; up to {request.max_rejected:.2%} are allowed.")


def refusal(outcome: Outcome, request: Request) -> str:
    """Return in one line why nothing was imported."""
    [(reason, _)] = outcome.rejections.counts.most_common(1) or [("", 0)]
    if not outcome.tally.accepted:
        return f"no row could be accepted, most for the reason {reason!r}: nothing was imported"
    share = outcome.rejections.total / outcome.read
    return (
        f"{share:.1%} of the rows were rejected, {request.max_rejected:.1%} are allowed, most have the reason "
        f"{reason!r}: nothing was imported. Mend the rows, or allow more with --max-rejected"
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it should be."""
    plural = noun if noun == "series" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _title(console: Console, text: str) -> None:
    console.print(f"[bold]{escape(text)}[/bold]", highlight=False, soft_wrap=True)


def _grid() -> Grid:
    return Grid(box=None, pad_edge=False)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
