"""Encode values as stored bytes, and decode them: serializers, compressors, the format byte."""

from redisdict.codec.codec import Codec, get_codec
from redisdict.codec.type_forms import register_type

__all__ = ["Codec", "get_codec", "register_type"]
