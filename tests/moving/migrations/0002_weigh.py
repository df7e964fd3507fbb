from django.db import migrations

from tests.moving import scales


class Migration(migrations.Migration):
    dependencies = [("moving", "0001_initial")]
    operations = [
        migrations.RunPython(scales.weigh, migrations.RunPython.noop),
        migrations.RunSQL("UPDATE moving_parcel SET name = 'weighed'", migrations.RunSQL.noop),
    ]
