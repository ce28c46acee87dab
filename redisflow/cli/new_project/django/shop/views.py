from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from redisflow.contrib.django import run_on_commit

from .models import Order
from .workflows import fulfil_order


@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """No run without its order: it starts when the transaction has committed, and never if it is rolled back."""
    with transaction.atomic():
        order = Order.objects.create(sku=request.POST["sku"])
        run_on_commit(fulfil_order, order.pk, idempotency_key=f"order-{order.pk}")
    return JsonResponse({"order": order.pk}, status=202)


@require_GET
def read_order(_: HttpRequest, order_id: int) -> JsonResponse:
    return JsonResponse({"status": get_object_or_404(Order, pk=order_id).status})
