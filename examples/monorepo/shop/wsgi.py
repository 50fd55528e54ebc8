"""The shop."""

from common.page import page
from flask import Flask

app = Flask(__name__)


@app.route("/")
def offer() -> str:
    """Show what there is to buy."""
    return page("The shop", "Apples and pears")
