"""From the records of the clips to the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from asymtalker.chunks import FPS
from asymtalker.evaluation.articulation import MEASURES, Measure
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.media.alignment import SILENCE, Phone
from asymtalker.metrics import (
    BlinkRate,
    ClipMetric,
    Estimate,
    FrechetDistance,
    HeadMotion,
    LipSync,
    SilentMouth,
    appearance_distance,
    bootstrap_mean,
    distance_between_people,
    geometry_distance,
    lagged_correlation,
    seam_ratio,
)

MAX_LAG = 5  # frames
OTHERS = 10  # clips whose lips each clip is compared with by chance
MINUTE = 60.0
Record = dict[str, Any]
Reader = Callable[[Record], tuple | None]


@dataclass(frozen=True)
class ClipEstimate(Estimate):
    """A mean over clips that knows them.

    Attributes:
        by_clip: the value of each clip by its name, so that two checkpoints can be compared clip by clip.
    """

    by_clip: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        metric: its name in `METRICS`.
        label, unit: what it is.
        generated, real, shuffled: figures of the generated clips, of the real ones measured the same way (the ground
            truth), and of generated clips beside other people's real ones or phones (chance).
        goal: what is aimed at.
        note: why there is no figure, or what to know about it.
    """

    metric: str
    label: str
    unit: str = ""
    generated: Estimate | None = None
    real: Estimate | None = None
    shuffled: Estimate | None = None
    goal: str = ""
    note: str = ""


def summarize(records: list[Record], settings: EvaluationSettings, unavailable: dict[str, str]) -> dict[str, Any]:
    """Rows, curves and what was left out, as plain data.

    Args:
        records: of all videos; those with an `error` are left out. Several videos of one clip count as one clip, of
            which they are averaged: noise drawn anew is no other person.
        unavailable: why a metric cannot be had.

    Raises:
        ValueError: no clip could be used.
    """
    usable = [record for record in records if "error" not in record]
    left_out = {record["name"]: record["error"] for record in records if "error" in record}
    if not usable:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ValueError(f"No clip of {settings.dataset} ({settings.split}) can be used: {reasons}")
    rows: list[Row] = []
    for metric in ("identity", "geometry"):
        if metric in settings.chosen and metric not in unavailable:
            _in_people(usable, metric)
    for metric in settings.chosen:
        rows += [Row(metric, metric, note=unavailable[metric])] if metric in unavailable else ROWS[metric](usable)
    return {
        "settings": asdict(settings),
        "clips": len({record["clip"] for record in usable}),
        "videos": len(usable),
        "frames": sum(record["frames"] for record in usable),
        "frames_per_second": float(np.median([record["frames"] / record["elapsed"] for record in usable])),
        "first_frame": float(np.median([record["first_frame"] for record in usable])),
        "rows": [asdict(row) for row in rows],
        "curves": _curves(usable, settings),
        "left_out": left_out,
    }


def _estimate(records: list[Record], metric: ClipMetric, read: Reader) -> Estimate | None:
    """The metric over those records that have what it needs."""
    names = []
    for record in records:
        try:
            inputs = read(record)
            if inputs is not None:
                metric.update(*inputs)
                names.append(record["clip"])
        except ValueError:
            continue  # too short, too still or without a face for this metric: the row says of how many clips it is
    return _over_clips(names, metric.values, metric.weights) if names else None


def _over_clips(names: list[str], values: list[float], weights: list[float]) -> ClipEstimate:
    """The mean over clips of one value a video; `names` says whose each video is."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    totals = {name: sum(weights[index] for index in group) for name, group in groups.items()}
    means = {
        # a clip without weight has no part in the mean, but its value is known
        name: float(np.average(np.take(values, group), weights=np.take(weights, group) if totals[name] else None))
        for name, group in groups.items()
    }
    estimate = bootstrap_mean(np.array(list(means.values())), np.array(list(totals.values())))
    return ClipEstimate(**asdict(estimate), by_clip=means)


class _Value(ClipMetric):
    """A number that the record has already, or that is read from it."""

    def measure(self, value: float) -> tuple[float, float]:
        if not np.isfinite(value):
            raise ValueError("not a finite value")
        return float(value), 1.0


def _row(records: list[Record], metric: str, label: str, unit: str, make: Any, read: Any, **more: Any) -> Row:
    """A row with the same measure of generated and real clips; `read` takes one of the two and its record."""
    figures = {
        kind: _estimate([r for r in records if r[kind]], make(), lambda record, kind=kind: read(record[kind], record))
        for kind in ("generated", "real")
    }
    if figures["generated"] is None:
        more["note"] = _why(records)
    return Row(metric, label, unit, **figures, **more)


def _why(records: list[Record]) -> str:
    reasons = sorted({note for record in records for note in record["generated"]["notes"].values()})
    return (
        "; ".join(reasons)
        or "no clip is long enough for it, or has what it needs: speech, silence, such phones, motion"
    )


def _curve(name: str) -> Callable[[Record, Record], tuple | None]:
    return lambda part, _: (np.array(part[name]),) if name in part else None


def _lips(records: list[Record]) -> list[Row]:
    clips = _with_lips(records)
    curves, chance = _lag_curves(clips, _itself), _lag_curves(clips, _others)
    if not curves:
        return [Row("lips", "lip opening: correlation with the real clip", note=_why(records))]
    best, best_by_chance = _best_lag(curves), _best_lag(chance) if chance else 0
    lags = _each({name: np.argmax(curve) - MAX_LAG for name, curve in curves.items()})
    voiced = _estimate(clips, _Value(), lambda r: (_voiced_correlation(r),))
    amplitude = _estimate(clips, _Value(), lambda r: (np.std(_opening(r, "generated")) / np.std(_opening(r, "real")),))
    late = "positive: the lips are late"
    return [
        Row("lips", "lip opening: correlation at lag 0", "", _at(curves, 0), None, _at(chance, 0), "≥ 0.7"),
        Row(
            "lips",
            "lip opening: correlation at the best common lag",
            generated=_at(curves, best),
            shuffled=_at(chance, best_by_chance),
            note="other people's clips at a best lag of their own",
        ),
        Row("lips", "lip opening: best common lag", "frames", _fixed(best, len(curves)), goal="0 ± 1", note=late),
        Row("lips", "lip opening: best lag clip by clip", "frames", lags),
        Row("lips", "lip opening: correlation within speech", "", voiced, note="without the clips' silences"),
        Row("lips", "lip opening: amplitude over the real one", "", amplitude, goal="1"),
    ]


def _best_lag(curves: dict[str, np.ndarray]) -> int:
    """The one lag, in frames, at which the mean correlation over clips is highest."""
    return int(np.argmax(np.mean(list(curves.values()), axis=0))) - MAX_LAG


def _at(curves: dict[str, np.ndarray], lag: int) -> ClipEstimate | None:
    """Mean correlation over clips at a lag in frames; None without clips."""
    return _each({name: curve[MAX_LAG + lag] for name, curve in curves.items()}) if curves else None


def _each(values: dict[str, float]) -> ClipEstimate:
    """The mean of one value a clip."""
    return _over_clips(list(values), [float(value) for value in values.values()], [1.0] * len(values))


def _opening(record: Record, kind: str) -> np.ndarray:
    return np.array(record[kind]["lip_opening"])


def _with_lips(records: list[Record]) -> list[Record]:
    return [r for r in records if all(r[kind] and "lip_opening" in r[kind] for kind in ("generated", "real"))]


def _itself(clips: list[Record], index: int) -> list[Record]:
    return [clips[index]]


def _others(clips: list[Record], index: int) -> list[Record]:
    others = clips[index + 1 :] + clips[:index]
    return [clip for clip in others if clip["clip"] != clips[index]["clip"]][:OTHERS]


def _lag_curves(clips: list[Record], partners: Callable[[list[Record], int], list[Record]]) -> dict[str, np.ndarray]:
    """Correlations over lags (lags,) of each clip's generated lips with its partners' real ones, meant over them; of
    those clips where something can be compared."""
    curves: dict[str, list[np.ndarray]] = {}
    for index, clip in enumerate(clips):
        metric = LipSync(MAX_LAG)
        for partner in partners(clips, index):
            a, b = _opening(clip, "generated"), _opening(partner, "real")
            frames = min(len(a), len(b))
            try:
                metric.update(a[:frames], b[:frames])
            except ValueError:
                continue  # too short or still
        if metric.curves:
            curves.setdefault(clip["clip"], []).append(np.mean(metric.curves, axis=0))
    return {name: np.mean(parts, axis=0) for name, parts in curves.items()}


def _voiced_correlation(record: Record) -> float:
    """Correlation at lag 0 of the frames in speech; ValueError if they are less than a second's."""
    voiced = np.array(record["real"]["voiced"], bool)
    return float(lagged_correlation(_opening(record, "generated")[voiced], _opening(record, "real")[voiced], 0)[0])


def _fixed(value: float, clips: int) -> Estimate:
    """A figure of the whole set, without an interval."""
    return Estimate(float(value), float("nan"), float("nan"), clips)


def _articulation(records: list[Record]) -> list[Row]:
    return [_articulated(records, measure) for measure in MEASURES.values()]


def _articulated(records: list[Record], measure: Measure) -> Row:
    """A figure of articulation; by chance are lips that other clips' phones are heard with."""

    def read(part: Record, record: Record) -> tuple | None:
        return (np.array(part[measure.curve]), _phones(record)) if measure.curve in part else None

    row = _row(records, "articulation", measure.label, measure.unit, measure.metric, read, goal=measure.goal)
    if row.generated is None:
        return row
    pairs = [
        record | {"phones": other["phones"]}
        for index, record in enumerate(records)
        for other in _others(records, index)
    ]
    shuffled = _estimate(pairs, measure.metric(), lambda record: read(record["generated"], record))
    return replace(row, shuffled=shuffled, note=_phones_note(records))


def _phones(record: Record) -> list[Phone]:
    return [Phone(*phone) for phone in record["phones"]]


def _phones_note(records: list[Record]) -> str:
    spoken = [record for record in records if any(phone.name != SILENCE for phone in _phones(record))]
    sources = {record["clip"]: record["phones_from"] for record in spoken}
    guessed = sum(source == "sound" for source in sources.values())
    if guessed == len(sources):
        return "phones guessed from the sound"
    return "phones from the text" + (
        f"; guessed from the sound in {guessed} of {len(sources)} clips" if guessed else ""
    )


def _lmd(records: list[Record]) -> list[Row]:
    return [_paired(records, "lmd", f"lmd_{part}", f"{label} landmark distance", "% of eye distance")
            for part, label in (("face", "face"), ("mouth", "mouth"))]  # fmt: skip


def _similarity(records: list[Record]) -> list[Row]:
    note = "speech does not determine the pose"
    return [
        _paired(records, "similarity", "psnr", "PSNR", "dB", note),
        _paired(records, "similarity", "ssim", "SSIM", "", note),
    ]


def _paired(records: list[Record], metric: str, key: str, label: str, unit: str, note: str = "") -> Row:
    figure = _estimate(records, _Value(), lambda r: None if r["paired"][key] is None else (r["paired"][key],))
    return Row(metric, label, unit, figure, note=note if figure else "no face was found, or nothing differs")


def _drift(records: list[Record]) -> list[Row]:
    def over(name: str) -> Callable[[Record, Record], tuple]:
        return lambda part, _: (np.mean(part["drift"][name]),)

    def last_to_first(name: str) -> Callable[[Record, Record], tuple | None]:
        def read(part: Record, _: Record) -> tuple | None:
            values = _lightness(part) if name == "lightness" else part["drift"][name]
            ends = _ends(values, part)
            return (ends[1] / ends[0],) if ends and ends[0] else None

        return read

    rows = [
        _row(records, "drift", "colour: distance to the portrait", "ΔE", _Value, over("lab_distance")),
        _row(records, "drift", "sharpness over the portrait's", "", _Value, over("sharpness_to_reference"), goal="1"),
        _row(records, "drift", "frame difference", "levels", _Value, over("motion")),
    ]
    for name, label in (
        ("lightness", "lightness"), ("sharpness_to_reference", "sharpness"), ("motion", "frame difference")
    ):  # fmt: skip
        row = _row(records, "drift", f"{label}: last over first", "", _Value, last_to_first(name), goal="0.9 to 1.1")
        rows += [row] if row.generated else []
    shift = _row(records, "drift", "colour: last from first", "ΔE", _Value, _colour_shift, goal="0")
    return [*rows, shift] if shift.generated else rows


def _colour_shift(part: Record, _: Record) -> tuple | None:
    """Distance of the mean colours of the last minute and the first."""
    ends = [_ends(list(values), part) for values in zip(*part["drift"]["lab"], strict=True)]
    return (np.linalg.norm([last - first for first, last in ends]),) if all(ends) else None


def _lightness(part: Record) -> list[float]:
    return [lab[0] for lab in part["drift"]["lab"]]


def _ends(values: list[float | None], part: Record) -> tuple[float, float] | None:
    """Means over the first and the last minute, or of less than two minutes the first and the last interval. A last
    interval that lasts less than half as long as the others is left out. None where there are not two, or one is a gap.
    """
    start, frames = part["drift"]["start"], len(part["differences"]) + 1
    if len(values) != len(start) or len(start) < 2:
        return None
    step = start[1] - start[0]
    values = values if frames / FPS - start[-1] >= step / 2 else values[:-1]
    if len(values) < 2:
        return None
    count = max(1, round(MINUTE / step)) if len(values) * step >= 2 * MINUTE else 1
    first, last = without_gaps(values[:count]), without_gaps(values[-count:])
    return (float(np.mean(first)), float(np.mean(last))) if first and last else None


def without_gaps(values: Sequence[float | None]) -> list[float]:
    """The values of a curve without its gaps: intervals in which no face was found."""
    return [value for value in values if value is not None]


def _in_people(records: list[Record], metric: str) -> None:
    """Turns the distances of a metric into units of the mean distance between two people, and notes that unit."""
    key, distance = {"identity": ("portrait", appearance_distance), "geometry": ("landmarks", geometry_distance)}[
        metric
    ]
    for record in records:
        points = record.get("portrait_landmarks")
        record["landmarks"] = None if points is None else np.array(points)
    first = {record["clip"]: record for record in reversed(records)}.values()  # of several videos of a portrait
    known = [r for r in first if r[key] is not None and np.isfinite(r[key]).all()]
    try:
        unit = distance_between_people([r[key] for r in known], [r["person"] for r in known], distance)
        note = f"1 = mean distance of two people's portraits ({unit:.4f})"
    except ValueError as error:
        unit, note = float("nan"), str(error)
    has_unit = np.isfinite(unit) and unit > 0
    for record in records:
        record.setdefault("units", {})[metric] = note
        for part in (record[kind] for kind in ("generated", "real") if record[kind]):
            values = part.get(metric, []) if has_unit else []
            part[metric] = [None if value is None else value / unit for value in values]


def _identity(records: list[Record]) -> list[Row]:
    return _to_people(records, "identity", "identity: distance to the portrait")


def _geometry(records: list[Record]) -> list[Row]:
    return _to_people(records, "geometry", "face geometry: distance to the portrait")


def _to_people(records: list[Record], metric: str, label: str) -> list[Row]:
    def mean(part: Record, _: Record) -> tuple | None:
        return (np.mean(found),) if (found := without_gaps(part[metric])) else None

    def change(part: Record, _: Record) -> tuple | None:
        ends = _ends(part[metric], part)
        return (ends[1] - ends[0],) if ends else None

    rows = [_row(records, metric, label, "people", _Value, mean)]
    rows[0] = replace(rows[0], note=records[0]["units"][metric])
    row = _row(records, metric, f"{label}, last minus first", "people", _Value, change, goal="≤ 0.1")
    return [*rows, row] if row.generated else rows


def _seams(records: list[Record]) -> list[Row]:
    def read(part: Record, record: Record) -> tuple:
        return (seam_ratio(np.array(part["differences"]), record["period"]),)

    note = "frame difference at window boundaries over that inside windows; of real clips at the same frames"
    return [_row(records, "seams", "seam ratio", "", _Value, read, goal="≤ 1.15", note=note)]


def _silence(records: list[Record]) -> list[Row]:
    def read(part: Record, _: Record) -> tuple | None:
        return (
            tuple(np.array(part[name]) for name in ("lip_opening", "silent", "voiced"))
            if "lip_opening" in part
            else None
        )

    return [
        _row(records, "silence", "mouth motion in silence over that in speech", "", SilentMouth, read, goal="the real")
    ]


def _blinks(records: list[Record]) -> list[Row]:
    return [_row(records, "blinks", "blinks", "per minute", BlinkRate, _curve("eye_opening"), goal="the real")]


def _head(records: list[Record]) -> list[Row]:
    unit = "(eye distances/s)²"
    row = _row(records, "head", "head motion energy", unit, HeadMotion, _curve("head"), goal="0.8 to 1.2 of the real")
    if row.generated is None or row.real is None or row.real.mean == 0:
        return [row]
    share = _fixed(row.generated.mean / row.real.mean, row.generated.clips)
    return [row, Row("head", "head motion energy over the real", "", share, goal="0.8–1.2")]


def _csim(records: list[Record]) -> list[Row]:
    def read(part: Record, _: Record) -> tuple | None:
        return (np.mean(found),) if (found := without_gaps(part.get("csim", []))) else None

    return [_row(records, "csim", "CSIM: ArcFace cosine to the portrait", "", _Value, read, goal="the real")]


def _sync(records: list[Record]) -> list[Row]:
    def of(name: str) -> Callable[[Record, Record], tuple | None]:
        return lambda part, _: None if part.get("sync") is None else (part["sync"][name],)

    note = "face box of the face mesh, not of S3FD"
    return [
        _row(records, "sync", "Sync-D (SyncNet distance)", "", _Value, of("distance"), goal="the real", note=note),
        _row(records, "sync", "Sync-C (SyncNet confidence)", "", _Value, of("confidence"), goal="the real", note=note),
    ]


def _frechet(metric: str, features: str, label: str) -> Callable[[list[Record]], list[Row]]:
    def rows(records: list[Record]) -> list[Row]:
        arrays = {kind: [r["features"][f"{features}_{kind}"] for r in records] for kind in ("generated", "real")}
        clips = [record["clip"] for record in records]
        arrays["real"] = [arrays["real"][clips.index(clip)] for clip in dict.fromkeys(clips)]  # each once
        count = sum(map(len, arrays["real"]))
        try:
            generated = _fixed(_distance(arrays["real"], arrays["generated"]), len(arrays["real"]))
            real = (
                _fixed(_distance(arrays["real"][::2], arrays["real"][1::2]), len(arrays["real"]))
                if len(arrays["real"]) > 1
                else None
            )
        except ValueError as error:
            return [Row(metric, label, note=str(error))]
        note = f"N = {count} a side; biased upwards at small N; real: every other clip against the rest"
        return [Row(metric, label, "", generated, real, note=note)]

    return rows


def _distance(real: list[np.ndarray], generated: list[np.ndarray]) -> float:
    metric = FrechetDistance()
    for kind, parts in ((True, real), (False, generated)):
        for part in parts:
            metric.update(part, kind)
    return metric.compute()


def _resources(records: list[Record]) -> list[Row]:
    """Of long rollouts: is the last minute as fast as the first, and does memory stay?"""
    ends = {"first": 0, "last": -1}

    def pace(end: int) -> Reader:
        return lambda record: (_pace(record)[end],) if _pace(record) else None

    def memory(mark: int) -> Reader:
        return lambda record: (record["memory"].get(str(mark)),) if str(mark) in record.get("memory", {}) else None

    rows = [
        Row("resources", f"speed, {name} minute", "frames/s", _estimate(records, _Value(), pace(end)))
        for name, end in ends.items()
    ]
    over = _estimate(records, _Value(), lambda r: (_pace(r)[1] / _pace(r)[0],) if _pace(r) else None)
    rows.append(Row("resources", "speed: last over first", "", over, goal="0.95 to 1.05"))
    marks = sorted({int(mark) for record in records for mark in record.get("memory", {})})
    rows += [
        Row("resources", f"peak memory at {mark} s", "MB", _estimate(records, _Value(), memory(mark))) for mark in marks
    ]
    return [row for row in rows if row.generated]


def _pace(record: Record) -> tuple[float, float] | None:
    return _ends(record["pace"], record["generated"]) if record.get("pace") else None


ROWS: dict[str, Callable[[list[Record]], list[Row]]] = {
    "lips": _lips,
    "articulation": _articulation,
    "lmd": _lmd,
    "drift": _drift,
    "identity": _identity,
    "geometry": _geometry,
    "seams": _seams,
    "silence": _silence,
    "blinks": _blinks,
    "head": _head,
    "similarity": _similarity,
    "resources": _resources,
    "csim": _csim,
    "sync": _sync,
    "fid": _frechet("fid", "inception", "FID (InceptionV3 2048, TensorFlow weights, 299²)"),
    "fvd": _frechet("fvd", "i3d", "FVD (StyleGAN-V I3D, 16 frames, 224², [−1, 1])"),
}


def _curves(records: list[Record], settings: EvaluationSettings) -> dict[str, Any]:
    """What the plots show: drift against time clip by clip, and the lips' correlation against lag."""
    curves: dict[str, Any] = {"interval": settings.interval, "drift": {}}
    for kind in ("generated", "real"):
        curves["drift"][kind] = {
            record["name"]: {"clip": record["clip"]} | _drift_curves(record[kind]) for record in records if record[kind]
        }
    clips = _with_lips(records) if "lips" in settings.chosen and settings.seconds is None else []
    own, chance = _lag_curves(clips, _itself), _lag_curves(clips, _others)
    if own:
        curves["lips"] = {
            "lags": list(range(-MAX_LAG, MAX_LAG + 1)),
            "generated": np.mean(list(own.values()), axis=0).tolist(),
            "shuffled": np.mean(list(chance.values()), axis=0).tolist() if chance else None,
            "example": {kind: clips[0][kind]["lip_opening"] for kind in ("generated", "real")}
            | {"name": clips[0]["name"]},
        }
    return curves


def _drift_curves(part: Record) -> dict[str, Any]:
    curves = {key: part["drift"][key] for key in ("start", "lab_distance", "sharpness_to_reference", "motion")}
    curves["seconds"] = (len(part["differences"]) + 1) / FPS
    return curves | {key: part[key] for key in ("identity", "geometry") if without_gaps(part.get(key, []))}
