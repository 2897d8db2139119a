"""What of a typed text is read, in which parts, and what is refused."""

import time

import pytest

from asymtalker.media.script import (
    CLAUSE_PAUSE,
    LONGEST,
    PARAGRAPH_PAUSE,
    SENTENCE_PAUSE,
    Part,
    clean_script,
    split_script,
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Hello there.", ["Hello there."]),
        ("a", ["a"]),
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("“Is it?” he asked. “Yes.” (No.) Good.", ["“Is it?” he asked.", "“Yes.”", "(No.)", "Good."]),
        ("Dr. Smith met J. K. Rowling, e.g. in St. Ives.", ["Dr. Smith met J. K. Rowling, e.g. in St. Ives."]),
        ("It costs $1,250.75, i.e. 3.5 times No. 5.", ["It costs $1,250.75, i.e. 3.5 times No. 5."]),
        ("It was wrapped\nhere.\nNext.", ["It was wrapped here.", "Next."]),
        ("# Title\n\n- one\n- two\n", ["Title", "one", "two"]),
        ("<p>Hi &amp; <b>bye</b></p><!-- no -->", ["Hi & bye"]),
        ("See [our page](https://www.x.org/a) or https://www.y.org", ["See our page or y.org"]),
        ("Hi 😀👩‍👩‍👧 there ❤️!", ["Hi there !"]),
        ("𝐇𝐞𝐥𝐥𝐨 ｗｏｒｌｄ, ﬁne ٣", ["Hello world, fine 3"]),
        ("Hawaiʻi, cafe\u0301", ["Hawai'i, café"]),
        ("\x00Hi\u200b\x07", ["Hi"]),
        ("5 µg at 20°C, π © ½", ["5 µg at 20°C, π © ½"]),
        ("... Yes. ?!", ["Yes."]),
    ],
)
def test_what_is_read(text, read):
    assert [part.text for part in split_script(text)] == read


def test_pauses():
    assert split_script("One. Two.\n\nThree.") == [
        Part("One.", SENTENCE_PAUSE),
        Part("Two.", PARAGRAPH_PAUSE),
        Part("Three.", SENTENCE_PAUSE),
    ]


@pytest.mark.parametrize("text", ["", "  \n", "?!", "…", "😀", "<b></b>", "&nbsp;", "\x00"])
def test_nothing_to_say(text):
    with pytest.raises(ValueError, match="nothing to say yet: type at least one word"):
        split_script(text)


@pytest.mark.parametrize("word", ["Привет", "你好", "مرحبا", "Ελλάδα", "สวัสดี", "नमस्ते"])
def test_other_scripts_are_refused(word):
    with pytest.raises(ValueError, match=r"cannot read “.+”. Write it in Latin letters"):
        split_script(f"Hello {word}, how are you?")


def test_a_long_sentence_is_cut_at_its_commas():
    clauses = [f"clause number {number} has a few words in it" for number in range(12)]
    parts = split_script(", ".join(clauses) + ".")
    assert " ".join(part.text for part in parts) == ", ".join(clauses) + "."
    assert all(part.text.endswith((",", ".")) and len(part.text) <= LONGEST for part in parts)
    assert [part.pause for part in parts] == [CLAUSE_PAUSE] * (len(parts) - 1) + [SENTENCE_PAUSE]


@pytest.mark.parametrize("text", ["word " * 4000, "a" * 20_000, "9" * 20_000, "a,b;" * 5000])
def test_20000_characters_without_an_end(text):
    parts = split_script(text)
    assert max(len(part.text) for part in parts) <= LONGEST
    assert "".join(part.text for part in parts).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "piece", ["<!--", "<a", "[", "[a](", "a. ", ".", "!' ", "\n ", "a, ", "&amp", "(", "1", "\n- "]
)
def test_no_text_takes_the_square_of_its_length(piece):
    began = time.thread_time()
    split_script("a" + piece * (100_000 // len(piece) - 1))
    assert time.thread_time() - began < 3


def test_too_many_characters():
    with pytest.raises(ValueError, match="has 100001 characters; at most 100000"):
        split_script("a" * 100_001)


def test_a_number_too_long_for_words_is_read_digit_by_digit():
    assert clean_script("1234567890123456789") == "1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9"
    assert clean_script("123456789") == "123456789"
