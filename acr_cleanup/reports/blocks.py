"""
Blocks of a text report, and their two forms: tables and colour for a terminal, plain lines
elsewhere.

A report is composed of blocks once, and then takes one of the forms. Foreign text must pass through
`words.plain` before it is put into a block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from acr_cleanup.reports import words


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in styled parts."""

    spans: tuple[tuple[str, str], ...] = ()
    """Pairs of text and rich style."""
    indent: int = 0
    """In columns. Continuation lines have the same indent."""

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows in columns."""

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    numbers: frozenset[int] = frozenset()
    """Indexes of the columns that are aligned to the right."""
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """Many short names side by side."""

    items: tuple[tuple[str, str], ...]
    """Pairs of a name and a remark."""
    hidden: int = 0
    """How many further names are not shown."""
    indent: int = 0


Block = Line | Grid | Names
BLANK = Line()


class TextPage(ABC):
    """A page of blocks. rich prints it for a terminal, `str` returns plain lines."""

    @abstractmethod
    def blocks(self) -> Iterable[Block]:
        """Yield all blocks in order."""

    def on_screen(self) -> Iterable[Block]:
        """Yield the blocks that a terminal shows: all of them, unless the page is too long."""
        return self.blocks()

    def lines(self) -> Iterator[str]:
        """
        Yield plain lines: no colour, no frames, and not wrapped, so that they can be searched.
        """
        for block in self.blocks():
            yield from _plain(block)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for block in self.on_screen():
            yield from _rich(block, options.max_width)


def section(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield a blank line and the blocks; nothing if there are no blocks."""
    for number, block in enumerate(blocks):
        if number == 0:
            yield BLANK
        yield block


def heading(text: str, style: str) -> Line:
    return Line(((text, style),))


def fact(label: str, text: str) -> Grid:
    return Grid(((f"{label:<9}", text),))


def and_more(number: int) -> str:
    return f"… {number:,} more"


def _plain(block: Block) -> Iterator[str]:
    match block:
        case Line():
            yield f"{' ' * block.indent}{block.text}" if block.text else ""
        case Names():
            more = [and_more(block.hidden)] if block.hidden else []
            yield " " * block.indent + ", ".join(
                [*(f"{name} ({remark})" if remark else name for name, remark in block.items), *more]
            )
        case Grid():
            rows = [row for row in (block.header, *block.rows, block.footer) if row]
            last = len(rows[0]) - 1
            # One very long name must not push the columns of all rows off the screen.
            widths = [min(max(len(row[column]) for row in rows), words.NAME_LIMIT) for column in range(last + 1)]
            for row in rows:
                cells = (
                    cell.rjust(width) if column in block.numbers else cell if column == last else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                yield (" " * block.indent + "  ".join(cells)).rstrip()


def _rich(block: Block, width: int) -> Iterator[Text | Padding]:
    match block:
        case Line() if block.text:
            text = Text.assemble(*block.spans, overflow="fold")
            yield _indented(text, block.indent) if block.indent else text
        case Line():
            yield Text()
        case Names():
            yield _indented(_side_by_side(block, width - block.indent), block.indent)
        case Grid():
            yield _indented(_grid(block), block.indent)


def _indented(content: Text | Table, indent: int) -> Padding:
    return Padding(content, (0, 0, 0, indent), expand=False)


def _side_by_side(block: Names, width: int) -> Text:
    """Arrange the names in columns, filled downwards like the output of `ls`."""
    items = [*block.items, *([(and_more(block.hidden), "")] if block.hidden else [])]
    cells = [Text.assemble((name, ""), (f" {remark}" if remark else "", "dim")) for name, remark in items]
    for columns in range(min(len(cells), width), 0, -1):
        height = -(-len(cells) // columns)
        slices = [cells[start : start + height] for start in range(0, len(cells), height)]
        widths = [max(cell.cell_len for cell in column) for column in slices]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    shown = Text(overflow="fold")
    for row in range(height):
        line = [(cells[row], wide) for cells, wide in zip(slices, widths, strict=True) if row < len(cells)]
        for column, (cell, wide) in enumerate(line):
            shown.append_text(cell)
            shown.append(" " * (wide - cell.cell_len + 2) if column < len(line) - 1 else "")
        shown.append("\n" if row < height - 1 else "")
    return shown


def _grid(block: Grid) -> Table:
    if not block.header:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(overflow="fold", no_wrap=False, max_width=40)
        table.add_column(overflow="fold")
    else:
        table = Table(
            box=box.SIMPLE_HEAD, show_footer=bool(block.footer), pad_edge=False, show_edge=False, header_style="bold"
        )
        for column, title in enumerate(block.header):
            number = column in block.numbers
            table.add_column(
                Text(title),
                footer=Text(block.footer[column], "bold") if block.footer else "",
                justify="right" if number else "left",
                overflow="fold",
            )
    for row in block.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
