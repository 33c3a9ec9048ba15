"""Builds the documentation as a site, from the pages as they are. A link that leads nowhere fails it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = "zensical.toml"
SHOWN = ("README.md", "CONTRIBUTING.md", "LICENSE", "docs", "argocd", "charts", "crds", "examples")
"""Pages, and what they link to."""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "build" / "docs")
def main(folder: Path) -> None:
    """Build the site in FOLDER/site. FOLDER is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "source"
    source.mkdir(parents=True)
    for name in SHOWN:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    shutil.copy(ROOT / CONFIGURATION, folder)
    words = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True)
    if built.returncode:
        # What it says after its findings is a traceback.
        sys.exit(built.stdout + built.stderr.partition("Traceback")[0])
    click.echo(f"The site is in {folder / 'site'}. To read it: {sys.executable} -m http.server -d {folder / 'site'}")


if __name__ == "__main__":
    main()
