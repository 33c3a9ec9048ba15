from __future__ import annotations

import pytest

SIZE = "image size"
"""A property of tests: an image and its size, in words."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            if name == SIZE:
                terminalreporter.write_line(f"The image of the {value}.")
