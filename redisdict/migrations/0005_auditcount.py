from django.db import migrations, models


class Migration(migrations.Migration):
    """Keep what audits of cached models count, hour by hour."""

    dependencies = [
        ("redisdict", "0004_change_storeddict"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField(verbose_name="hour")),
                ("model", models.CharField(max_length=255, verbose_name="model")),
                ("database", models.CharField(max_length=100, verbose_name="database")),
                ("alias", models.CharField(max_length=100, verbose_name="alias")),
                ("passes", models.PositiveIntegerField(default=0, verbose_name="passes")),
                ("judged", models.PositiveBigIntegerField(default=0, verbose_name="judged")),
                ("disagreed", models.PositiveBigIntegerField(default=0, verbose_name="disagreed")),
                ("repaired", models.PositiveBigIntegerField(default=0, verbose_name="repaired")),
                ("by_age", models.JSONField(default=dict, verbose_name="disagreed, by age")),
                ("unjudged", models.JSONField(default=dict, verbose_name="not judged")),
            ],
            options={
                "verbose_name": "audit of a cached model",
                "verbose_name_plural": "audits of cached models",
                "ordering": ["-hour", "model", "database", "alias"],
                "default_permissions": ("view", "delete"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "model", "database", "alias"), name="redisdict_audit_hour"
                    )
                ],
            },
        ),
    ]
