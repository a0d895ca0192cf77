import { join } from "node:path";
import * as v from "valibot";
import { DevTools } from "./devtools.ts";
import type { Netns } from "./netns.ts";
import { TcpRelay } from "./tcp-relay.ts";
import { TemporaryFolder } from "./temp.ts";
import { eventually } from "./wait.ts";

const COMMANDS = ["chromium-headless-shell", "chromium"];
const OPTIONS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--lang=en-GB"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"],
  ...["--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0"],
];

const Nothing = v.looseObject({});
const Evaluated = v.object({
  result: v.object({ value: v.optional(v.unknown()) }),
  exceptionDetails: v.optional(
    v.object({ text: v.string(), exception: v.optional(v.object({ description: v.optional(v.string()) })) }),
  ),
});
const AxValue = v.optional(v.object({ value: v.optional(v.unknown()) }));
const AxTree = v.object({
  nodes: v.array(v.object({ ignored: v.boolean(), role: AxValue, name: AxValue, description: AxValue })),
});
const Request = v.object({ request: v.object({ url: v.string() }) });
const LogEntry = v.object({ entry: v.object({ level: v.string(), text: v.string() }) });
const ConsoleCall = v.object({
  type: v.string(),
  args: v.array(v.object({ value: v.optional(v.unknown()), description: v.optional(v.string()) })),
});
const Thrown = v.object({ exceptionDetails: v.object({ text: v.string(), exception: v.optional(v.unknown()) }) });

export interface View {
  readonly width: number;
  readonly height: number;
  readonly scheme: "light" | "dark";
}

export interface AxNode {
  readonly role: string;
  readonly name: string;
  readonly description: string;
}

/** Debian's Chromium without a window. Its profile is a temporary folder. */
export class Browser implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"ignore", "ignore", "ignore">;
  readonly #folder: TemporaryFolder;
  readonly #relay: TcpRelay | undefined;
  readonly #tools: DevTools;
  readonly #pages: Map<string, Page>;

  private constructor(
    child: Bun.Subprocess<"ignore", "ignore", "ignore">,
    folder: TemporaryFolder,
    relay: TcpRelay | undefined,
    tools: DevTools,
    pages: Map<string, Page>,
  ) {
    this.#child = child;
    this.#folder = folder;
    this.#relay = relay;
    this.#tools = tools;
    this.#pages = pages;
  }

  /** @param ns where it runs; else here */
  static async start(ns?: Netns): Promise<Browser> {
    const command = COMMANDS.map((name) => Bun.which(name)).find((path) => path !== null);
    if (command === undefined) throw new Error(`a browser is needed: one of ${COMMANDS.join(", ")}`);
    const folder = new TemporaryFolder();
    const options = [command, ...OPTIONS, `--user-data-dir=${folder.path}`, "about:blank"];
    const stdio = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const;
    // Otherwise Debian's wrapper reads settings, and the browser writes, in the user's folder.
    const env = { PATH: process.env["PATH"] ?? "", HOME: folder.path, LANG: "C.UTF-8" };
    const child = ns?.spawn(options, { ...stdio, env }) ?? Bun.spawn(options, { ...stdio, env });
    let relay: TcpRelay | undefined;
    const pages = new Map<string, Page>();
    try {
      const [port = "", path = ""] = await eventually(
        async () => {
          const lines = (await Bun.file(join(folder.path, "DevToolsActivePort")).text()).split("\n");
          return lines[1] ? lines : undefined;
        },
        { within: 30_000, what: `${command} runs` },
      );
      relay = ns && new TcpRelay(Number(port), { ns, address: "127.0.0.1" });
      const tools = await DevTools.connect(
        `ws://127.0.0.1:${relay?.port ?? port}${path}`,
        (method, params, session) => {
          if (session !== undefined) pages.get(session)?.onEvent(method, params);
        },
      );
      return new Browser(child, folder, relay, tools, pages);
    } catch (error) {
      child.kill("SIGKILL");
      await child.exited;
      relay?.[Symbol.dispose]();
      folder[Symbol.dispose]();
      throw error;
    }
  }

  /** An empty page of its own. */
  async open(view: View): Promise<Page> {
    const { targetId } = await this.#tools.send(v.object({ targetId: v.string() }), "Target.createTarget", {
      url: "about:blank",
    });
    const { sessionId } = await this.#tools.send(v.object({ sessionId: v.string() }), "Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    const page = new Page(this.#tools, sessionId);
    this.#pages.set(sessionId, page);
    for (const domain of ["Page", "Runtime", "Log", "Network", "Accessibility"]) await page.send(`${domain}.enable`);
    // Wherever the tests run, times are written alike.
    await page.send("Emulation.setLocaleOverride", { locale: "en-GB" });
    await page.send("Emulation.setTimezoneOverride", { timezoneId: "UTC" });
    await page.emulate(view);
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tools.send(Nothing, "Browser.close").catch(() => this.#child.kill("SIGKILL"));
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    await this.#child.exited;
    clearTimeout(timer);
    this.#tools.close();
    this.#relay?.[Symbol.dispose]();
    this.#folder[Symbol.dispose]();
  }
}

/** One page: what it shows, and what it asked for and complained of. */
export class Page {
  readonly #tools: DevTools;
  readonly #session: string;
  /** addresses that it asked for */
  readonly requests: string[] = [];
  /** errors and warnings of the page and the browser, violations of its policy among them */
  readonly complaints: string[] = [];

  constructor(tools: DevTools, session: string) {
    this.#tools = tools;
    this.#session = session;
  }

  onEvent(method: string, params: unknown): void {
    if (method === "Network.requestWillBeSent") this.requests.push(v.parse(Request, params).request.url);
    if (method === "Log.entryAdded") {
      const { level, text } = v.parse(LogEntry, params).entry;
      if (level !== "verbose" && level !== "info") this.complaints.push(`${level}: ${text}`);
    }
    if (method === "Runtime.consoleAPICalled") {
      const { type, args } = v.parse(ConsoleCall, params);
      this.complaints.push(`console.${type}: ${args.map(({ value, description }) => value ?? description).join(" ")}`);
    }
    if (method === "Runtime.exceptionThrown")
      this.complaints.push(`exception: ${JSON.stringify(v.parse(Thrown, params).exceptionDetails)}`);
  }

  async send(method: string, params: object = {}): Promise<void> {
    await this.#tools.send(Nothing, method, params, this.#session);
  }

  async emulate({ width, height, scheme }: View): Promise<void> {
    const metrics = { width, height, deviceScaleFactor: 1, mobile: false };
    await this.send("Emulation.setDeviceMetricsOverride", metrics);
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    const isSo = `innerWidth === ${width} && innerHeight === ${height} && matchMedia("(prefers-color-scheme: ${scheme})").matches`;
    await eventually(() => this.evaluate(v.boolean(), isSo), {
      within: 20_000,
      what: `the page is shown ${width} px wide`,
    });
  }

  async go(url: string): Promise<void> {
    await this.send("Page.navigate", { url });
  }

  /** The value of an expression, or of what it promises. @throws Error if it throws, or its value is of another form */
  async evaluate<S extends v.GenericSchema>(schema: S, expression: string): Promise<v.InferOutput<S>> {
    const options = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails: thrown } = await this.#tools.send(
      Evaluated,
      "Runtime.evaluate",
      options,
      this.#session,
    );
    if (thrown !== undefined) throw new Error(`${expression}: ${thrown.exception?.description ?? thrown.text}`);
    return v.parse(schema, result.value);
  }

  /** The texts of the elements that a selector finds. */
  texts(selector: string): Promise<string[]> {
    const find = `[...document.querySelectorAll(${JSON.stringify(selector)})]`;
    return this.evaluate(v.array(v.string()), `${find}.map((element) => element.innerText.trim())`);
  }

  /** Waits until an element is there whose text has this in it. @returns the text */
  async shows(selector: string, text: string | RegExp, within = 20_000): Promise<string> {
    const look = async () => {
      const found = (await this.texts(selector)).find((one) => one.search(asPattern(text)) >= 0);
      if (found === undefined) throw new Error(`the page has there: ${(await this.texts(selector)).join(" | ")}`);
      return [found];
    };
    const [found] = await eventually(look, { within, what: `${selector} shows ${text}` });
    return found ?? "";
  }

  /** Presses a key as it is named in KeyboardEvent.key. */
  async press(key: string): Promise<void> {
    const codes: Readonly<Record<string, number>> = { Enter: 13, Tab: 9, Escape: 27, Delete: 46 };
    const known = { key, code: key, windowsVirtualKeyCode: codes[key] ?? 0 };
    await this.send("Input.dispatchKeyEvent", {
      type: "keyDown",
      ...known,
      ...(key === "Enter" ? { text: "\r" } : {}),
    });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...known });
  }

  async type(text: string): Promise<void> {
    await this.send("Input.insertText", { text });
  }

  /** All that a screen reader gets, in the order of the page. */
  async accessibility(): Promise<AxNode[]> {
    const { nodes } = await this.#tools.send(AxTree, "Accessibility.getFullAXTree", {}, this.#session);
    const text = (value: v.InferOutput<typeof AxValue>) => String(value?.value ?? "");
    return nodes
      .filter(({ ignored }) => !ignored)
      .map(({ role, name, description }) => {
        return { role: text(role), name: text(name), description: text(description) };
      });
  }

  async close(): Promise<void> {
    await this.send("Page.close");
  }

  /** As PNG, of what is seen without scrolling. */
  async screenshot(): Promise<Uint8Array> {
    const options = { format: "png", optimizeForSpeed: false };
    const answer = await this.#tools.send(
      v.object({ data: v.string() }),
      "Page.captureScreenshot",
      options,
      this.#session,
    );
    return Uint8Array.fromBase64(answer.data);
  }
}

function asPattern(text: string | RegExp): RegExp {
  return typeof text === "string" ? new RegExp(RegExp.escape(text)) : text;
}
