from django.db import models


class Order(models.Model):
    sku = models.CharField(max_length=50)
    status = models.CharField(max_length=20, default="new")

    def __str__(self) -> str:
        return f"{self.sku} ({self.status})"
