"""A real browser without a window, through chromedriver (WebDriver)."""
import base64, json, subprocess, sys, time, urllib.request

PORT = 19515
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"]


class Browser:
    def __enter__(self):
        self.driver = subprocess.Popen(["chromedriver", f"--port={PORT}", "--silent"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self._call("GET", "/status")
                break
            except OSError:
                time.sleep(0.1)
        options = {"goog:chromeOptions": {"args": ARGUMENTS}, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = "/session/" + self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", self.session)
        finally:
            self.driver.terminate()

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self._call("POST", self.session + "/url", {"url": url})

    def script(self, code, *arguments):
        return self._call("POST", self.session + "/execute/sync", {"script": code, "args": arguments})

    def text(self):
        return self.script("return document.body.innerText")

    def press(self, *keys):
        for key in keys:
            actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
            self._call("POST", self.session + "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def wait(self, what, ready):
        end = time.time() + 30
        while not ready():
            if time.time() > end:
                sys.exit(f"the page never came to: {what}\n{self.text()}")
            time.sleep(0.1)

    def command(self, name, **parameters):
        return self._call("POST", self.session + "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def scheme(self, name):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def size(self, width, height):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def picture(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self._call("GET", self.session + "/screenshot")))

    def errors(self):
        lines = self._call("POST", self.session + "/se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] == "SEVERE" and "favicon" not in line["message"]]
