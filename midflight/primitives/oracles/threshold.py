"""The oracle of Threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["alerts", "jumps"]


def alerts(
    sensors: npt.NDArray[np.uint16], values: npt.NDArray[np.uint32], *, above: int, clear: int, states: int
) -> npt.NDArray[np.bool_]:
    """Tell which of a row of readings raise an alert.

    A reading alerts when it is at least `above` and, since the last alert of its sensor, there has been a
    reading of at most `clear`. Sensors from `states` up have no memory and alert every time.
    """
    high, low = values >= above, values <= clear
    result = high & (sensors >= states)
    for sensor in np.unique(sensors[sensors < states]):
        mine = np.flatnonzero(sensors == sensor)
        # Only readings outside the hysteresis band matter: an alert is a high one not preceded by a high one.
        telling = mine[high[mine] | low[mine]]
        rising = np.ones(len(telling), dtype=np.bool_)
        rising[1:] = low[telling[:-1]]
        result[telling] = high[telling] & rising
    return result


def jumps(
    sensors: npt.NDArray[np.uint16], values: npt.NDArray[np.uint32], *, rate: int, states: int
) -> npt.NDArray[np.bool_]:
    """Tell which of a row of readings differ by more than `rate` from the one before of the same sensor.

    Sensors from `states` up have no memory, so that their readings never do.
    """
    result = np.zeros(len(sensors), dtype=np.bool_)
    for sensor in np.unique(sensors[sensors < states]):
        mine = np.flatnonzero(sensors == sensor)
        result[mine[1:]] = np.abs(np.diff(values[mine].astype(np.int64))) > rate
    return result
