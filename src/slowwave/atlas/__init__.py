"""The atlas: the register of every published memory system, with what is built here and what was measured."""

from slowwave.atlas.page import document, render_card, render_table
from slowwave.atlas.register import FORMS, OPERATIONS, Row, row, rows

__all__ = ["FORMS", "OPERATIONS", "Row", "document", "render_card", "render_table", "row", "rows"]
