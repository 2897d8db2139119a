"""From typed text to what a voice can read: English sentences, or parts of long ones, with the pauses after them."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

CLAUSE_PAUSE, SENTENCE_PAUSE, PARAGRAPH_PAUSE = 0.15, 0.4, 0.8
"""Seconds of silence after a part of a sentence, a sentence and a paragraph."""
LONGEST = 120
"""Characters of a part; a longer sentence is cut at its commas, so that its first words need not wait for its last."""
LETTERS_PER_SECOND = 16.0
"""Measured with the voice "heart", pauses included: 16.3 to 18.3 in prose, 12.5 in sentences of a word or two."""
LETTERS_PER_DIGIT = 5
"""A digit is a word."""
LETTERS_PER_SENTENCE = 6
"""What its pause takes."""

MOST_CHARACTERS = 100_000
"""Of a text: nearly two hours."""

# What strangers type must not make a search take the square of its length: no pattern looks far ahead in vain.
TAG = re.compile(r"<!--.{0,1000}?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)
LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,1000}\)")
ADDRESS = re.compile(r"\bhttps?://(?:www\.)?", re.IGNORECASE)
LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}|[-*+>•])[ \t]+", re.MULTILINE)
PARAGRAPH = re.compile(r"\n\s*\n|\n(?!\s*[a-z])")
"""A line that goes on in lower case was only wrapped."""
SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]+[\"”’')\]]*\s+(?=[^\sa-z])")
CLAUSE_END = re.compile(r"(?<=[,;:—–])\s+")
ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“‘'])(?:(?:[A-Za-z]\.)*[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|approx|No|Nos|Vol|vol|Fig|fig|pp|Gen|Col"
    r"|Sgt|Capt|Rev|Hon|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|ca|cf|Inc|Ltd|Co|Corp)\.$"
)
"""What ends in a full stop that does not end the sentence."""
LONGEST_ABBREVIATION = 20
LONG_NUMBER = re.compile(r"\d{19,}")
"""Read digit by digit: its words would be of no use."""
APOSTROPHES = str.maketrans({"ʻ": "'", "ʼ": "'", "＇": "'"})
UNSPOKEN = {"So", "Sk", "Cs", "Co", "Cn", "Cc"}
"""Unicode's categories of pictures (emoji), stray accents and what is no character."""
JOINED = {"Cf", "Mn", "Me"}
"""Categories of what changes the character before it, and takes no place of its own."""


@dataclass(frozen=True)
class Part:
    """What a voice reads in one breath.

    Attributes:
        text: a sentence, or a part of one.
        pause: seconds of silence after it, at the natural pace.
    """

    text: str
    pause: float


def split_script(text: str) -> list[Part]:
    """What of a text is read, in order. Markup, emoji and bare addresses' beginnings are left out.

    Raises:
        ValueError: there is nothing to read, or something in it cannot be read; the message says what to do.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"The text has {len(text)} characters; at most {MOST_CHARACTERS} are read at once. Shorten it."
        )
    plain = clean_script(text)
    if not any(character.isalnum() for character in plain):
        raise ValueError("There is nothing to say yet: type at least one word.")
    _check_letters(plain)
    parts: list[Part] = []
    for paragraph in PARAGRAPH.split(plain):
        sentences = [sentence for sentence in _sentences(paragraph) if any(map(str.isalnum, sentence))]
        for number, sentence in enumerate(sentences, 1):
            *first, last = _clauses(sentence)
            parts += [Part(clause, CLAUSE_PAUSE) for clause in first]
            parts.append(Part(last, PARAGRAPH_PAUSE if number == len(sentences) else SENTENCE_PAUSE))
    parts[-1] = Part(parts[-1].text, SENTENCE_PAUSE)
    return parts


def estimate_seconds(parts: list[Part]) -> float:
    """About how long a voice reads, at the natural pace."""
    letters = sum(
        sum(LETTERS_PER_DIGIT if character.isdigit() else 1 for character in part.text) for part in parts
    ) + LETTERS_PER_SENTENCE * len(parts)
    return letters / LETTERS_PER_SECOND


def clean_script(text: str) -> str:
    """A text without markup and without characters that are not spoken; letters in costume become plain ones."""
    text = html.unescape(TAG.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")))
    text = ADDRESS.sub("", LINK.sub(r"\1", LINE_MARK.sub("\n\n", text)))
    composed = unicodedata.normalize("NFC", text.translate(APOSTROPHES))
    spoken = "".join(map(_spoken, composed)).strip()
    return LONG_NUMBER.sub(lambda number: " ".join(number.group()), spoken)


def _spoken(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\n\t":
        return character
    if character.isdecimal():  # of any script
        return str(unicodedata.decimal(character))
    if character.isalpha() and character != "µ":  # full width, bold, ligatures; the micro sign would become Greek
        return unicodedata.normalize("NFKC", character)
    if category in JOINED:
        return ""
    unspoken = category == "Cc" or (category in UNSPOKEN and character > "ÿ")  # ° and © have names
    return " " if unspoken else character


def _check_letters(text: str) -> None:
    """Raises ValueError for a word in another script; single Greek letters have English names."""
    for word in re.findall(r"[^\W\d_]+", text):
        letters = [letter for letter in word if letter.isalpha() and letter not in "µªº"]
        scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in letters}
        if not (scripts <= {"LATIN"} or (len(letters) == 1 and scripts == {"GREEK"})):
            raise ValueError(
                f"The voices read English, in Latin letters; they cannot read “{word[:40]}”. Write it in Latin "
                "letters, or give a recording."
            )


def _sentences(paragraph: str) -> Iterator[str]:
    start, paragraph = 0, " ".join(paragraph.split())
    for end in SENTENCE_END.finditer(paragraph):
        before = paragraph[max(start, end.start() - LONGEST_ABBREVIATION) : end.start() + 1]
        if not (end.group().startswith(". ") and ABBREVIATION.search(before)):
            yield paragraph[start : end.end()].strip()
            start = end.end()
    yield paragraph[start:]


def _clauses(sentence: str) -> list[str]:
    """A sentence in parts of `LONGEST` characters or fewer: cut at its commas, else between words, else anywhere."""
    if len(sentence) <= LONGEST:
        return [sentence]
    clauses = [""]
    for piece in CLAUSE_END.split(sentence):
        for words in [piece] if len(piece) <= LONGEST else _wrapped(piece):
            if clauses[-1] and len(clauses[-1]) + len(words) >= LONGEST:
                clauses.append("")
            clauses[-1] = f"{clauses[-1]} {words}".strip()
    return [clause for clause in clauses if any(map(str.isalnum, clause))]


def _wrapped(text: str) -> Iterator[str]:
    while len(text) > LONGEST:
        cut = text.rfind(" ", 0, LONGEST)
        cut = cut if cut > 0 else LONGEST
        yield text[:cut].strip()
        text = text[cut:].strip()
    yield text
