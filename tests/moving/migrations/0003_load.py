from django.db import migrations

from tests.moving import scales


class Migration(migrations.Migration):
    dependencies = [("moving", "0002_weigh")]
    operations = [migrations.RunPython(scales.load, migrations.RunPython.noop)]
