# Verifies an access token of a Gatehouse issuer, or raises. pip install pyjwt cryptography
import json
import os
import sys

import jwt

ISSUER, RESOURCE = os.environ["ISSUER"], os.environ["RESOURCE"]  # https://auth.example.com, and your server's own URL
KEYS = jwt.PyJWKClient(ISSUER + "/oauth2/jwks")  # keeps them, and fetches anew for a key that it has not seen


def verify(token):
    if jwt.get_unverified_header(token).get("typ") != "at+jwt":
        raise ValueError("not an access token")  # an id token is none
    claims = jwt.decode(
        token,
        KEYS.get_signing_key_from_jwt(token).key,
        algorithms=["ES256", "RS256", "EdDSA"],  # or only the one that your resource has
        issuer=ISSUER,
        audience=RESOURCE,
        leeway=30,
        options={"require": ["exp", "sub", "client_id", "tenant_id", "grant_id", "scopes"]},
    )
    if "cnf" in claims:
        raise ValueError("the token is bound to a key and needs a proof of it")  # RFC 9449 section 7
    return {"subject": claims["sub"], "client": claims["client_id"], "tenant": claims["tenant_id"], "scopes": claims["scopes"]}


print(json.dumps(verify(sys.stdin.read().strip())))
