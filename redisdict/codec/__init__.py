"""Values to stored bytes and back: serializers, compressors and the byte that names them."""

from redisdict.codec.codec import Codec, get_codec

__all__ = ["Codec", "get_codec"]
