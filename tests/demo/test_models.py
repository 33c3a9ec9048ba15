"""The demo's models are good, and the real server takes them. `inference-server` itself is not started here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

for needed in ("sklearn", "skl2onnx", "onnxruntime"):
    pytest.importorskip(needed, reason=f"the dependency group `demo` is not installed: no {needed}")

from demo import digits, models, movielens  # noqa: E402 - skipped above where they can't be imported
from demo.movielens import Ratings  # noqa: E402
from demo.recommender import factorise  # noqa: E402
from inference_server.loading import load_version  # noqa: E402
from inference_server.repository.publish import publish  # noqa: E402
from inference_server.repository.scan import scan  # noqa: E402

TASTES = 5
PEOPLE_OF_A_TASTE, FILMS_OF_A_TASTE = 24, 20


@pytest.fixture(scope="module")
def tastes() -> Ratings:
    """People of five tastes, each of whom has rated half of the films of his taste, and one film that all have seen."""
    rng = np.random.default_rng(7)
    pairs = [
        (taste * PEOPLE_OF_A_TASTE + person, 1 + taste * FILMS_OF_A_TASTE + film)
        for taste in range(TASTES)
        for person in range(PEOPLE_OF_A_TASTE)
        for film in rng.choice(FILMS_OF_A_TASTE, FILMS_OF_A_TASTE // 2, replace=False)
    ]
    people = TASTES * PEOPLE_OF_A_TASTE
    pairs += [(person, 0) for person in range(people)]
    users, items = np.array(pairs, dtype=np.int64).T
    count = 1 + TASTES * FILMS_OF_A_TASTE
    return Ratings(
        user_ids=np.arange(people) + 100,
        item_ids=np.arange(count) + 5000,
        titles=np.array([f"Film {number} (1999)" for number in range(count)]),
        users=users,
        items=items,
        stars=rng.integers(3, 6, len(users)).astype(np.float32),
    )


def taste_of_item(item_ids: np.ndarray) -> np.ndarray:
    return np.asarray((item_ids - 5001) // FILMS_OF_A_TASTE)


def ask(repository: Path, scratch: Path, *wanted: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What the one model of a repository answers, published and loaded as the server does it."""
    publish(repository)
    found = scan(repository)
    assert found.problems == ()
    (version,) = found.versions
    return dict(load_version(version, scratch, {}).runtime.predict(inputs, wanted, {}).outputs)


def test_people_are_recommended_unseen_films_of_their_own_taste(tastes: Ratings, tmp_path: Path) -> None:
    repository = models.write_recommender(tmp_path, tastes)
    scratch = tmp_path / "scratch"

    items = ask(repository, scratch, user=tastes.user_ids, k=np.array([FILMS_OF_A_TASTE // 2]))["items"]

    own_taste = np.arange(len(tastes.user_ids)) // PEOPLE_OF_A_TASTE
    assert (taste_of_item(items) == own_taste[:, np.newaxis]).mean() > 0.95
    rated = set(zip(tastes.user_ids[tastes.users].tolist(), tastes.item_ids[tastes.items].tolist(), strict=True))
    recommended = {
        (user, item) for user, row in zip(tastes.user_ids.tolist(), items.tolist(), strict=True) for item in row
    }
    assert not rated & recommended


def test_a_stranger_is_recommended_what_most_people_have_seen(tastes: Ratings, tmp_path: Path) -> None:
    repository = models.write_recommender(tmp_path, tastes)
    scratch = tmp_path / "scratch"

    answer = ask(repository, scratch, user=np.array([1]), k=np.array([1]))

    assert answer["items"].tolist() == [[5000]]
    assert answer["titles"].tolist() == [[b"Film 0 (1999)"]]


def test_training_twice_gives_the_same_factors(tastes: Ratings) -> None:
    for once, again in zip(factorise(tastes.matrix()), factorise(tastes.matrix()), strict=True):
        np.testing.assert_array_equal(once, again)


def test_on_movielens_a_liked_film_left_out_is_found_more_than_twice_as_often_as_by_popularity() -> None:
    package = movielens.in_cache()
    if package is None:
        pytest.skip("MovieLens is not in the cache, and tests download nothing: run `make demo` once")
    stars = movielens.read(package).matrix()
    left_out = _take_one_liked_film_of_each(stars)

    users, items = factorise(stars)

    popularity = np.tile(np.count_nonzero(stars, axis=0).astype(np.float64), (len(stars), 1))
    assert _hit_rate(users @ items.T, stars, left_out) > 2 * _hit_rate(popularity, stars, left_out)


def _take_one_liked_film_of_each(stars: np.ndarray) -> dict[int, int]:
    rng = np.random.default_rng(3)
    left_out = {}
    for user, row in enumerate(stars):
        liked = np.flatnonzero(row >= 4)
        if len(liked) > 1:
            left_out[user] = int(rng.choice(liked))
            row[left_out[user]] = 0
    return left_out


def _hit_rate(scores: np.ndarray, seen: np.ndarray, left_out: dict[int, int]) -> float:
    """How often the film that was left out is among the ten best of those not seen."""
    scores = np.where(seen > 0, -np.inf, scores)
    return float(np.mean([np.count_nonzero(scores[user] > scores[user, item]) < 10 for user, item in left_out.items()]))


def test_films_listed_twice_are_one_film_and_articles_come_first() -> None:
    films = [
        ["7", "Chasing Amy", "1997", "Drama"],
        ["3", "Chasing Amy", "1997", "Drama"],
        ["5", "Net, The", "1995", ""],
    ]

    ratings = movielens.parse([["1", "7", "2", "0"], ["1", "3", "5", "0"], ["2", "5", "4", "0"]], films)

    assert ratings.item_ids.tolist() == [3, 5]
    assert ratings.titles.tolist() == ["Chasing Amy (1997)", "The Net (1995)"]
    assert ratings.matrix().tolist() == [[5, 0], [0, 4]]


@pytest.mark.parametrize("version", [1, 2])
def test_a_classifier_as_the_server_loads_it_knows_digits_that_it_was_not_trained_on(
    version: int, tmp_path: Path
) -> None:
    training, held_out = digits.split()
    repository = models.write_digits(tmp_path, training, version)

    labels = ask(repository, tmp_path / "scratch", digits.OUTPUT, **{digits.INPUT: held_out.pixels})[digits.OUTPUT]

    assert (labels == held_out.labels).mean() >= 0.95
    assert len(held_out.labels) > 500


def test_held_out_digits_are_not_trained_on() -> None:
    training, held_out = digits.split()

    known = {row.tobytes() for row in training.pixels}
    assert not any(row.tobytes() in known for row in held_out.pixels)
