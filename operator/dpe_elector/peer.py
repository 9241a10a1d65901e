# SPDX-License-Identifier: Apache-2.0
"""The second sign for breaking a Lease early (hot mode): what the command found out directly.

The command asks the pod that clients are sent to, past the API server, and as long as it gets no
answer and could serve itself it keeps a small file fresh: `{"pod": UID, "at": BOOT}`. No file, an
old one, or one that cannot be read is no sign.
"""

import json

from dpe_elector.steps import Silent

# A file older than this says nothing any more; the command writes it twice a second.
FRESH_SECONDS = 2.0
NO_SIGN = Silent("", 0.0)


def read_sign(path: str, now: float) -> Silent:
    """Return the sign in the file at `path`, or NO_SIGN; `now` is the boot time in seconds."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
        pod, at = str(found["pod"]), float(found["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return NO_SIGN
    # a time ahead of the clock is none of this machine's
    if not at <= now < at + FRESH_SECONDS:
        return NO_SIGN
    return Silent(pod, at + FRESH_SECONDS)
