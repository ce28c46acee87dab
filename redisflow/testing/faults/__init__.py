"""Faults on purpose: a proxy before a Redis or Valkey server that drops, delays, repeats and refuses calls.

```python
async with open_proxy(server.url) as proxy, RedisFlow(proxy.url) as flow:
    lost = proxy.on(call("commit_run", nth=2)).drop_reply()
    ...
    assert lost.fired == 1
```
"""

from redisflow.testing.faults.calls import CallSelector, NameOf, SeenCall, Words, call, name_by, script_names
from redisflow.testing.faults.proxy import Proxy, open_proxy
from redisflow.testing.faults.resp import NotResp, Reply, ReplySplitter, Request, RequestSplitter
from redisflow.testing.faults.rules import Rule, Trigger

__all__ = [
    "CallSelector",
    "NameOf",
    "NotResp",
    "Proxy",
    "Reply",
    "ReplySplitter",
    "Request",
    "RequestSplitter",
    "Rule",
    "SeenCall",
    "Trigger",
    "Words",
    "call",
    "name_by",
    "open_proxy",
    "script_names",
]
