"""Logistic regression, by which all confidences are fitted."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_RIDGE = 1e-2
_ROUNDS = 50


def fitted(x: Array, y: Array) -> Array:
    """Weights [features] with a small ridge, by Newton's method; `x` [rows, features], `y` [rows] of 0 and 1."""
    weights: Array = np.zeros(x.shape[1])
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - y) + _RIDGE * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(len(weights))
        weights = weights - np.linalg.solve(curve, slope)
    return weights
