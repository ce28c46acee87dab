from django.urls import path

from . import views

urlpatterns = [
    path("orders", views.create_order),
    path("orders/<int:order_id>", views.read_order),
    path("quotes/<str:sku>", views.read_quote),
]
