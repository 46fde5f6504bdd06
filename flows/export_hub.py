"""Pushes exported rows to the Hugging Face Hub, with the user's own token, the card first.

A push goes only where a person has asked for one. A dataset that is there already and open to
everybody is not pushed to as a private one.
"""

from pathlib import Path

from generators.errors import ConfigError, EndpointError, RunError

AGAIN = "Nothing was exported; the same command tries again."


def check_hub(name: str) -> None:
    """Raise ConfigError where the name cannot be a dataset's, or no token is at hand."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(f"--push-to-hub {name}: {str(error).rstrip('.')}") from error
    if get_token() is None:
        raise ConfigError(
            f"--push-to-hub {name}: there is no token of yours at hand; log in with: hf auth login"
            " (or set HF_TOKEN)"
        )


def push_rows(folder: Path, name: str, card: str, *, private: bool) -> str:
    """Push a folder that `datasets` saved; return the dataset's address.

    Raises EndpointError where the hub cannot be reached, RunError where it refuses, or where the
    dataset is there already, open to everybody, and is to be private.
    """
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    hub = constants.ENDPOINT
    try:
        return _push(folder, name, card, private=private)
    except HfHubHTTPError as error:
        raise RunError(f"{hub}: refuses {name}: {_first_line(error)}. {AGAIN}") from error
    except (ConnectionError, httpx2.HTTPError) as error:
        raise EndpointError(f"{hub}: cannot be reached: {_first_line(error)}. {AGAIN}") from error


def _push(folder: Path, name: str, card: str, *, private: bool) -> str:
    from datasets import DatasetDict, logging
    from huggingface_hub import HfApi

    logging.set_verbosity_error()
    api = HfApi()
    place = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
    if private and not api.dataset_info(place.repo_id).private:
        raise RunError(
            f"{place.url}: is there already, and everybody can see it; make it private there, or"
            f" give another name. {AGAIN}"
        )
    api.upload_file(
        path_or_fileobj=card.encode(),
        path_in_repo="README.md",
        repo_id=place.repo_id,
        repo_type="dataset",
        commit_message="Card of the dataset",
    )
    DatasetDict.load_from_disk(folder).push_to_hub(place.repo_id, private=private)
    return place.url


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
