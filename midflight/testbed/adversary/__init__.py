"""The adversary: fault schedules for all-reduces, drawn from seeds, and a referee that checks the guarantees."""

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
