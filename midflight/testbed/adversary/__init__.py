"""The adversary: a network that does its worst to an all-reduce, by schedules drawn from seeds, and what must hold."""

from midflight.testbed.adversary.campaign import Campaign, Failure, LiveCampaign, campaign, live_campaign
from midflight.testbed.adversary.game import Game, ViolationError
from midflight.testbed.adversary.schedule import Move, Schedule, draw

__all__ = [
    "Campaign",
    "Failure",
    "Game",
    "LiveCampaign",
    "Move",
    "Schedule",
    "ViolationError",
    "campaign",
    "draw",
    "live_campaign",
]
