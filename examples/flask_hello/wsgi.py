"""The smallest Flask application that the role can deploy and watch over."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello() -> str:
    """Greet the visitor."""
    return "Hello, World!"


@app.route("/healthz")
def healthz() -> str:
    """Tell the health check that this worker can answer."""
    return "ok"
