"""The doctor: what is installed here, and whether it works, on paper that can be put into an issue.

Each line states a fact, or the outcome of a check with its figure. Checks compare the program with the equations of
docs/how-it-works.md, written anew and in another way. Whatever is broken becomes a line that says so.
"""

from .examination import examine
from .report import Line, Report

__all__ = ["Line", "Report", "examine"]
