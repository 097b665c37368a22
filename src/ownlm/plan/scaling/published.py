"""Constants that others published, to compare with; and a formula that is wrong."""

from __future__ import annotations

from ownlm.plan.law import Law

CHINCHILLA = Law(1.69, 406.4, 0.34, 410.7, 0.28, "Hoffmann et al. 2022, arXiv:2203.15556, equation 10")
REPLICATION = Law(1.8172, 482.01, 0.3478, 2085.43, 0.3658, "Besiroglu et al. 2024, arXiv:2404.10102, table 1")

KAPLAN_N, KAPLAN_D, KAPLAN_C = 0.076, 0.095, 0.050
"""Exponents of L(N), L(D), L(C_min): Kaplan et al. 2020, arXiv:2001.08361, equations 1.1 to 1.3."""
KAPLAN_N_SCALE, KAPLAN_D_SCALE = 8.8e13, 5.4e13
"""N_c (parameters without embedding) and D_c (tokens) of the same equations."""

TOKENS_PER_PARAMETER = 20.0


def rule_of_thumb(compute: float) -> tuple[float, float]:
    """(N, D) with C = 6 N D and D = 20 N: N = sqrt(C / 120)."""
    parameters = float((compute / (6 * TOKENS_PER_PARAMETER)) ** 0.5)
    return parameters, TOKENS_PER_PARAMETER * parameters


def course_formula(compute: float) -> float:
    """N_opt = 1.69e9 * C^0.49, as some course texts have it. It is wrong: at Chinchilla's own C = 5.76e23 it gives
    7e20 parameters where the paper trained 70e9. (The exponent 0.49 is near the paper's; the factor is not: with it
    C would have to be counted in a unit of about 2e20 operations.)"""
    return float(1.69e9 * compute**0.49)
