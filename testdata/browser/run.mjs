// Drives one headless Chromium for the Go test that started this process.
//
// Commands come on standard input, one JSON object a line; answers and the
// pages' events go to standard output the same way:
//
//   {"id": 1, "do": "open", "page": "alice", "library": "jssip"}
//   {"id": 2, "do": "call", "page": "alice", "method": "dial", "args": ["bob"]}
//   {"id": 3, "do": "reload" | "close", "page": "alice"}
//
//   {"id": 2, "result": 1}   or   {"id": 2, "error": "..."}
//   {"page": "alice", "event": {"kind": "progress", "call": 1, "status": 180}}
//   {"page": "alice", "log": "text of the page's console"}
//
// The first line is {"ready": true} or {"fatal": "why"}. When standard input
// ends, the browser is closed and the process ends.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
  // Media: one socket for all addresses of the machine, and its address in the
  // clear; the pages put the loopback address in its place.
  "--webrtc-ip-handling-policy=default_public_and_private_interfaces",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];

// The certificate with this key is taken for any host's; all others are checked.
if (process.env.TRUSTED_KEY) {
  ARGS.push("--ignore-certificate-errors-spki-list=" + process.env.TRUSTED_KEY);
}

const send = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function bundle() {
  const here = (file) => new URL(file, import.meta.url).pathname;
  const { outputFiles } = await build({
    entryPoints: [here("pages/jssip.js"), here("pages/sipjs.js")],
    bundle: true, write: false, format: "iife", platform: "browser",
    outdir: "/", logLevel: "silent", define: { global: "globalThis" },
  });
  return new Map(outputFiles.map((file) => [file.path, file.text]));
}

// A page is its library's script and nothing else.
function serve(scripts) {
  const server = createServer((request, response) => {
    const script = scripts.get(request.url);
    if (script) {
      response.setHeader("Content-Type", "text/javascript; charset=utf-8");
      response.end(script);
    } else if (scripts.has(`${request.url}.js`)) {
      response.setHeader("Content-Type", "text/html; charset=utf-8");
      response.end(`<!doctype html><title>phone</title>` +
        `<link rel="icon" href="data:,"><script src="${request.url}.js"></script>`);
    } else {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

class Driver {
  #context;
  #base;
  #pages = new Map();

  constructor(context, base) {
    this.#context = context;
    this.#base = base;
  }

  async open({ page: name, library }) {
    const page = await this.#context.newPage();
    this.#pages.set(name, page);
    page.on("console", (message) => send({ page: name, log: message.text() }));
    page.on("pageerror", (error) => send({ page: name, log: `uncaught: ${error.stack}` }));
    await page.exposeFunction("report", (event) => send({ page: name, event }));
    await page.goto(`${this.#base}/${library}`);
  }

  async reload({ page }) {
    await this.#page(page).reload();
  }

  async close({ page }) {
    await this.#page(page).close();
    this.#pages.delete(page);
  }

  call({ page, method, args }) {
    return this.#page(page).evaluate(
      ([name, rest]) => window.phone[name](...rest), [method, args ?? []]);
  }

  #page(name) {
    const page = this.#pages.get(name);
    if (!page) {
      throw new Error(`no page ${name}`);
    }
    return page;
  }
}

const COMMANDS = new Set(["open", "reload", "close", "call"]);

async function obey(driver, { id, do: command, ...parameters }) {
  try {
    if (!COMMANDS.has(command)) {
      throw new Error(`unknown command ${command}`);
    }
    send({ id, result: (await driver[command](parameters)) ?? null });
  } catch (error) {
    send({ id, error: String(error.message ?? error) });
  }
}

try {
  const base = await serve(await bundle());
  // The test bounds the start; playwright's own limit is too short for a busy machine.
  const browser = await chromium.launch({
    executablePath: CHROMIUM, headless: true, args: ARGS, timeout: 0,
  });
  const driver = new Driver(await browser.newContext(), base);
  send({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    // Not awaited: a command may wait for what a later one does.
    obey(driver, JSON.parse(line));
  }
  await browser.close();
  process.exit(0);
} catch (error) {
  send({ fatal: String(error.stack ?? error) });
  process.exit(1);
}
