"""`python -m inference_server` is the same as the script `inference-server`."""

from __future__ import annotations

from inference_server.cli import main

if __name__ == "__main__":
    main()
