"""JSON Web Tokens for the servers that ask for one: HS256, with Python's own library.

In      a user, seconds until the end
Out     a token
Source  RFC 7515, RFC 7519
"""

import base64
import hashlib
import hmac
import json
import time

SECRET = "the secret of the interoperation tests, longer than 32 bytes"
OTHER_SECRET = "a secret that the server does not know, longer than 32 bytes"


def token(user, seconds, secret=SECRET):
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    claims = encoded(json.dumps({"sub": user, "exp": int(time.time()) + seconds}).encode())
    signed = f"{head}.{claims}"
    return f"{signed}.{encoded(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
