"""
Blocks of a text report. rich lays them out: in colour for a terminal, and as plain lines elsewhere.

Foreign text must pass through `words.plain` before it is put into a block.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence

from rich import box
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_ENDLESS = 1_000_000
"""A width at which nothing is wrapped."""

Block = Padding
"""A text, a table or names, with an indent."""
BLANK = Padding(Text(), expand=False)


class NameColumns(Columns):
    """Names side by side, filled downwards like the output of `ls`."""

    def __init__(self, texts: Sequence[Text]) -> None:
        super().__init__(texts, padding=(0, 2), column_first=True)
        self.texts = texts


class TextPage(ABC):
    """A page of blocks. rich prints it for a terminal, `str` returns plain lines."""

    @abstractmethod
    def blocks(self) -> Iterable[Block]:
        """Yield all blocks in order."""

    def on_screen(self) -> Iterable[Block]:
        """Yield the blocks that a terminal shows: all of them, unless the page is too long."""
        return self.blocks()

    def lines(self) -> Iterator[str]:
        """Yield plain lines: no colour, no frames, and not wrapped, so that they can be searched."""
        console = Console(file=io.StringIO(), width=_ENDLESS, color_system=None, highlight=False, _environ={})
        for block in self.blocks():
            indent, content = block.left, block.renderable
            if isinstance(content, Table):
                _unframe(content)
                with console.capture() as captured:
                    # At the endless width, rich would fill each line with a million spaces.
                    console.print(block, width=Measurement.get(console, console.options, block).maximum)
                yield from (line.rstrip() for line in captured.get().splitlines())
            else:
                # There may be thousands of these, and rich needs milliseconds for each.
                text = Text("  ").join(content.texts) if isinstance(content, NameColumns) else content
                yield f"{' ' * indent}{text}".rstrip()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Without an indent, the padding would only fill lines, and drop empty ones.
        yield from (block if block.left else block.renderable for block in self.on_screen())


def line(spans: Iterable[tuple[str, str]], indent: int = 0) -> Block:
    """
    Return a line of text.

    spans: pairs of text and rich style. indent: in columns, also of continuation lines.
    """
    return _indented(Text.assemble(*spans, overflow="fold"), indent)


def heading(text: str, style: str) -> Block:
    return line(((text, style),))


def fact(label: str, text: str) -> Block:
    return grid([(f"{label:<9}", text)])


def grid(
    rows: Iterable[Sequence[str]],
    header: Sequence[str] = (),
    footer: Sequence[str] = (),
    numbers: Collection[int] = (),
    indent: int = 0,
) -> Block:
    """
    Return rows in columns.

    numbers: the columns that are aligned to the right.
    """
    if header:
        table = Table(box=box.SIMPLE_HEAD, show_footer=bool(footer), pad_edge=False, show_edge=False)
        for column, title in enumerate(header):
            total = Text(footer[column], "bold") if footer else ""
            justify: JustifyMethod = "right" if column in numbers else "left"
            table.add_column(Text(title, "bold"), total, justify=justify, overflow="fold")
    else:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(overflow="fold", max_width=40)
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return _indented(table, indent)


def names(items: Sequence[tuple[str, str]], hidden: int = 0, indent: int = 0) -> Block:
    """
    Return many short names side by side.

    items: pairs of a name and a remark. hidden: how many further names are not shown.
    """
    cells = [Text.assemble((name, ""), (f" {remark}" if remark else "", "dim")) for name, remark in items]
    cells += [Text(and_more(hidden))] if hidden else []
    return _indented(NameColumns(cells), indent)


def section(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield a blank line and the blocks; nothing if there are no blocks."""
    for number, block in enumerate(blocks):
        if number == 0:
            yield BLANK
        yield block


def and_more(number: int) -> str:
    return f"… {number:,} more"


def _indented(content: RenderableType, indent: int) -> Block:
    return Padding(content, (0, 0, 0, indent), expand=False)


def _unframe(table: Table) -> None:
    """Take away the frame of a table, and the limits of its columns."""
    table.box, table.padding = None, (0, 2, 0, 0)
    for column in table.columns:
        column.max_width = None
