"""Manner: how one person differs from another in speaking, moving and looking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What differs from person to person; the defaults are the middle of the range.

    Attributes:
        amount: how far the mouth goes towards its targets.
        jaw: how wide the jaw opens, beside `amount`.
        lips: how far the lips part and spread, beside `amount`.
        rounding: how strongly lips are rounded and pushed forward, beside `amount`.
        width: of coarticulation: how far in time a phone influences its neighbours.
        smoothness: how slowly the mouth follows its targets.
        effort: how much wider the jaw opens for loud sounds.
        smile: of the whole performance, 0 to 1.
        lid: how far the upper lids hang.
        squint: how far the lower lids are raised.
        stare: how far the eyes are opened.
        brow: how far the brows are raised, or lowered if it is negative.
        inner_brow: how far their inner ends are raised.
        expressive_brow: how much the brows follow the loudness.
        head: energy of the head's movement.
        head_rest: (pitch, yaw, roll) about which the head moves, degrees.
        loud_pitch: degrees by which the head goes down over a loud passage.
        nod: degrees of a nod on a stressed syllable.
        nod_share: share of the stressed syllables with a nod.
        breath: degrees by which the head moves with the breath.
        blinks: a minute.
        fixation: seconds for which the eyes rest on a point, on average.
        wandering: share of the fixations that are not on the listener.
    """

    amount: float = 1.0
    jaw: float = 1.0
    lips: float = 1.0
    rounding: float = 1.0
    width: float = 1.0
    smoothness: float = 1.0
    effort: float = 0.5
    smile: float = 0.0
    lid: float = 0.03
    squint: float = 0.035
    stare: float = 0.15
    brow: float = 0.1
    inner_brow: float = 0.25
    expressive_brow: float = 0.25
    head: float = 0.95
    head_rest: tuple[float, float, float] = (0.0, 0.0, 0.0)
    loud_pitch: float = 2.75
    nod: float = 1.5
    nod_share: float = 0.3
    breath: float = 0.3
    blinks: float = 20.0
    fixation: float = 1.65
    wandering: float = 0.25

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Manner:
        """A person at random."""
        return cls(
            amount=rng.uniform(0.8, 1.2),
            jaw=rng.uniform(0.75, 1.2),
            lips=rng.uniform(0.8, 1.2),
            rounding=rng.uniform(0.7, 1.25),
            width=rng.uniform(0.85, 1.25),
            smoothness=rng.uniform(0.75, 1.3),
            effort=rng.uniform(0.3, 0.7),
            smile=max(0.0, rng.normal(0.18, 0.25)),
            lid=rng.uniform(0, 0.06),
            squint=rng.uniform(0, 0.07),
            stare=rng.uniform(0.02, 0.28),
            brow=rng.uniform(-0.05, 0.25),
            inner_brow=rng.uniform(0.1, 0.4),
            expressive_brow=rng.uniform(0, 0.5),
            head=rng.uniform(0.5, 1.4),
            head_rest=tuple(rng.normal(0, [3, 7, 2.5])),
            loud_pitch=rng.uniform(1, 4.5),
            nod=rng.uniform(0, 3),
            nod_share=rng.uniform(0.1, 0.5),
            breath=rng.uniform(0.1, 0.5),
            blinks=np.clip(rng.normal(20, 5), 8, 34),
            fixation=rng.uniform(1.1, 2.2),
            wandering=rng.uniform(0.1, 0.4),
        )
