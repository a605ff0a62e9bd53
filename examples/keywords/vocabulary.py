"""What the model tells apart: words, and two classes for all else."""

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE, UNKNOWN = "silence", "unknown"
CLASSES = (SILENCE, UNKNOWN, *WORDS)

OTHER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "hundred"),
    *("house", "tree", "cat", "dog", "bird", "bed", "happy", "wow", "backward", "forward", "follow", "learn"),
    *("hello", "please", "thanks", "music", "water", "window", "table", "robot", "maybe", "never", "always", "again"),
)
SIMILAR_WORDS = (
    *("so", "toe", "low", "nope", "show", "yet", "yesterday", "guess", "less", "cup", "upper", "town", "dawn", "lift"),
    *("laughed", "light", "ride", "an", "own", "of", "awful", "step", "top", "goal", "ghost", "open", "over", "shop"),
)
"""Those that sound like one of the model's."""
UNKNOWN_WORDS = (*OTHER_WORDS, *SIMILAR_WORDS)
"""Spoken in training, as what is none of the words."""

UNHEARD_OTHER_WORDS = (
    *("marvin", "sheila", "visual", "kitchen", "garden", "coffee", "switch", "morning", "letter", "bottle", "apple"),
    *("seventy", "weather"),
)
UNHEARD_SIMILAR_WORDS = ("note", "best", "drown", "bright", "stock", "cough", "gone")
UNHEARD_WORDS = (*UNHEARD_OTHER_WORDS, *UNHEARD_SIMILAR_WORDS)
"""Spoken in the test only."""

BEGINNINGS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "sh", "st", "t", "v", "w", "z")
VOWELS = ("a", "e", "i", "o", "u", "ee", "oo", "ow", "ay", "ie")
ENDINGS = ("", "b", "d", "f", "g", "k", "l", "m", "n", "p", "s", "sh", "t", "st", "ft")
"""Syllables of words that mean nothing."""
