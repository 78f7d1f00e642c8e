"""The child's side of a peer in an interpreter of its own: lines of JSON on stdin and stdout.

Standard library only, for it runs under interpreters that have neither numpy 2 nor spot-dask. The
messages are described in ``benchmarks.child``, the side that starts it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings


def serve(make):
    """Answer ask and tell until stdin ends; ``make(axes, seed)`` gives the peer.

    What the peer has is ``ask(n) -> [{name: number}]`` and ``tell([[{name: number}, y]])``.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints must not come between the lines
    warnings.simplefilter("ignore")
    peer = None
    for line in sys.stdin:
        message, started, reply = json.loads(line), time.process_time(), {}
        try:
            if "ask" in message:
                reply = {"asked": peer.ask(message["ask"])}
            elif "tell" in message:
                peer.tell(message["tell"])
            else:
                peer = make(message["axes"], message["seed"])
        except ImportError as error:
            reply = {"missing": str(error)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        reply["cpu"] = time.process_time() - started
        print(json.dumps(reply), file=replies, flush=True)
