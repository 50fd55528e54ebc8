"""Settings of I Hate Money. The database is in the directory that stays when releases change."""

import os

SECRET_KEY = os.environ["SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{os.environ['STATE_DIRECTORY']}/budget.sqlite"
SQLALCHEMY_TRACK_MODIFICATIONS = False
SESSION_COOKIE_SECURE = True  # browsers log in over HTTPS, through the web server in front
