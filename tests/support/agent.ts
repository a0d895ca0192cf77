import { Database } from "bun:sqlite";
import { join } from "node:path";
import * as v from "valibot";
import { type Event, type EventKind, EventList } from "../../src/api/events.ts";
import { ApiCheck } from "./api-check.ts";
import { executable } from "./executable.ts";
import type { Netns } from "./netns.ts";
import { eventually } from "./wait.ts";

const Finding = v.object({ condition: v.string(), message: v.string() });

const ReadinessBody = v.object({ ready: v.boolean(), reasons: v.array(Finding), warnings: v.array(Finding) });

const FamilyBody = v.object({ subnet: v.string(), publicIP: v.string(), vni: v.number(), vtepMAC: v.string() });
const NONE = { subnet: "", publicIP: "", vni: 0, vtepMAC: "" };

/** A family that a lease does not have is empty. */
const LeaseBody = v.object({
  key: v.string(),
  node: v.nullable(v.string()),
  ipv4: v.optional(FamilyBody, NONE),
  ipv6: v.optional(FamilyBody, NONE),
});

const Failure = v.object({ operation: v.string(), object: v.string(), error: v.string(), message: v.string() });

const DiffBody = v.object({ settled: v.boolean() });

const OnOff = v.nullable(v.picklist(["on", "off"]));
const DeviceBody = v.object({
  name: v.string(),
  mtu: v.number(),
  txChecksum: v.object({ wanted: OnOff, actual: OnOff, why: v.string() }),
});

/** What the tests need of `/debug/state`. */
const StateBody = v.object({
  version: v.string(),
  lease: v.nullable(LeaseBody),
  leaseCounts: v.object({ used: v.number(), rejected: v.number() }),
  rejectedLeases: v.array(v.object({ key: v.string(), reason: v.string() })),
  desired: v.nullable(v.object({ routes: v.number(), blackholes: v.array(v.string()), devices: v.array(DeviceBody) })),
  externalInterface: v.nullable(v.object({ name: v.string(), mtu: v.number(), publicIPs: v.array(v.string()) })),
  reconcile: v.object({
    settled: v.boolean(),
    fullReads: v.number(),
    failed: v.number(),
    driftsFound: v.number(),
    repaired: v.record(v.string(), v.number()),
    turns: v.number(),
  }),
  lastApply: v.nullable(
    v.object({ durationMs: v.number(), cause: v.string(), done: v.record(v.string(), v.number()) }),
  ),
  failures: v.array(Failure),
  cniConf: v.nullable(v.object({ file: v.string(), written: v.boolean(), looks: v.number() })),
  rules: v.object({
    mode: v.string(),
    backend: v.nullable(v.string()),
    inPlace: v.record(v.string(), v.boolean()),
    checks: v.number(),
    forks: v.number(),
    writes: v.number(),
    repaired: v.record(v.string(), v.number()),
    lastCheck: v.nullable(v.object({ durationMs: v.number() })),
    errors: v.array(v.string()),
    warnings: v.array(v.string()),
  }),
});

export type AgentState = v.InferOutput<typeof StateBody>;
export type ReadinessAnswer = v.InferOutput<typeof ReadinessBody> & { readonly status: number };

export interface AgentOptions {
  readonly ns: Netns;
  /** for the files that are this agent's own: subnet.env, its sockets */
  readonly folder: string;
  readonly name: string;
  /** the embedded store, which other agents may share */
  readonly store: string;
  readonly netConf: string;
  /** flags that choose another lease source than the store and the file */
  readonly leases?: readonly string[];
  /** flags that choose the external interface; else eth0 */
  readonly iface?: readonly string[];
  /** further flags */
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** a shell line that is run first, in a mount namespace of the agent's own: what it mounts, only the agent sees */
  readonly before?: string;
}

let apiCheck: ApiCheck | undefined;

/** The real executable as the agent of one network namespace. */
export class TestAgent {
  readonly #options: AgentOptions;
  /** those of its next start */
  flags: readonly string[];
  #child: Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined;
  /** its exit code, once it has ended and all that it logged was read */
  #ended: Promise<number> | undefined;
  #exitCode: number | null = null;
  #log = "";

  constructor(options: AgentOptions) {
    this.#options = options;
    this.flags = options.flags ?? [];
  }

  get ns(): Netns {
    return this.#options.ns;
  }

  get subnetFile(): string {
    return join(this.#options.folder, `${this.#options.name}.env`);
  }

  get #socket(): string {
    return join(this.#options.folder, `${this.#options.name}.sock`);
  }

  /** On which it takes commands. */
  get debugSocket(): string {
    return join(this.#options.folder, `${this.#options.name}.debug.sock`);
  }

  /** All that it has logged since it was first started. */
  get log(): string {
    return this.#log;
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error(`agent ${this.#options.name} does not run`);
    return this.#child.pid;
  }

  /** null until it has ended, and its log is complete. */
  get exitCode(): number | null {
    return this.#exitCode;
  }

  /** Starts it; does not wait. */
  spawn(): void {
    const { ns, name, store, netConf, leases, iface = ["--iface=eth0"], environment = {}, before } = this.#options;
    const command = [
      ...(before === undefined ? [] : ["unshare", "--mount", "sh", "-ec", `${before}; exec "$0" "$@"`]),
      executable(),
      ...(leases ?? [`--lease-store=${store}`, `--net-config-path=${netConf}`]),
      `--subnet-file=${this.subnetFile}`,
      ...iface,
      `--debug-addr=unix:${this.#socket}`,
      `--debug-socket=${this.debugSocket}`,
      ...this.flags,
    ];
    const env = { PATH: process.env["PATH"] ?? "", NODE_NAME: name, ...environment };
    const child = ns.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe", env });
    this.#child = child;
    this.#exitCode = null;
    this.#ended = this.#end(child);
  }

  async #end(child: Bun.Subprocess<"ignore", "ignore", "pipe">): Promise<number> {
    const [code] = await Promise.all([child.exited, this.#collect(child.stderr)]);
    if (this.#child === child) this.#exitCode = code;
    return code;
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#log += decoder.decode(chunk, { stream: true });
  }

  /** Starts it and waits until it is ready. */
  async start(): Promise<void> {
    this.spawn();
    await this.ready();
  }

  async ready(within = 20_000): Promise<void> {
    await eventually(async () => (await this.readiness()).ready, {
      within,
      what: `agent ${this.#options.name} is ready`,
    }).catch((cause: unknown) => {
      throw new Error(`its log:\n${this.#log}`, { cause });
    });
  }

  /** Asks it over a unix socket, and takes whatever it answers. */
  raw(path: string, init: RequestInit = {}, socket = this.#socket): Promise<Response> {
    return fetch(`http://agent${path}`, { ...init, unix: socket });
  }

  /** Asks it over a unix socket. @throws Error if the answer is not one that its /openapi.json has */
  async fetch(path: string, init: RequestInit = {}, socket = this.#socket): Promise<Response> {
    const response = await this.raw(path, init, socket);
    const { method = "GET" } = init;
    if (response.headers.get("content-type") === "application/json" && method !== "HEAD") {
      const body: unknown = await response.clone().json();
      if (path !== "/openapi.json") (await this.#apiCheck()).check(method, path, response.status, body);
    }
    return response;
  }

  /** One executable is tested, so one description holds for all agents. */
  async #apiCheck(): Promise<ApiCheck> {
    apiCheck ??= new ApiCheck(await (await this.raw("/openapi.json")).json());
    return apiCheck;
  }

  async readiness(): Promise<ReadinessAnswer> {
    const response = await this.fetch("/readyz");
    return { ...v.parse(ReadinessBody, await response.json()), status: response.status };
  }

  async state(): Promise<AgentState> {
    return v.parse(StateBody, await (await this.fetch("/debug/state")).json());
  }

  /** The events that it still has, of these kinds if any are given, the oldest first. */
  async events(...kinds: readonly EventKind[]): Promise<Event[]> {
    const query = kinds.length === 0 ? "" : `&kind=${kinds.join(",")}`;
    const body = await (await this.fetch(`/debug/events?limit=1000${query}`)).json();
    return v.parse(EventList, body).items.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
  }

  /** Asks for something by the socket on which it takes commands. */
  command(path: string, init: RequestInit): Promise<Response> {
    return this.fetch(path, init, this.debugSocket);
  }

  /** All leases that it knows, its own among them. */
  async leases(): Promise<v.InferOutput<typeof LeaseBody>[]> {
    const response = await this.fetch("/debug/leases?limit=10000");
    return v.parse(v.object({ items: v.array(LeaseBody) }), await response.json()).items;
  }

  /** Its own lease. @throws Error if it has none */
  async lease(): Promise<v.InferOutput<typeof LeaseBody>> {
    const { lease } = await this.state();
    if (lease === null) throw new Error(`agent ${this.#options.name} has no lease`);
    return lease;
  }

  /** The messages of the warnings of one condition. */
  async warnings(condition: string): Promise<string[]> {
    const { warnings } = await this.readiness();
    return warnings.flatMap((warning) => (warning.condition === condition ? [warning.message] : []));
  }

  /** Waits until a warning of a condition is, or is not, there. @returns the first one's message, or an empty text */
  async warned(condition: string, isThere: boolean, within = 20_000): Promise<string> {
    const look = async () => {
      const messages = await this.warnings(condition);
      return messages.length > 0 === isThere ? messages : undefined;
    };
    const what = `agent ${this.#options.name} ${isThere ? "warns" : "does not warn"} of ${condition}`;
    const [message = ""] = await eventually(look, { within, what });
    return message;
  }

  /** Waits until the kernel is as desired with so many leases, by the last reconcile and by a comparison made now. */
  async settled(leases: number, within = 20_000): Promise<void> {
    await eventually(
      async () => {
        const state = await this.state();
        if (state.leaseCounts.used !== leases || !state.reconcile.settled) return false;
        const { settled } = v.parse(DiffBody, await (await this.fetch("/debug/diff?limit=1")).json());
        return settled;
      },
      { within, what: `agent ${this.#options.name} has programmed ${leases - 1} peers` },
    );
  }

  /** Lets it stand still, or go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.pid, signal);
  }

  /** Once its log is complete. @returns the exit code, or the signal's number plus 128 */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL" = "SIGTERM"): Promise<number> {
    const ended = this.exited();
    this.#child?.kill(signal);
    return ended;
  }

  exited(): Promise<number> {
    if (this.#ended === undefined) throw new Error(`agent ${this.#options.name} does not run`);
    return this.#ended;
  }

  /** Waits until its log has a text so many times, and no more: what it logs is read a moment after it was written. */
  async logged(text: string | RegExp, times = 1): Promise<void> {
    const pattern = new RegExp(typeof text === "string" ? RegExp.escape(text) : text.source, "g");
    const count = () => [...this.#log.matchAll(pattern)].length;
    await eventually(() => count() >= times, { within: 10_000, what: `${text} is in the log` }).catch(
      (cause: unknown) => {
        throw new Error(`its log:\n${this.#log}`, { cause });
      },
    );
    if (count() > times) throw new Error(`${text} is ${count()} times in the log:\n${this.#log}`);
  }
}

/** Opens the store for writing rows as an administrator, or a bench, would. */
export function openStore(path: string): Database {
  const database = new Database(path);
  database.run("PRAGMA busy_timeout = 5000");
  return database;
}
