from django.db import migrations


class Migration(migrations.Migration):
    """Give the items of dicts a permission to be edited."""

    dependencies = [
        ("redisdict", "0003_benchmarkprogress"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="storeddict",
            options={
                "verbose_name": "persistent dict",
                "verbose_name_plural": "persistent dicts",
                "managed": False,
                "default_permissions": ("view", "change", "delete"),
            },
        ),
    ]
