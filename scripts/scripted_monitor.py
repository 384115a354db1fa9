"""The monitor's page over a scripted machine of twelve devices, with everything that a page must be able to show: cards lost
and not read, ids with odd characters, more holders than colours, identities, a token, a connection that breaks."""
import http.server, json, math, os, re, threading, time, urllib.parse

SOURCE = os.path.join(os.path.dirname(__file__), "..", "crates", "vramkit-serve", "src")
GIB = 1 << 30
ODD = ["mig <b>&\"'", "host", "__proto__", "a/b c#d%zz"]
GONE = ["presence", "level", "holders", "activity", "total_bytes", "used_bytes", "free_bytes", "driver_bytes", "processes"]
TOKEN = "ab+/cd==EF%12&?#"


def page():
    read = lambda name: open(os.path.join(SOURCE, name)).read()
    return read("page.html").replace("/*style*/", read("page.css")).replace("/*script*/", read("page_draw.js") + "\n" + read("page.js")).encode()


def policy():
    return re.search(r'"(default-src [^"]*)"', open(os.path.join(SOURCE, "routes.rs")).read())[1]


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"


def holders(card, at, count):
    names = [(f"python3 {4000 + n}", max(1, int(GIB * (1.5 + math.sin(at / 40 + n + card)) * 2 / (1 + n / 4)))) for n in range(count)]
    return sorted(names, key=lambda holder: -holder[1])


def used(card, at, count):
    return sum(size for _, size in holders(card, at, count)) + GIB


def device(card, name, at, count):
    reading = lambda value: {"value": value, "source": "nvml"}
    none = lambda why: {"value": None, "source": "nvml", "unavailable": why}
    size = used(card, at, count)
    who = lambda n: {"user": ["ann", "bob"][n % 2], "command": f"/opt/vllm/bin/python3 -m vllm.serve --model a-{n} " + "--option " * 30, "pod": f"team/llm-{n}", "container": "containerd:0123456789ab", "job": f"slurm:{n}"}
    made = {
        "time": utc(at), "device": {"id": name, "name": "Scripted H100 80GB HBM3", "uuid": f"GPU-{card}"}, "class": "gpu", "presence": {"state": "present"},
        "activity": {"utilization_ratio": .97, "temperature_celsius": 61.0, "power_watts": 512.0, "power_limit_watts": 700.0},
        "total_bytes": reading(80 * GIB), "used_bytes": reading(size), "free_bytes": reading(80 * GIB - size), "driver_bytes": reading(GIB),
        "processes": {"value": [{"pid": 4000 + n, "name": reading("python3"), **who(n), "used_bytes": reading(GIB), "peak_bytes": none("no accounting")} for n in range(count)], "source": "nvml"},
        "pools": [], "level": ["normal", "elevated", "high", "critical"][card % 4], "level_readings": [1, 2, 3, 4], "level_changes": 3, "suspected": [],
        "holders": [{"name": n, "bytes": b, "pid": int(n.split()[1]), **who(int(n.split()[1]) - 4000)} for n, b in holders(card, at, count)] + [{"name": "others", "bytes": GIB}],
    }
    if card in (5, 6):
        why = "NVML: GPU is lost (15): it has fallen off the bus"
        made.update(presence={"state": ["lost", "unread"][card - 5], "since": utc(at - 90), "reason": why}, level=None, holders=[], activity=None)
        made.update({name: none(why) for name in ["total_bytes", "used_bytes", "free_bytes", "driver_bytes", "processes"]})
    return made


class Monitor:
    """Serves until it is closed."""

    def __init__(self, token=None):
        self.token, self.asked, self.cut, self.silent = token, [], threading.Event(), False
        # Devices that are not here for now, cards that are lost as well, and seconds by which the clock is set back.
        self.without, self.lost, self.back = set(), set(), 0
        self.names = [f"cuda:{n}" for n in range(8)] + ODD
        self.counts = [30 if card == 0 else 3 for card in range(12)]
        monitor, started = self, time.time() - 300

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            log_message = lambda *_: None

            def answer(self, status, kind, body):
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": len(body), "Content-Security-Policy": policy()}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path = urllib.parse.urlsplit(self.path).path
                monitor.asked.append(self.path)
                if path == "/":
                    return self.answer(200, "text/html; charset=utf-8", page())
                if monitor.token and self.headers.get("Authorization") != "Bearer " + monitor.token:
                    return self.answer(401, "text/plain", b"a token is required: Authorization: Bearer TOKEN\n")
                if path == "/api/history":
                    return self.answer(200, "application/json", json.dumps(monitor.history(started)).encode())
                if path != "/events":
                    return self.answer(404, "text/plain", b"not here\n")
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                number = 0
                while not monitor.cut.is_set():
                    number += 1
                    if not monitor.silent:
                        self.wfile.write(f"event: tick\nid: {number}\ndata: {json.dumps(monitor.tick())}\n\n".encode())
                    time.sleep(0.3)
                self.close_connection = True

        self.handler = Handler
        self.open(0)

    def open(self, port):
        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            handle_error = lambda *_: None

        self.cut.clear()
        self.server = Server(("127.0.0.1", port), self.handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.cut.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def tick(self):
        at = time.time()
        at -= self.back
        devices = [device(card, name, at, self.counts[card]) for card, name in enumerate(self.names) if name not in self.without]
        devices = [{**made, **{key: gone[key] for key in GONE}} if made["device"]["id"] in self.lost else made for made in devices for gone in [device(5, "", at, 1)]]
        devices[1]["notes"] = ["2 GiB free is said of 1 GiB in all: one of them is wrong"]
        sources = [
            {"source": "nvml", "health": "up", "since": utc(at - 900), "answered": utc(at)},
            {"source": "amd", "health": "absent", "since": utc(at - 900), "reason": "no amdgpu card"},
            {"source": "pools", "health": "late", "since": utc(at - 90), "reason": "no answer within 2 s"},
        ]
        return {"schema": "vramkit.top/1", "time": utc(at), "devices": devices, "sources": sources, "unavailable": [], "events": []}

    def history(self, started):
        started -= self.back
        devices = {}
        for card, name in enumerate(self.names):
            samples = devices[name] = []
            for step in range(290):
                at, count = started + step, self.counts[card]
                largest = holders(card, at, count)[:8]
                is_gone = card in (5, 6) and step > 200
                samples.append({"unix_seconds": at, "used_bytes": None if is_gone else used(card, at, count), "level": None if is_gone else "high" if 100 < step < 150 else "normal", "holders": [] if is_gone else [{"name": n, "bytes": b} for n, b in largest]})
        events = [{"time": utc(started + 100 + n), "device": "cuda:0", "kind": "level_changed", "text": f"normal to high at {80 + n} %"} for n in range(30)]
        return {"schema": "vramkit.history/1", "devices": devices, "events": events}


if __name__ == "__main__":
    monitor = Monitor()
    print(monitor.url, flush=True)
    threading.Event().wait()
