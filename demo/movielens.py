"""MovieLens 100K: 100,000 ratings of films by 943 people (Harper and Konstan, 2015, doi:10.1145/2827872).

The data set is not ours to pass on. It is fetched with pip, as part of a package that ships it as an example, and kept
in the user's cache folder. It is read as plain text: nothing of that package is installed or run.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from demo.failure import DemoFailed

REQUIREMENT = "recbole==1.2.1"
_WHEEL = "recbole-1.2.1-py3-none-any.whl"
_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_FOLDER = "recbole/dataset_example/ml-100k"


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """Who gave which film how many stars. U users, I films, n ratings."""

    user_ids: np.ndarray
    """int64 [U], ascending."""
    item_ids: np.ndarray
    """int64 [I], ascending."""
    titles: np.ndarray
    """Text [I], with the year: `Toy Story (1995)`."""
    users: np.ndarray
    """int64 [n], positions in `user_ids`."""
    items: np.ndarray
    """int64 [n], positions in `item_ids`."""
    stars: np.ndarray
    """float32 [n], 1 to 5."""

    def matrix(self) -> np.ndarray:
        """float32 [U, I]: the stars, 0 where there is no rating."""
        table = np.zeros((len(self.user_ids), len(self.item_ids)), dtype=np.float32)
        table[self.users, self.items] = self.stars
        return table


def fetch() -> Path:
    """The package that holds the data set, downloaded if it is not in the cache yet. Raises DemoFailed."""
    if (cached := in_cache()) is not None:
        return cached
    target = _cache_folder() / _WHEEL
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", temporary, REQUIREMENT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoFailed(f"pip download {REQUIREMENT} failed: {(done.stderr or done.stdout).strip()}")
        downloaded = Path(temporary) / _WHEEL
        if not _is_right(downloaded):
            raise DemoFailed(f"pip download {REQUIREMENT} gave another file than {_WHEEL} of {_SHA256}")
        downloaded.rename(target)
    return target


def in_cache() -> Path | None:
    """The package, if it has been downloaded before and is whole."""
    path = _cache_folder() / _WHEEL
    return path if _is_right(path) else None


def _cache_folder() -> Path:
    return platformdirs.user_cache_path("ecs-inference") / "movielens"


def _is_right(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256


def read(package: Path) -> Ratings:
    """Read the data set out of the package that holds it."""
    with zipfile.ZipFile(package) as archive:
        ratings = _table(archive.read(f"{_FOLDER}/ml-100k.inter"))
        films = _table(archive.read(f"{_FOLDER}/ml-100k.item"))
    return parse(ratings, films)


def _table(content: bytes) -> list[list[str]]:
    """The rows of a tab-separated file, without its heading."""
    lines = io.StringIO(content.decode(), newline="\n").read().splitlines()
    return [line.split("\t") for line in lines[1:]]


def parse(ratings: list[list[str]], films: list[list[str]]) -> Ratings:
    """From rows of user, film, stars, … and of film, title, year, …

    Some films are listed twice, under two ids. They are made one, lest somebody is told to see what he has seen; where
    he rated both, the better rating counts.
    """
    titles = {int(film[0]): readable_title(film[1], film[2]) for film in films}
    first_of: dict[str, int] = {}
    for item in sorted(titles):
        first_of.setdefault(titles[item], item)
    best: dict[tuple[int, int], float] = {}
    for user, film_rated, stars, *_ in ratings:
        pair = int(user), first_of[titles[int(film_rated)]]
        best[pair] = max(best.get(pair, 0.0), float(stars))
    rated = np.array(list(best), dtype=np.int64)
    user_ids, users = np.unique(rated[:, 0], return_inverse=True)
    item_ids, items = np.unique(rated[:, 1], return_inverse=True)
    return Ratings(
        user_ids=user_ids,
        item_ids=item_ids,
        titles=np.array([titles[item] for item in item_ids.tolist()]),
        users=users,
        items=items,
        stars=np.array(list(best.values()), dtype=np.float32),
    )


def readable_title(title: str, year: str) -> str:
    """`Usual Suspects, The` of 1995 -> `The Usual Suspects (1995)`."""
    turned = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", title)
    return f"{turned} ({year})" if year else turned
