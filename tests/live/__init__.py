"""Live cases: the extension inside a real Forge, with random full-size models. Run by `python -m tests.live`."""
