"""The inside of the mouth: teeth, tongue and the dark behind them."""

from asymtalker.renderer.mouth.mouth import Mouth
from asymtalker.renderer.mouth.own_teeth import lips_around_teeth

__all__ = ["Mouth", "lips_around_teeth"]
