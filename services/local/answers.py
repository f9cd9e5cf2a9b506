"""What the services answer over HTTP, as rows."""

from typing import Any

import httpx

from services.runtime.errors import OperatorError


def rows(client: httpx.Client, url: str, **parameters: str | int) -> list[dict[str, Any]]:
    """All rows of an answer that may come in pages. Raises OperatorError where none comes."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            answer = client.get(url, params=parameters).raise_for_status().json()
        except httpx.HTTPError as error:
            raise OperatorError(f"{url} does not answer ({type(error).__name__})") from None
        found += answer["rows"]
        following = answer.get("next")
        if not following:
            return found
        parameters = {**parameters, "after": following}
