"""Sentences for synthetic voices to read, from text that Debian packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PACKAGES = {"en": ("fortunes", "fortunes-min"), "es": ("fortunes-es",), "it": ("fortunes-it",), "de": ("fortunes-de",)}
"""Debian's packages of sayings, by language."""
FOLDER = "/usr/share/games/fortunes"
UNREADABLE = {"art", "ascii-art", "translate-me"}
SHORTEST, LONGEST = 25, 160
"""Of a sentence, in characters."""
SENTENCE = re.compile(r"(?<![\w.])[^\W\d_][^\d_|<>{}\[\]()*/\\=+#@~^%\"]*?[.!?](?=\s|$)")


def sentences(language: str) -> list[str]:
    """All readable sentences of a language, each once, in a fixed order.

    Raises:
        ValueError: there is no text in the language.
        FileNotFoundError: its package is not installed.
    """
    if language not in PACKAGES:
        raise ValueError(f"There is no text for the language {language!r}: there is for {', '.join(PACKAGES)}.")
    found: dict[str, None] = {}
    for path in sorted(path for package in PACKAGES[language] for path in _texts(package)):
        found |= dict.fromkeys(split_sentences(_read(path)))
    return list(found)


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
            if SHORTEST <= len(sentence) <= LONGEST and sentence[0].isupper() and not sentence.isupper():
                found.append(sentence)
    return found
