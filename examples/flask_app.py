"""A Flask application: `gunicorn examples.flask_app:app`, and `redisflow worker examples.flask_app:flow` beside it."""

import os

from flask import Flask, Response, jsonify, request

from redisflow import InvalidInput, RedisFlow, ResultTimeout, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "redis://localhost:6379/0"), namespace="flask-app")
app = Flask(__name__)


def shrink(picture: str) -> str:
    return picture.removesuffix(".png") + "-small.png"


@flow.define_workflow("shrink-picture")
async def shrink_picture(picture: str, step: Step) -> str:
    return await step.run("shrink", shrink, picture)


@app.post("/pictures")
def create() -> tuple[Response, int]:
    try:
        handle = flow.sync.run_workflow(shrink_picture, request.get_json()["picture"])
    except InvalidInput as error:
        return jsonify(error=str(error)), 422
    return jsonify(run_id=handle.id), 202


@app.get("/pictures/<run_id>")
def read(run_id: str) -> tuple[Response, int]:
    handle = flow.sync.get_handle(run_id, shrink_picture)
    try:
        return jsonify(picture=handle.result(timeout="10s")), 200
    except ResultTimeout:
        return jsonify(status=handle.get().status), 202
