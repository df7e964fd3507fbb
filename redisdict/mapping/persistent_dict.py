"""Keep the module path under which pickles of older releases look for the class of a handle."""

from redisdict.mapping.dict import PersistentDict

__all__ = ["PersistentDict"]
