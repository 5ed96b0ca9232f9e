"""What can go wrong, under the names that the openai package uses.

    APIError
    ├── APIConnectionError       no daemon, or it has gone
    │   └── APITimeoutError      `timeout` or `deadline` passed
    └── APIStatusError           the daemon said no: one class for each status that programs look at
        ├── BadRequestError 400, AuthenticationError 401, PermissionDeniedError 403, NotFoundError 404
        ├── ConflictError 409, UnprocessableEntityError 422, RateLimitError 429
        └── InternalServerError  500 and above

`code` is sluice's word ("model_not_found", "queue_full"), `status_code` the status with which the HTTP port would have answered.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple, Type


class SluiceError(Exception):
    """Everything that this package raises about calls."""


class APIError(SluiceError):
    message: str
    code: Optional[str]
    param: Optional[str]  # the field of the request that is wrong
    request_id: Optional[str]  # what the daemon's log knows the call by
    retry_after: Optional[float]  # seconds after which the same request may succeed
    is_retryable: bool

    def __init__(
        self,
        message: str,
        *,
        code: Optional[str] = None,
        param: Optional[str] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
        is_retryable: bool = False,
    ):
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retry_after = retry_after
        self.is_retryable = is_retryable

    def __reduce__(self) -> Tuple[Any, ...]:
        """For processes (concurrent.futures): not by __init__, which wants keywords."""
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: Type[APIError], args: Tuple[Any, ...]) -> APIError:
    return kind.__new__(kind, *args)


class APIConnectionError(APIError):
    """There is no daemon, it does not let us in, or the connection was lost."""


class APITimeoutError(APIConnectionError):
    """`timeout` or `deadline` has passed; the call is cancelled."""


class APIStatusError(APIError):
    """The daemon refused the request or could not finish it."""

    status_code: int

    def __init__(self, message: str, *, status_code: int, **details: object):
        super().__init__(message, **details)  # type: ignore[arg-type]
        self.status_code = status_code


class BadRequestError(APIStatusError):
    """400: the request is not valid, or the model cannot do what it asks."""


class AuthenticationError(APIStatusError):
    """401."""


class PermissionDeniedError(APIStatusError):
    """403: this user may not do that."""


class NotFoundError(APIStatusError):
    """404: no such model."""


class ConflictError(APIStatusError):
    """409."""


class UnprocessableEntityError(APIStatusError):
    """422."""


class RateLimitError(APIStatusError):
    """429: too many calls; see retry_after."""


class InternalServerError(APIStatusError):
    """500 and above: the daemon or the model server; see code and retry_after."""


BY_STATUS: Dict[int, Type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def make_error(message: str, *, status: int, code: str, **details: object) -> APIError:
    """The exception for what the daemon or the library said."""
    if code == "connection_lost":
        return APIConnectionError(message, code=code, **details)  # type: ignore[arg-type]
    if code == "deadline_exceeded":
        # not of the openai package, which has no deadlines: ours is the caller's own time limit
        return APITimeoutError(message, code=code, **details)  # type: ignore[arg-type]
    kind = BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
    return kind(message, status_code=status, code=code, **details)


def bad_request(message: str, param: str, code: str = "invalid_request") -> BadRequestError:
    """What the daemon would refuse as well, said before it is asked."""
    return BadRequestError(message, status_code=400, code=code, param=param)
