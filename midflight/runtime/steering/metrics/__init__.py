"""Metrics of compute and network, from raw readings to one score, as CATS defines them.

The terms and levels are those of draft-ietf-cats-metric-definition and RFC 10053. `levels` has the values, `gauges` the
agents that score, `resources` and `requests` what computes and what is demanded of it, `normalisation` and
`combination` the functions that agents use, and `binary` and `yang` the forms in which scores travel.
"""

from midflight.runtime.steering.metrics.calibration import Agreement, Calibration, agreement, calibrate
from midflight.runtime.steering.metrics.catalogue import KINDS, raw
from midflight.runtime.steering.metrics.combination import (
    Combination,
    best,
    combine,
    level2,
    mean,
    weighted_mean,
    worst,
)
from midflight.runtime.steering.metrics.gauges import C_NMA, C_PS, C_SMA, Agent, Gauge, Report, path_readings
from midflight.runtime.steering.metrics.levels import Band, Category, Metric, RawMetric, Source, Statistics
from midflight.runtime.steering.metrics.normalisation import MinMax, Normalisation, Sigmoid, ZScore
from midflight.runtime.steering.metrics.registry import ENTRIES, Entry, entry
from midflight.runtime.steering.metrics.requests import Match, RequestClass, match
from midflight.runtime.steering.metrics.resources import Energy, Processor, Resource, Room
from midflight.runtime.steering.metrics.update import Update
from midflight.runtime.steering.metrics.window import MEASUREMENT_WINDOW, Window

__all__ = [
    "C_NMA",
    "C_PS",
    "C_SMA",
    "ENTRIES",
    "KINDS",
    "MEASUREMENT_WINDOW",
    "Agent",
    "Agreement",
    "Band",
    "Calibration",
    "Category",
    "Combination",
    "Energy",
    "Entry",
    "Gauge",
    "Match",
    "Metric",
    "MinMax",
    "Normalisation",
    "Processor",
    "RawMetric",
    "Report",
    "RequestClass",
    "Resource",
    "Room",
    "Sigmoid",
    "Source",
    "Statistics",
    "Update",
    "Window",
    "ZScore",
    "agreement",
    "best",
    "calibrate",
    "combine",
    "entry",
    "level2",
    "match",
    "mean",
    "path_readings",
    "raw",
    "weighted_mean",
    "worst",
]
