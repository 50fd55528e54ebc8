"""I Hate Money, as Gunicorn and the command `flask` find it."""

from pathlib import Path

import ihatemoney
from ihatemoney.run import create_app

application = create_app("settings")  # settings.py, beside this file

# `flask db upgrade` looks for the migrations here. These are in the package.
application.extensions["migrate"].migrate.directory = str(Path(ihatemoney.__file__).with_name("migrations"))
