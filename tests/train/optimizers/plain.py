"""Published algorithms in plain Python, one number at a time, as they stand in their papers: lists in, lists out.

Letters as in the papers: g gradient, m and v moments, t step from 1, x weight.
"""

from __future__ import annotations

import math

Vector = list[float]


def norm(x: Vector) -> float:
    return math.sqrt(sum(value * value for value in x))


def sign(x: float) -> float:
    return (x > 0) - (x < 0)


def lion(x: Vector, g: Vector, state: dict, rate: float, b1=0.9, b2=0.99, decay=0.3) -> Vector:
    """arXiv:2302.06675, program 1."""
    m = state.setdefault("m", [0.0] * len(x))
    c = [b1 * mi + (1 - b1) * gi for mi, gi in zip(m, g)]
    state["m"] = [b2 * mi + (1 - b2) * gi for mi, gi in zip(m, g)]
    return [xi - rate * (sign(ci) + decay * xi) for xi, ci in zip(x, c)]


def sophia(x: Vector, g: Vector, state: dict, rate: float, b1=0.965, b2=0.99, rho=0.04, decay=0.1, k=10,
           n=4096, eps=1e-15) -> Vector:  # fmt: skip
    """arXiv:2305.14342, algorithm 3, with n g^2 of the step itself for the estimate."""
    state["t"] = t = state.get("t", 0) + 1
    m = state["m"] = [b1 * mi + (1 - b1) * gi for mi, gi in zip(state.get("m", [0.0] * len(x)), g)]
    h = state.setdefault("h", [0.0] * len(x))
    if t % k == 1:
        h = state["h"] = [b2 * hi + (1 - b2) * n * gi * gi for hi, gi in zip(h, g)]
    x = [xi - rate * decay * xi for xi in x]
    return [xi - rate * max(-1.0, min(1.0, mi / max(rho * hi, eps))) for xi, mi, hi in zip(x, m, h)]


def lamb(x: Vector, g: Vector, state: dict, rate: float, b1=0.9, b2=0.999, eps=1e-6, decay=0.01) -> Vector:
    """arXiv:1904.00962, algorithm 2."""
    state["t"] = t = state.get("t", 0) + 1
    m = state["m"] = [b1 * mi + (1 - b1) * gi for mi, gi in zip(state.get("m", [0.0] * len(x)), g)]
    v = state["v"] = [b2 * vi + (1 - b2) * gi * gi for vi, gi in zip(state.get("v", [0.0] * len(x)), g)]
    mh, vh = [mi / (1 - b1**t) for mi in m], [vi / (1 - b2**t) for vi in v]
    r = [mi / (math.sqrt(vi) + eps) for mi, vi in zip(mh, vh)]
    u = [ri + decay * xi for ri, xi in zip(r, x)]
    ratio = norm(x) / norm(u) if norm(x) > 0 and norm(u) > 0 else 1.0
    return [xi - rate * ratio * ui for xi, ui in zip(x, u)]


def lars(x: Vector, g: Vector, state: dict, rate: float, momentum=0.9, trust=0.001, decay=0.0005) -> Vector:
    """arXiv:1708.03888, algorithm 1."""
    local = norm(x) / (norm(g) + decay * norm(x)) if norm(x) > 0 and norm(g) > 0 else 1.0
    v = state.get("v", [0.0] * len(x))
    v = state["v"] = [momentum * vi + rate * trust * local * (gi + decay * xi) for vi, gi, xi in zip(v, g, x)]
    return [xi - vi for xi, vi in zip(x, v)]


def adafactor(x: list[Vector], g: list[Vector], state: dict, rate: float, eps1=1e-30, eps2=1e-3, clip=1.0,
              relative=True) -> list[Vector]:  # fmt: skip
    """arXiv:1804.04235, algorithm 4 (a matrix)."""
    state["t"] = t = state.get("t", 0) + 1
    n, m = len(x), len(x[0])
    b2 = 1 - t**-0.8
    squares = [[gij * gij + eps1 for gij in row] for row in g]
    old_r, old_c = state.get("R", [0.0] * n), state.get("C", [0.0] * m)
    R = state["R"] = [b2 * old_r[i] + (1 - b2) * sum(squares[i]) for i in range(n)]
    C = state["C"] = [b2 * old_c[j] + (1 - b2) * sum(row[j] for row in squares) for j in range(m)]
    u = [[g[i][j] / math.sqrt(R[i] * C[j] / sum(R)) for j in range(m)] for i in range(n)]
    rms_u = norm([uij for row in u for uij in row]) / math.sqrt(n * m)
    rms_x = norm([xij for row in x for xij in row]) / math.sqrt(n * m)
    alpha = max(eps2, rms_x) * min(rate, 1 / math.sqrt(t)) if relative else rate
    return [[x[i][j] - alpha * u[i][j] / max(1.0, rms_u / clip) for j in range(m)] for i in range(n)]
