import huggingface_hub
import pytest

from tests.convert.published import write_flashhead, write_wan, write_wav2vec2
from tests.hub import serve_hub


@pytest.fixture(scope="session")
def flashhead(tmp_path_factory):
    return write_flashhead(tmp_path_factory.mktemp("flashhead"))


@pytest.fixture(scope="session")
def wan(tmp_path_factory):
    return write_wan(tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="session")
def wav2vec2(tmp_path_factory):
    return write_wav2vec2(tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on loopback that this process's huggingface_hub talks to."""
    with serve_hub() as server:
        template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server
