"""What renders in the tests of messages."""

import pytest

from alerter.render.renderer import Renderer
from tests.support.rendered import BERLIN, SITES


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """One for all: it keeps nothing but its compiled templates."""
    return Renderer(None, BERLIN, SITES)
