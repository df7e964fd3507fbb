"""Compute how many nines of agreement with the database the counts prove."""

from __future__ import annotations

import math

#: The normal quantile of a one-sided 95 % bound.
Z = 1.6449

#: -ln(0.05): of n judged cells, none of which disagrees, at most this many in n do, at 95 %.
NONE_SEEN = -math.log(0.05)


def at_least(judged: int, disagreed: int) -> float | None:
    """Return the nines that the counts prove: 3.0 means that at most 1 in 1,000 cells disagrees.

    It is the decimal logarithm of the 95 % bound of the share that disagrees: exact where none was
    seen, by Wilson's interval otherwise. None where nothing was judged.
    """
    if judged < 1:
        return None
    if disagreed == 0:
        bound = NONE_SEEN / judged
    else:
        share, z2 = disagreed / judged, Z * Z
        middle = share + z2 / (2 * judged)
        spread = Z * math.sqrt(share * (1 - share) / judged + z2 / (4 * judged * judged))
        bound = (middle + spread) / (1 + z2 / judged)
    return max(0.0, -math.log10(min(1.0, bound)))
