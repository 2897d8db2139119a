"""Sentences for synthetic voices to read, from text that Debian packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np

PACKAGES = {
    "en": ("fortunes", "fortunes-min"),
    "es": ("fortunes-es",),
    "it": ("fortunes-it",),
    "de": ("fortunes-de",),
    "cs": ("fortunes-cs",),
    "ru": ("fortunes-ru",),
    "pt": ("fortunes-br",),
}
"""Debian's packages of sayings, by language."""
MANDARIN = (
    "de shi bu le zai ren you wo ta zhe ge men zhong lai shang da wei he guo di dao yi shuo shi yao jiu chu hui ke ye "
    "ni dui sheng neng er zi na xia guo zi ran hou tian kan qi fa dang mei cheng shi duo ben qu ba xing hao xiao qi "
    "mian po xin pian biao fang feng wen ban bao ma ming min mo pu pao bing bei peng fu fei huo ku lou lv nv qing xue "
    "yuan jie zui suan chuan shuang zhuo rou qiong xiong jiao liang niu dong gong hong lan xi ci ri"
)
"""Syllables in Pinyin, the frequent ones among them."""
MANDARIN_SENTENCES = 3000
FOLDER = "/usr/share/games/fortunes"
UNREADABLE = {"art", "ascii-art", "translate-me"}
SHORTEST, LONGEST = 25, 160
"""Of a sentence, in characters."""
MISREAD = re.compile("[ÃÂ\x80-\x9f]")
"""Letters of text that was decoded wrongly before it was packaged."""
SENTENCE = re.compile(r"(?<![\w.])[^\W\d_][^\d_|<>{}\[\]()*/\\=+#@~^%\"]*?[.!?](?=\s|$)")


def sentences(language: str) -> list[str]:
    """All readable sentences of a language, each once, in a fixed order.

    Raises:
        ValueError: there is no text in the language.
        FileNotFoundError: its package is not installed.
    """
    if language == "zh":
        return _mandarin()
    if language not in PACKAGES:
        raise ValueError(
            f"There is no text for the language {language!r}: there is for {', '.join([*PACKAGES, 'zh'])}."
        )
    found: dict[str, None] = {}
    for path in sorted(path for package in PACKAGES[language] for path in _texts(package)):
        found |= dict.fromkeys(split_sentences(_read(path)))
    return list(found)


def _mandarin() -> list[str]:
    """Phrases of random syllables with random tones: espeak-ng reads Pinyin, but few Chinese characters."""
    rng = np.random.default_rng(0)
    known, phrases = MANDARIN.split(), []
    for length in rng.integers(5, 15, MANDARIN_SENTENCES):
        syllables = zip(rng.choice(known, length), rng.integers(1, 5, length), strict=True)
        phrases.append(" ".join(f"{syllable}{tone}" for syllable, tone in syllables) + ".")
    return phrases


def _texts(package: str) -> list[Path]:
    listing = subprocess.run(["dpkg-query", "-L", package], capture_output=True, text=True)
    if listing.returncode:
        raise FileNotFoundError(f"The package {package} is not installed: apt-get install {package}.")
    files = map(Path, listing.stdout.splitlines())
    files = [path for path in files if path.is_file() and not path.is_symlink() and path.suffix in ("", ".fortunes")]
    return [path for path in files if path.is_relative_to(FOLDER) and path.name not in UNREADABLE]


def _read(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def split_sentences(text: str) -> list[str]:
    """Sentences of a text that consist of words only and are neither very short nor very long."""
    found = []
    for entry in re.split(r"^%\s*$", text, flags=re.MULTILINE):
        entry = re.sub(r"^\s*--.*", "", re.sub(r"\x1b\[[\d;]*m|.\x08", "", entry), flags=re.MULTILINE | re.DOTALL)
        for match in SENTENCE.finditer(" ".join(entry.split())):
            sentence = match.group()
            readable = sentence[0].isupper() and not sentence.isupper() and not MISREAD.search(sentence)
            if readable and SHORTEST <= len(sentence) <= LONGEST:
                found.append(sentence)
    return found
