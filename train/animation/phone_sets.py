"""Which visemes the phones of several phone sets are: those of flite, festival's voices and espeak-ng."""

from __future__ import annotations

import unicodedata


def _phones(table: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Phone → names of its visemes, from a table whose keys are visemes ("+" joins two) and whose values are phones."""
    return {phone: tuple(visemes.split("+")) for visemes, phones in table.items() for phone in phones.split()}


ARPABET = {
    "rest": "pau sil sp brth h# # ssil +spn+ +nsn+",
    "bilabial": "p b m em",
    "labiodental": "f v",
    "dental": "th dh",
    "alveolar": "t d n en dx nx",
    "lateral": "l el",
    "velar": "k g ng hh h",
    "postalveolar": "ch jh sh zh",
    "sibilant": "s z",
    "rhotic": "r er axr",
    "open": "aa",
    "open front": "ae",
    "central": "ah ax",
    "mid front": "eh",
    "close front": "iy ih y ix ia",
    "mid back": "ao oh",
    "close back": "uw uh w ux",
    "open+close front": "ay",
    "open+close back": "aw",
    "mid back+close front": "oy",
    "mid back+close back": "ow",
    "mid front+close front": "ey",
}
SAMPA = {
    "rest": "# pau _",
    "bilabial": "p b m bb pp",
    "labiodental": "f v nf",
    "narrow lips": "B",
    "alveolar": "t d n D",
    "lateral": "l L",
    "velar": "k g G J ng",
    "postalveolar": "S Z tS dZ",
    "sibilant": "s z ts dz",
    "lingual trill": "r rr",
    "open": "a a1",
    "central": "ax",
    "mid front": "e e1 E E1",
    "close front": "i i1 j",
    "mid back": "o o1 O O1",
    "close back": "u u1 w",
}
"""Italian and Catalan; 1 marks stress."""
CZECH = {
    "rest": "# _",
    "bilabial": "p b m",
    "labiodental": "f v",
    "alveolar": "t d n t~ d~ n~",
    "lateral": "l",
    "velar": "k g n* h ch",
    "postalveolar": "s~ z~ c~ dz~ r~ r~*",
    "sibilant": "s z c dz",
    "lingual trill": "r",
    "open": "a a:",
    "mid front": "e e:",
    "close front": "i i: j",
    "mid back": "o o:",
    "close back": "u u:",
}
FINNISH = {
    "rest": "# ##",
    "bilabial": "p b m p: b: m:",
    "labiodental": "f v f: v:",
    "dental": "T D T: D:",
    "alveolar": "t d n t: d: n:",
    "lateral": "l l: L L:",
    "velar": "k g h N k: g: h: N:",
    "postalveolar": "S S: Z Z:",
    "sibilant": "s z s: z:",
    "lingual trill": "r r:",
    "open": "a a:",
    "open front": "@ @: & &:",
    "mid front": "e e:",
    "mid front rounded": "7 7:",
    "close front": "i i: j j:",
    "close front rounded": "y y:",
    "mid back": "o o:",
    "close back": "u u: w w:",
}
RUSSIAN = {
    "rest": "pau #",
    "bilabial": "p pp b bb m mm",
    "labiodental": "f ff v vv",
    "alveolar": "t tt d dd n nn",
    "lateral": "l ll",
    "velar": "k kk g gg h hh",
    "postalveolar": "sh sch zh ch",
    "sibilant": "s ss z zz c",
    "lingual trill": "r rr",
    "open": "aa",
    "central": "a ae ay",
    "mid front": "ee e",
    "close front": "ii i j y yy",
    "mid back": "oo",
    "close back": "uu u ur",
}
IPA = {
    "bilabial": "p b m ɓ ʙ",
    "labiodental": "f v ɱ ʋ",
    "narrow lips": "β ɸ",
    "dental": "θ ð",
    "alveolar": "t d n ɾ ɗ ʈ ɖ ɳ",
    "lateral": "l ɫ ɬ ɭ ʎ",
    "velar": "k ɡ g ŋ x ɣ h ɦ c ɟ ɲ ʝ ç q χ ʁ ħ ʀ ɴ",
    "postalveolar": "ʃ ʒ ɕ ʑ ʂ ʐ",
    "sibilant": "s z",
    "rhotic": "ɹ ɻ ɚ ɝ",
    "lingual trill": "r",
    "open": "a ɑ ɒ",
    "open front": "æ",
    "central": "ə ʌ ɐ ɜ ɘ ɤ",
    "mid front": "e ɛ",
    "close front": "i ɪ j ɨ ᵻ ɯ",
    "close front rounded": "y ʏ ɥ ʉ",
    "mid front rounded": "ø œ ɵ",
    "mid back": "o ɔ",
    "close back": "u ʊ w",
}
"""Letters; a phone is one or more of them."""
NO_LETTERS = set("ːˑˈˌʲʰʷˠ.0123456789-_|?*'\"ʔ^;!#~") | set("˥˦˧˨˩")
"""Length, stress, tone and secondary articulation leave the visemes what they are; so does a glottal stop."""
PHONE_SETS = {
    name: _phones(table)
    for name, table in {
        "arpabet": ARPABET,
        "sampa": SAMPA,
        "czech": CZECH,
        "finnish": FINNISH,
        "russian": RUSSIAN,
        "ipa": IPA,
    }.items()
}
"""Phone → names of its visemes, by the name of the phone set."""


def visemes_of(phone: str, phone_set: str) -> tuple[str, ...]:
    """Names of the visemes of a phone: one, or two for a diphthong. Of the IPA, "" is a pause.

    Raises:
        ValueError: the phone set does not have the phone.
    """
    table = PHONE_SETS[phone_set]
    if phone_set == "ipa":
        return _visemes_of_letters(phone, table)
    if phone not in table:
        raise ValueError(f"The phone set {phone_set} has no phone {phone!r}.")
    return table[phone]


def _visemes_of_letters(phone: str, table: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    letters = [letter for letter in unicodedata.normalize("NFD", phone) if not unicodedata.combining(letter)]
    letters = [letter for letter in letters if letter not in NO_LETTERS]
    unknown = [letter for letter in letters if letter not in table]
    if unknown:
        raise ValueError(f"The phone {phone!r} has the letter {unknown[0]!r}, which is not known of the IPA.")
    visemes = list(dict.fromkeys(table[letter][0] for letter in letters))
    if "alveolar" in visemes[:1] and {"sibilant", "postalveolar"} & set(visemes):
        visemes = visemes[1:]  # the lips of an affricate are those of its second part
    return (visemes[0], visemes[-1]) if len(visemes) > 1 else tuple(visemes) or ("rest",)
