"""What went wrong, in the words of the page: its fields' names, and its way to say that anything will do."""

from __future__ import annotations

import re

FIELDS = {
    "seed": "Seed",
    "steps": "Steps",
    "size": "Network size",
    "zoom": "Zoom",
    "shift": "Left – right and Up – down",
    "face": "Face",
    "view": "Video shows",
    "max_side": "Longest side at most",
    "guidance_scale": "Guidance",
    "color_match": "Colour match",
    "reference_mode": "Reference",
    "checkpoint": "Checkpoint",
}
_NAMED = re.compile(rf"\b({'|'.join(FIELDS)})(?= must be\b)")
_BY_NUMBER = " Another can be chosen by its number (face)."


def in_page_words(message: str) -> str:
    """A message of the package, with the names that the page shows: "seed must be …" becomes "“Seed” must be …"."""
    message = _NAMED.sub(lambda match: f"“{FIELDS[match[1]]}”", message)
    if message.startswith("“Seed”"):
        message = message.replace(", not", ", or −1 for any, not")
    return message.replace(_BY_NUMBER, " Click another to choose it.").replace(
        "turn off the face crop", "turn off “Find the face” under “Adjust the crop”"
    )
