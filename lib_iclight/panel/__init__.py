"""The accordion: widgets, wiring and status, for any page that Gradio draws; knows no host."""
