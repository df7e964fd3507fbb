"""Recognize the keys of one cache among all keys of a database."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redisdict.cache.inside import Glob, escape_glob
from redisdict.exceptions import ConfigurationError

#: What a KEY_FUNCTION is tried with.
PROBE = "redisdict-probe-7f3a"
PROBE_VERSION = 982451653


def encode_key(key: str) -> bytes:
    """Encode a key as UTF-8; lone surrogates, as file names may hold, have a form too."""
    return key.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class KeySpace:
    """The form of a cache's keys.

    Args:
        make_key: makes the stored key from a key and a version.
        function: KEY_FUNCTION, as errors name it.
        is_default: whether it is Django's own.
        prefix: KEY_PREFIX.
        version: VERSION.
        reverse: REVERSE_KEY_FUNCTION, from the stored key back to the key, if there is one.
    """

    make_key: Callable[[Any, Any], str]
    function: str
    is_default: bool
    prefix: str
    version: Any
    reverse: Callable[[str], str] | None = None

    def frame(self, version: Any) -> tuple[str, str]:
        """Find the text before and after a key of that version.

        Raises:
            ConfigurationError: the KEY_FUNCTION doesn't keep the key as it is.
        """
        if self.is_default:
            return f"{self.prefix}:{version}:", ""
        before, found, after = self._probe(version)
        if not found:
            raise ConfigurationError(
                "The keys of this cache can't be found by a pattern, because its KEY_FUNCTION"
                f" ({self.function}) changes them."
            )
        return before, after

    def matching(
        self, pattern: str, version: Any, *, is_cluster: bool
    ) -> tuple[bytes, Callable[[bytes], bool]]:
        """Make a pattern for MATCH, and a filter for keys that it matches wrongly."""
        before, after = self.frame(version)
        whole = (
            escape_glob(encode_key(before)) + encode_key(pattern) + escape_glob(encode_key(after))
        )
        if not (is_cluster and b"{" in whole):
            return whole, _anything
        # A node of a Cluster would be taken for that of all keys that fit, by the hash tag.
        glob = Glob(whole.decode("utf-8", "surrogatepass"))
        return _without_tag(whole), lambda key: glob.matches(_text(key))

    def of_all_versions(self, *, is_cluster: bool) -> tuple[bytes, Callable[[bytes], bool]]:
        """As `matching()`, of what is this cache's: keys of VERSION, and of any version that is a
        number.

        Raises:
            ConfigurationError: the KEY_FUNCTION doesn't tell its keys from others'.
        """
        before, found, after = self._probe(PROBE_VERSION)
        head, has_version, rest = before.partition(str(PROBE_VERSION))
        is_told = bool(head) and self.prefix in before + after
        if not self.is_default and not (found and is_told):
            raise ConfigurationError(
                "clear() can't recognize the keys of this cache, because its KEY_FUNCTION"
                f" ({self.function}) doesn't begin them with a fixed text. If the database holds"
                ' nothing else, give its "OPTIONS": {"CLEAR": "database"}, and clear() empties it;'
                " otherwise let the function begin keys with KEY_PREFIX."
            )
        parts = [head, rest] if has_version else [before]
        pattern = b"*".join(escape_glob(encode_key(part)) for part in parts) + b"*"
        pattern += escape_glob(encode_key(after))
        version = re.escape(encode_key(str(self.version)))
        expression = rb"(?:-?\d+|%s)" % version
        fits = expression.join(re.escape(encode_key(part)) for part in parts)
        whole = re.compile(fits + b".*" + re.escape(encode_key(after)), re.DOTALL)
        if is_cluster:
            pattern = _without_tag(pattern)
        return pattern, lambda key: whole.fullmatch(key) is not None

    def common_prefix(self) -> bytes:
        """Find the known common beginning of all keys of all versions, which may be empty.

        Of a KEY_FUNCTION it is KEY_PREFIX, if it begins a key with that. Others, as one that puts a
        tenant before it, may begin each key with something else.
        """
        if self.is_default:
            return encode_key(f"{self.prefix}:")
        before, _, _ = self._probe(PROBE_VERSION)
        return encode_key(self.prefix) if before.startswith(self.prefix) else b""

    def key_of(self, stored: bytes, version: Any) -> str:
        """Decode a stored key."""
        text = _text(stored)
        if self.reverse is not None:
            return self.reverse(text)
        before, after = self.frame(version)
        return text.removeprefix(before).removesuffix(after)

    def _probe(self, version: Any) -> tuple[str, str, str]:
        """Return the text that the function puts before a key, the key, and the text after it."""
        try:
            return str(self.make_key(PROBE, version)).partition(PROBE)
        except Exception:  # noqa: BLE001  # a user's function, called with what it may not expect
            return "", "", ""


def _without_tag(pattern: bytes) -> bytes:
    return pattern.replace(b"{", b"?").replace(b"}", b"?")


def _anything(key: bytes) -> bool:
    return True


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
