"""The oracle of Threshold: which readings raise an alert."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["alerts", "jumps"]


def alerts(
    sensors: npt.NDArray[np.uint16], values: npt.NDArray[np.uint32], *, above: int, clear: int, states: int
) -> npt.NDArray[np.bool_]:
    """Return for each reading whether it raises an alert: a boolean array of shape (readings,).

    `sensors` and `values` have an element per reading. A reading raises an alert if it is at least `above`, and the
    sensor has had no alert yet or a reading of at most `clear` since. Sensors from number `states` up have no state and
    raise an alert every time.
    """
    high, low = values >= above, values <= clear
    result = high & (sensors >= states)
    for sensor in np.unique(sensors[sensors < states]):
        mine = np.flatnonzero(sensors == sensor)
        # Only readings outside the hysteresis band matter: an alert is a high one that does not follow a high one.
        outside = mine[high[mine] | low[mine]]
        rising = np.ones(len(outside), dtype=np.bool_)
        rising[1:] = low[outside[:-1]]
        result[outside] = high[outside] & rising
    return result


def jumps(
    sensors: npt.NDArray[np.uint16], values: npt.NDArray[np.uint32], *, rate: int, states: int
) -> npt.NDArray[np.bool_]:
    """Return for each reading whether it differs by more than `rate` from the previous one of its sensor.

    `sensors` and `values` have an element per reading, and so has the result. Sensors from number `states` up have no
    state, so their readings never do.
    """
    result = np.zeros(len(sensors), dtype=np.bool_)
    for sensor in np.unique(sensors[sensors < states]):
        mine = np.flatnonzero(sensors == sensor)
        result[mine[1:]] = np.abs(np.diff(values[mine].astype(np.int64))) > rate
    return result
