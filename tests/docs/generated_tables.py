"""Tables of a page that are written from the code: whether a comparison with them notices every row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["assert_each_row_counts"]


def assert_each_row_counts(page: str, page_with_tables: Callable[[str], str]) -> None:
    """Whichever row is missing or made up, the page is not what the code would write."""
    marked = re.findall(r"<!-- [a-z ]+: generated.*?-->\n(.*?)<!-- end of", page, re.DOTALL)
    rows = [row for table in marked for row in table.splitlines() if row.startswith("| `")]

    assert len(rows) > 30
    assert len(rows) == len(set(rows))
    for row in rows:
        for changed in ("", f"{row}\n{row.replace('`', '`x', 1)}\n"):
            damaged = page.replace(f"{row}\n", changed)
            assert page_with_tables(damaged) == page != damaged
