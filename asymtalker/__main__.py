"""The command line: `python -m asymtalker generate --image P --audio S --output O`, or `--text "Hello."`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from asymtalker.ahead_of_time import compile_blocks
from asymtalker.conditioning import ReferenceMode
from asymtalker.convert import FLASHHEAD, LTX_VIDEO, SPEECH_ENCODER, VARIANTS, WAN, convert_flashhead, convert_wan
from asymtalker.evaluation.settings import METRICS, read_protocol
from asymtalker.generation import GenerateOptions, GenerateProgress, generate_video, load_pipeline
from asymtalker.media.picture import View
from asymtalker.media.synthesis import DEFAULT_VOICE, SpokenText, load_synthesizer
from asymtalker.runtime import Float8, Offload, Runtime


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        the exit status: 0, or 2 where an input or an option cannot be used, or 130 where it was interrupted.
    """
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: no unfinished file was left", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m asymtalker", description="Talking-head videos.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_generate(commands)
    _add_evaluate(commands)
    _add_report(commands)
    _add_benchmark(commands)
    _add_convert(commands)
    _add_compile(commands)
    return parser


def _add_generate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("generate", help="make a video from a portrait and a recording or a text")
    command.add_argument("--image", required=True, metavar="FILE", help="portrait (JPEG, PNG, WebP, ...)")
    speech = command.add_mutually_exclusive_group(required=True)
    speech.add_argument("--audio", metavar="FILE", help="speech (wav, mp3, m4a, ... or a video's sound)")
    speech.add_argument("--text", help="what is to be said, in English; - reads it from standard input")
    command.add_argument("--voice", default=DEFAULT_VOICE, metavar="NAME", help="of --text (default: %(default)s)")
    command.add_argument("--pace", type=float, default=1.0, help="of --text, 0.5 to 2 (default: %(default)s)")
    command.add_argument("--output", required=True, metavar="FILE", type=Path, help="mp4 to write")
    command.add_argument("--checkpoint", metavar="NAME", help="embedded name, folder or Hub id (default: tiny)")
    command.add_argument("--seed", type=int, help="0 to 4294967295 (default: a random one, shown at the end)")
    command.add_argument("--steps", type=int, help="denoising steps a chunk (default: the checkpoint's own)")
    command.add_argument(
        "--color-match", type=float, metavar="0..1", help="pull each chunk's colours to the portrait's"
    )
    command.add_argument("--face", type=int, metavar="N", help="of several faces, 1 for the largest (default: 1)")
    command.add_argument("--no-crop", dest="crop", action="store_false", help="take the middle of the image as it is")
    command.add_argument(
        "--view", choices=get_args(View), default=GenerateOptions.view, help="what is shown (default: %(default)s)"
    )
    command.add_argument(
        "--max-side",
        type=int,
        metavar="N",
        default=GenerateOptions.max_side,
        help="long side of the video in pixels, at most (default: %(default)s)",
    )
    command.add_argument("--no-label", dest="label", action="store_false", help="leave out the visible label")
    _add_runtime(command)
    command.add_argument(
        "--keep-smile", action="store_true", help="leave the portrait's lips as they are in silence, rather than shut"
    )
    command.set_defaults(run=_generate)


def _add_runtime(command: argparse.ArgumentParser) -> None:
    """Options that trade something for speed or memory; what is left out is as the environment says."""
    named = Runtime.from_environment()
    command.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=named.compile, help="a slow start, then faster"
    )
    command.add_argument(
        "--float8", choices=get_args(Float8), default=named.float8, help="of the transformer (default: %(default)s)"
    )
    command.add_argument(
        "--offload", choices=get_args(Offload), default=named.offload, help="to the CPU (default: %(default)s)"
    )


def _read_runtime(arguments: argparse.Namespace) -> Runtime:
    return Runtime(arguments.compile, arguments.float8, arguments.offload)


def _generate(arguments: argparse.Namespace) -> None:
    options = GenerateOptions(
        checkpoint=arguments.checkpoint,
        seed=arguments.seed,
        steps=arguments.steps,
        crop=arguments.crop,
        face=arguments.face,
        color_match=arguments.color_match,
        label=arguments.label,
        view=arguments.view,
        max_side=arguments.max_side,
        keep_smile=arguments.keep_smile,
    )
    speech = arguments.audio if arguments.text is None else _read_text(arguments)
    pipeline = load_pipeline(options.checkpoint, _read_runtime(arguments))
    with tqdm(unit="frame", desc="generate", dynamic_ncols=True) as bar:

        def advance(progress: GenerateProgress) -> None:
            bar.total = progress.total
            bar.update(progress.frames - bar.n)

        result = generate_video(pipeline, arguments.image, speech, arguments.output, options, advance)
    if result.note:
        print(f"note: {result.note}")
    print(
        f"{result.path}: {result.seconds:.2f} s, {result.frames} frames at {result.frames_per_second:.1f} frames/s "
        f"(first after {result.first_frame:.2f} s), seed {result.seed}"
    )


def _read_text(arguments: argparse.Namespace) -> SpokenText:
    """What is to be said; the voice is loaded, so that one that is missing is known before a checkpoint is read."""
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    spoken = SpokenText(text, arguments.voice, arguments.pace)
    load_synthesizer(spoken.voice)
    return spoken


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("evaluate", help="measure a checkpoint on a dataset")
    command.add_argument("--protocol", metavar="NAME", help="hdtf, vfhq, tiny, or a YAML file; options override it")
    command.add_argument("--checkpoint", metavar="NAME", help="embedded name, folder or Hub id (default: tiny)")
    command.add_argument("--dataset", metavar="NAME", help="folder or Hub id of mp4 clips with sound")
    command.add_argument("--split", help="of the dataset (default: test)")
    command.add_argument(
        "--metrics", nargs="+", metavar="NAME", help=f"offline (default), all, or some of {', '.join(METRICS)}"
    )
    command.add_argument("--clips", type=int, metavar="N", help="clips, evenly spread (default: all)")
    command.add_argument("--seconds", type=float, metavar="S", help="long rollouts of S seconds, without a real clip")
    command.add_argument("--steps", type=int, help="denoising steps a chunk (default: the checkpoint's own)")
    command.add_argument(
        "--guidance-scale", type=float, metavar="W", help="of the speech (default: the checkpoint's own)"
    )
    command.add_argument("--seed", type=int, help="of the noise (default: 0)")
    command.add_argument("--repeats", type=int, metavar="N", help="videos a clip, each of another seed (default: 1)")
    command.add_argument("--reference-mode", choices=get_args(ReferenceMode), help="(default: temporal)")
    command.add_argument(
        "--face-every", type=int, metavar="N", help="long rollouts: look for the face in one second of N (default: 1)"
    )
    command.add_argument(
        "--batch", type=int, metavar="N", help="long rollouts that are made in step (default: 1, which is measured too)"
    )
    command.add_argument("--films", type=int, metavar="N", help="clips whose video is kept for the page (default: 0)")
    command.add_argument("--no-crop", dest="crop", action="store_false", default=None, help="do not look for the face")
    command.add_argument("--output", required=True, metavar="DIR", type=Path, help="folder for results and records")
    command.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from asymtalker.evaluation.run import evaluate  # with `datasets`, seconds that the other commands do not wait for

    options = {key: value for key, value in vars(arguments).items() if key not in ("run", "protocol", "output")}
    settings = read_protocol(arguments.protocol, **options)
    if evaluate(settings, arguments.output):
        print(f"{arguments.output / 'results.md'}\n\n{(arguments.output / 'results.md').read_text()}")


def _add_report(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("report", help="put finished evaluations beside each other: a table and a page")
    command.add_argument(
        "evaluations",
        nargs="+",
        metavar="[NAME=]DIR",
        help="folder that evaluate wrote, and what to call it; the others are compared with the first",
    )
    command.add_argument("--title", default="Evaluations", help="of the page (default: %(default)s)")
    command.add_argument("--output", required=True, metavar="DIR", type=Path, help="folder for table, page and films")
    command.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> None:
    from asymtalker.evaluation.compare import compare_evaluations

    named = [text.rpartition("=") for text in arguments.evaluations]
    print(
        compare_evaluations(
            [(name or None, Path(folder)) for name, _, folder in named], arguments.output, arguments.title
        )
    )


def _add_benchmark(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("benchmark", help="time the stages of a checkpoint, or compute what it takes")
    command.add_argument("--checkpoint", metavar="NAME", help="embedded name, folder or Hub id (default: tiny)")
    command.add_argument("--random", choices=tuple(VARIANTS), help="this architecture, with random weights instead")
    command.add_argument("--size", type=int, help="side of the frames in pixels (default: the checkpoint's own)")
    command.add_argument("--steps", type=int, help="denoising steps a chunk (default: the checkpoint's own)")
    command.add_argument("--chunks", type=int, default=10, help="that are timed (default: %(default)s)")
    command.add_argument("--image", metavar="FILE", type=Path, help="portrait (default: a plain picture)")
    command.add_argument("--json", metavar="FILE", type=Path, help="write all figures there as well")
    command.add_argument("--estimate", action="store_true", help="compute memory and arithmetic from shapes instead")
    command.add_argument("--tflops", type=float, metavar="N", help="with --estimate: a device's peak, TFLOP/s")
    _add_runtime(command)
    command.set_defaults(run=_benchmark)


def _benchmark(arguments: argparse.Namespace) -> None:
    from asymtalker import benchmark

    names = ("checkpoint", "random", "size", "steps", "chunks", "image")
    options = benchmark.BenchmarkOptions(**{name: getattr(arguments, name) for name in names})
    if arguments.estimate:
        footprint = benchmark.footprint_of(options)
        print(benchmark.render_footprint(footprint, options.name, arguments.tflops))
        return
    result = benchmark.benchmark(options, _read_runtime(arguments))
    print(benchmark.render(result))
    if arguments.json:
        result.write(arguments.json)


def _add_compile(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("compile", help="compile a checkpoint's blocks ahead of time, for ZeroGPU")
    command.add_argument("--checkpoint", metavar="NAME", help="embedded name, folder or Hub id (default: tiny)")
    command.add_argument("--output", required=True, metavar="DIR", type=Path, help="folder to upload to the Hub")
    command.set_defaults(run=_compile)


def _compile(options: argparse.Namespace) -> None:
    for package in compile_blocks(load_pipeline(options.checkpoint, Runtime()), options.output):
        print(package)


def _add_convert(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("convert", help="make a checkpoint of public weights")
    kinds = command.add_subparsers(title="public weights", required=True, metavar="WEIGHTS")
    flashhead = kinds.add_parser("flashhead", help="SoulX-FlashHead 1.3B, to generate with")
    wan = kinds.add_parser("wan", help="Wan 2.1 T2V 1.3B, to start training from")
    for kind, source in ((flashhead, FLASHHEAD), (wan, WAN)):
        kind.add_argument("--source", default=source, metavar="NAME", help="folder or Hub id (default: %(default)s)")
        kind.add_argument("--variant", choices=tuple(VARIANTS), default="pro", help="(default: %(default)s)")
        kind.add_argument("--output", required=True, metavar="DIR", type=Path, help="folder to make")
        kind.add_argument(
            "--speech-encoder", default=SPEECH_ENCODER, metavar="NAME", help="folder or Hub id (default: %(default)s)"
        )
        kind.add_argument("--size", type=int, default=512, help="side of the frames in pixels (default: %(default)s)")
    flashhead.set_defaults(run=_convert, convert=convert_flashhead, options=())
    wan.add_argument("--vae", metavar="NAME", help=f"folder or Hub id (default: the source; for lite {LTX_VIDEO})")
    wan.add_argument("--seed", type=int, default=0, help="of the new parameters (default: %(default)s)")
    wan.set_defaults(run=_convert, convert=convert_wan, options=("vae", "seed"))


def _convert(arguments: argparse.Namespace) -> None:
    names = ("output", "variant", "source", "speech_encoder", "size", *arguments.options)
    arguments.convert(**{name: getattr(arguments, name) for name in names})
    print(f"{arguments.output}: python -m asymtalker generate --checkpoint {arguments.output} ...")


if __name__ == "__main__":
    sys.exit(main())
