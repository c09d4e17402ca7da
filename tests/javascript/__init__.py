"""The page's scripts in node, beside what Python computes."""
