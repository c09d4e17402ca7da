"""The extension's side that lives inside a WebUI: panel, hooks, API, infotext, X/Y/Z axes."""
