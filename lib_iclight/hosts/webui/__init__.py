"""The WebUIs that a relight can run in, one adapter a family."""
