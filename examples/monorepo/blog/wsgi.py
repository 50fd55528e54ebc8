"""The blog of the shop."""

from common.page import page
from flask import Flask

app = Flask(__name__)


@app.route("/")
def news() -> str:
    """Show what is new."""
    return page("The blog", "The apples are ripe")
