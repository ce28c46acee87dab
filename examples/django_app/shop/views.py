from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from redisflow.contrib.django import run_on_commit

from .models import Order
from .workflows import flow, fulfil_order, quote


@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """No run without its order: it starts when the transaction has committed, and never if it is rolled back."""
    with transaction.atomic():
        order = Order.objects.create(sku=request.POST["sku"])
        run_on_commit(fulfil_order, order.pk, idempotency_key=f"order-{order.pk}")
        if request.POST.get("card") == "declined":
            transaction.set_rollback(True)
            return JsonResponse({"error": "card declined"}, status=402)
    return JsonResponse({"order": order.pk}, status=202)


@require_GET
def read_order(_: HttpRequest, order_id: int) -> JsonResponse:
    """Starting with the same key again gives the run that is there: so a view finds it without storing its id."""
    handle = flow.sync.run_workflow(fulfil_order, order_id, idempotency_key=f"order-{order_id}")
    return JsonResponse({"done": handle.result(timeout="30s"), "status": Order.objects.get(pk=order_id).status})


@require_GET
async def read_quote(_: HttpRequest, sku: str) -> JsonResponse:
    """An async view (under ASGI) awaits the flow itself."""
    handle = await quote.run(sku)
    return JsonResponse({"cents": await handle.result(timeout="30s")})
