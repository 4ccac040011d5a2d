"""The errors that a user of Clario meets. All are `ClarioError`; each message says what to do next.

No message carries patient text: a message names a file, a line, an identifier or a number.
"""


class ClarioError(Exception):
    """Base of every error that Clario raises on purpose."""


class InputError(ClarioError):
    """A text or file cannot be read as asked: binary, not UTF-8, too large, a missing column, a cut line."""


class OutputError(ClarioError):
    """A result cannot be written: no permission, no space, an output that is not ours to continue."""


class OntologyError(ClarioError):
    """An ontology file or a compiled release is broken, missing, or made for another version of Clario."""


class DownloadError(ClarioError):
    """A download was cut, stalled, too large, or does not match its checksum."""


class UnknownTermError(ClarioError, LookupError):
    """An HPO id that the release does not know, or that it retired without a successor."""


class ModelError(ClarioError):
    """An extractor is unknown, cannot be loaded, or failed while it read a text."""
