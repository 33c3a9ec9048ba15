"""Trains a recommender: a matrix factorisation of who liked what. Knows no file, no data set and no server."""

from __future__ import annotations

import numpy as np

FACTORS = 32
_ROUNDS = 10
_REGULARISATION = 30.0
_LIKED = 3
"""Stars from which on somebody liked a film."""
_CONFIDENCE_OF_A_STAR = 2.0


def factorise(stars: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Factors of users [U, 32] and of items [I, 32], whose products tell how well an item suits a user.

    `stars` [U, I] is 1 to 5, and 0 where a user has not rated. Alternating least squares for implicit feedback (Hu,
    Koren and Volinsky, 2008, doi:10.1109/ICDM.2008.22), on a dense matrix: at this size that is quickest.
    """
    liked = (stars >= _LIKED).astype(np.float64)
    extra = _CONFIDENCE_OF_A_STAR * np.maximum(stars - (_LIKED - 1), 0).astype(np.float64)
    """Confidence beyond the 1 that every pair has."""
    items = np.random.default_rng(seed).normal(scale=0.1, size=(stars.shape[1], FACTORS))
    users = np.zeros((stars.shape[0], FACTORS))
    for _ in range(_ROUNDS):
        users = _solve(items, liked, extra)
        items = _solve(users, liked.T, extra.T)
    return users.astype(np.float32), items.astype(np.float32)


def _solve(others: np.ndarray, liked: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """The factors of one side that fit best to those of the other, `others`: one small linear system for each row."""
    size = others.shape[1]
    squares = (others[:, :, np.newaxis] * others[:, np.newaxis, :]).reshape(len(others), -1)
    systems = others.T @ others + _REGULARISATION * np.eye(size) + (extra @ squares).reshape(-1, size, size)
    wanted = ((1 + extra) * liked) @ others
    return np.asarray(np.linalg.solve(systems, wanted[:, :, np.newaxis])[:, :, 0])
