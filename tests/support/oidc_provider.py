"""An OpenID Connect provider as a process of its own: `oidc-provider-mock`, with PKCE held, and with faults on request.

`PUT /faults` has claims that the next ID tokens have in place of the true ones, and without those that are null.
`POST /keys` gives the provider a new key. `POST /signed` signs any claims with the provider's key, as access tokens of
other providers are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.paths import ROOT

Claims = dict[str, Any]


@contextmanager
def open_provider(port: int = 0) -> Iterator[str]:
    """The address of a provider that runs within the block."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.oidc_provider", str(port)]
    environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def main(port: int) -> None:
    import flask
    import oidc_provider_mock
    from authlib.jose import RSAKey, jwt
    from werkzeug.serving import make_server

    provider = oidc_provider_mock.app()
    faults: Claims = {}
    challenges: dict[str, str] = {}

    def signed(claims: Claims, kid: str | None = None) -> str:
        key = flask.g.oidc_provider_mock_storage.jwk
        header = {"alg": "RS256", "kid": key.as_dict()["kid"] if kid is None else kid}
        text: str = jwt.encode(header, claims, key).decode()
        return text

    @provider.put("/faults")
    def set_faults() -> tuple[str, int]:
        faults.clear()
        faults.update(flask.request.get_json())
        return "", 204

    @provider.post("/keys")
    def change_keys() -> tuple[str, int]:
        flask.g.oidc_provider_mock_storage.jwk = RSAKey.generate_key(2048, is_private=True)
        flask.g.oidc_provider_mock_storage.jwk.as_dict(add_kid=True)
        return "", 204

    @provider.post("/signed")
    def sign() -> str:
        own = {"iss": flask.request.host_url.rstrip("/"), "iat": int(time.time())}
        return signed(own | flask.request.get_json(), flask.request.args.get("kid"))

    @provider.before_request
    def hold_pkce() -> tuple[Claims, int] | None:
        if flask.request.path != "/oauth2/token":
            return None
        digest = hashlib.sha256(flask.request.form.get("code_verifier", "").encode()).digest()
        challenge = challenges.get(flask.request.form.get("code", ""))
        if challenge == base64.urlsafe_b64encode(digest).decode().rstrip("="):
            return None
        return {"error": "invalid_grant"}, 400

    @provider.after_request
    def note_challenge_and_put_faults(response: flask.Response) -> flask.Response:
        code = parse_qs(urlsplit(response.location or "").query).get("code")
        if flask.request.path == "/oauth2/authorize" and code:
            challenges[code[0]] = flask.request.values["code_challenge"]
        if flask.request.path == "/oauth2/token" and faults and response.status_code == 200:
            answer = response.get_json()
            payload = answer["id_token"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            answer["id_token"] = signed({name: each for name, each in {**claims, **faults}.items() if each is not None})
            response.set_data(json.dumps(answer))
        return response

    server = make_server("127.0.0.1", port, provider, threaded=True)
    print(f"http://localhost:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
