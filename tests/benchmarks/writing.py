"""How figures are written."""

from __future__ import annotations


def significant(value: float, digits: int = 3) -> str:
    """Write a figure with three significant digits, and large ones in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"


def against(found: float, limit: float | None) -> tuple[str, str]:
    """Write a figure and its limit with as many digits as tell on which side of it it is.

    Returns:
        Both, the limit empty if there is none.
    """
    if limit is None:
        return significant(found), ""
    # Within two percent a reader wants to see by how much.
    near = 0 < abs(found - limit) < 0.02 * abs(limit)
    for digits in range(4 if near else 3, 17):
        texts = f"{found:.{digits}g}", f"{limit:.{digits}g}"
        if (float(texts[0]) > float(texts[1])) == (found > limit) and (
            (float(texts[0]) < float(texts[1])) == (found < limit)
        ):
            break
    return texts
