"""The demo: `python -m demo` (or `make demo`) goes from nothing to served predictions on this machine."""
