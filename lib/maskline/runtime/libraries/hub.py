"""One short try to reach the Hugging Face hub, where its own client tries six times for each file.

Without a network that takes 27 to 51 s before the error (huggingface_hub 2.4, a port that refuses). Its client has no
setting for the number of tries; it is told instead that it is offline, so that it reads its cache or fails at once.
"""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

TIMEOUT_S = 4.0  # of a try, the look-up of the name included


@contextmanager
def one_try() -> Iterator[None]:
    """Download from the hub inside the block: where it does not answer now, only its cache is read."""
    from huggingface_hub import constants

    before: bool = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def answers(address: str) -> bool:
    """Tell whether a server answers within ``TIMEOUT_S``, whatever it says; proxies of the environment are used."""
    said: list[bool] = []
    # A thread, since the look-up of a name has no time limit of its own.
    trying = Thread(target=lambda: said.append(_answers(address)), daemon=True)
    trying.start()
    trying.join(TIMEOUT_S)
    return said == [True]


def _answers(address: str) -> bool:
    request = urllib.request.Request(address, method="HEAD")  # what HF_ENDPOINT says
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the hub's client has certificates of its own
    except OSError:
        return False
