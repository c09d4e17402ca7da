"""The panel on a page of its own, over the standalone host."""
