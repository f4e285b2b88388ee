# Speaks JSON, a line for each request: what pyiso8583 and iso8583sim make of it.
import json
import sys

import iso8583
from iso8583sim.core.types import ISO8583Message
from iso8583sim.wire import WireFormat, decode_message, encode_message

spec = None


def answer(request):
    global spec
    if "spec" in request:
        spec = request["spec"]
        return {}
    if "encode" in request:
        return {"bytes": bytes(iso8583.encode(request["encode"], spec)[0]).hex()}
    if "decode" in request:
        fields, _ = iso8583.decode(bytes.fromhex(request["decode"]), spec)
        return {"fields": {key: value for key, value in fields.items() if key not in ("p", "1")}}
    if "sim_encode" in request:
        fields = {int(key): value for key, value in request["sim_encode"].items() if key != "t"}
        message = ISO8583Message(mti=request["sim_encode"]["t"], fields=fields)
        return {"bytes": encode_message(message, WireFormat.ascii_binary()).hex()}
    message = decode_message(bytes.fromhex(request["sim_decode"]), WireFormat.ascii_binary())
    fields = {str(key): value for key, value in message.fields.items() if key != 0}
    return {"fields": {"t": message.mti, **fields}, "network": message.network and message.network.value}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
