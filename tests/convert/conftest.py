import pytest

from tests.convert.published import write_flashhead, write_wan, write_wav2vec2


@pytest.fixture(scope="session")
def flashhead(tmp_path_factory):
    return write_flashhead(tmp_path_factory.mktemp("flashhead"))


@pytest.fixture(scope="session")
def wan(tmp_path_factory):
    return write_wan(tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="session")
def wav2vec2(tmp_path_factory):
    return write_wav2vec2(tmp_path_factory.mktemp("wav2vec2"))
