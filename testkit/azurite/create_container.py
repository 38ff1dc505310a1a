# Creates an empty container, signed with the account's key: stores of objects are used by Delta's libraries, not made.
import base64, hashlib, hmac, http.client, sys
from email.utils import formatdate

port, account, key, container = sys.argv[1:5]
path = f"/{account}/{container}"
headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
text = "PUT" + "\n" * 12 + lines + f"/{account}{path}\nrestype:container"
signature = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signature).decode()}"
headers["Content-Length"] = "0"
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
connection.request("PUT", f"{path}?restype=container", headers=headers)
answer = connection.getresponse()
if answer.status != 201:
    sys.exit(f"{answer.status}: {answer.read().decode()}")
