"""Settings of the wiki. What differs from server to server comes from gunicorn_environment and gunicorn_secrets."""

import os
from pathlib import Path

from django.core.files.storage import FileSystemStorage

# The directory that the service may write to, and that stays when releases change.
STATE = Path(os.environ.get("STATE_DIRECTORY", "."))
RELEASE = os.environ.get("GUNICORN_RELEASE", "development")

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STATE / "wiki.sqlite"}}

# The name of a collected file holds a digest of its content. So the files of all releases fit into one directory, and a
# page of the old release still finds its own. Two releases run side by side, so each has its own list of the names.
STATIC_URL = "static/"
STATIC_ROOT = STATE / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage",
        "OPTIONS": {"manifest_storage": FileSystemStorage(location=STATE / "manifests" / RELEASE)},
    },
}
MEDIA_ROOT = STATE / "media"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.sites",
    "django.contrib.staticfiles",
    "django_nyt",
    "mptt",
    "sekizai",
    "sorl.thumbnail",
    "wiki",
    "wiki.plugins.attachments",
    "wiki.plugins.images",
    "wiki.plugins.macros",
    "wiki.plugins.notifications",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "sekizai.context_processors.sekizai",
            ]
        },
    }
]
ROOT_URLCONF = "urls"
SITE_ID = 1
WIKI_ANONYMOUS_WRITE = False
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
LOGIN_REDIRECT_URL = "/"
TIME_ZONE = "UTC"
USE_TZ = True
