"""A shop that keeps a basket in a signed cookie."""

import os

from flask import Flask, session

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]


@app.route("/")
def offer() -> str:
    """Show what there is to buy, and count the visits."""
    session["visits"] = session.get("visits", 0) + 1
    return f"Apples and pears, seen {session['visits']} times"
