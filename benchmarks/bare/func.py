"""What a bare function of `func create -l python -t cloudevents` does at the least: it answers an event with one."""

import os
import time

from cloudevents.core.v1.event import CloudEvent

STEP = int(os.environ.get("STEP", "0"))


def new():
    return Function()


class Function:
    async def handle(self, scope, receive, send):
        data = dict(scope["event"].get_data())
        data["stamps"] = [*data["stamps"], time.time()]
        last = len(data["stamps"]) >= data["hops"]
        attributes = {
            "id": f"{data['name']}-{len(data['stamps'])}",
            "source": "bare",
            "type": "bench.done" if last else f"bench.bare{(STEP + 1) % 3}",
            "subject": data["name"],
            "datacontenttype": "application/json",
        }
        await send.binary(CloudEvent(attributes=attributes, data=data))

    def alive(self):
        return True, "alive"

    def ready(self):
        return True, "ready"
