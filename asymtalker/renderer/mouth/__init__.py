"""The inside of the mouth: teeth, tongue and the dark behind them."""

from asymtalker.renderer.mouth.mouth import Mouth

__all__ = ["Mouth"]
