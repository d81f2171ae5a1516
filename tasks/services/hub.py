"""Upload of a folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from tasks.services.errors import ServiceConfigurationError
from tasks.store import one_line


class HubError(ServiceConfigurationError):
    """The Hub cannot be used; the message is one line."""


def check_hub() -> None:
    """Check that huggingface_hub is installed, and that it has a token.

    Raises:
        HubError: it is not, or has none.
    """
    try:
        from huggingface_hub import get_token
    except ImportError:
        raise HubError("--push needs huggingface_hub: `pip install 'ramreel[hub]'`") from None
    if get_token() is None:
        raise HubError("--push needs a token of the Hugging Face Hub: set HF_TOKEN, or log in with `hf auth login`")


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a model repository, which is created if it does not exist, and return its URL.

    Raises:
        HubError: the Hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi

    try:
        created = HfApi().create_repo(repository, exist_ok=True)
        HfApi().upload_folder(repo_id=created.repo_id, folder_path=folder, commit_message="Export with ramreel")
    except Exception as error:
        # huggingface_hub, its HTTP client and its transfer library raise their own errors.
        raise HubError(f"could not push to {repository}: {one_line(error)}") from None
    return str(created)
