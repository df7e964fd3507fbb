"""The behaviour that `tests/mapping` describes, on every server that the package is for."""

from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import *  # noqa: F403
