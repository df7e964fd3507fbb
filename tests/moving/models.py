from __future__ import annotations

from django.db import models


class Parcel(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)
    weight = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.name
