"""An application that says what it knows of its visitor."""

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
# One web server is in front. From a Unix socket, Gunicorn takes the scheme of X-Forwarded-Proto by itself. The address
# of the visitor is for the application to take.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)


@app.route("/")
def whoami() -> dict[str, str | None]:
    """Say where the request came from, as far as links and logs of the application would know."""
    return {"address": request.remote_addr, "link": request.url}
