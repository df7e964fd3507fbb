"""Encode values as stored bytes, and decode them: serializers, compressors, the format byte."""

from redisdict.codec.codec import Codec, get_codec

__all__ = ["Codec", "get_codec"]
