"""Answers that tell a test how the application was started."""

import os
import sys

from flask import Flask, Response, jsonify, request


def create_app(season: str) -> Flask:
    """Make the application of a season."""
    app = Flask(__name__)

    @app.route("/")
    def index() -> str:
        return f"{season} sale"

    @app.route("/health")
    def health() -> str:
        return f"stock of {request.host}"

    @app.route("/environment")
    def environment() -> Response:
        names = request.args.getlist("name")
        return jsonify({name: os.environ.get(name) for name in names})

    @app.route("/where")
    def where() -> Response:
        return jsonify(cwd=os.getcwd(), prefix=sys.prefix, uid=os.getuid(), files=sorted(os.listdir(".")))

    return app
