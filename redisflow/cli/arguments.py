"""The words that many commands take, and what they mean."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

RunId = Annotated[str, Parameter(help="as `redisflow run list` prints it")]
RunIds = Annotated[tuple[str, ...], Parameter(help="run ids, such as `redisflow run list -o id` prints")]
WorkflowName = Annotated[str, Parameter(help="of a workflow")]
QueueName = Annotated[str, Parameter(help="of a queue")]
ScheduleId = Annotated[str, Parameter(help="of a schedule")]
NamespaceName = Annotated[str, Parameter(help="of the namespace")]
