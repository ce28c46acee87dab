"""redisflow in a Django project: workflows are found in each app's `workflows.py`, runs start on commit.

```
INSTALLED_APPS = [..., "redisflow.contrib.django"]
REDISFLOW = "shop.workflows.flow"  # or {"url": "redis://localhost:6379/0", "namespace": "shop"}
```

`manage.py redisflow_worker` works; sync views use `get_flow().sync`, async views await the flow itself.
"""

from redisflow.contrib.django.configured import get_flow
from redisflow.contrib.django.database import close_old_connections_around
from redisflow.contrib.django.transactions import run_on_commit

__all__ = ["close_old_connections_around", "get_flow", "run_on_commit"]
