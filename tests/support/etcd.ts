import { afterAll, describe } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { adviceFor, findServer, missingServers, placesFrom } from "../../src/cli/lab/servers/binaries.ts";
import type { Certificate } from "../../src/cli/lab/servers/certificates.ts";
import { etcdArguments } from "../../src/cli/lab/servers/etcd-arguments.ts";
import type { Netns } from "./netns.ts";
import { freePorts } from "./ports.ts";
import { TemporaryFolder } from "./temp.ts";
import { eventually } from "./wait.ts";

/** Where the tests look for servers, and the lab does that they start. */
export const CHECKOUT = { TARTAN_CHECKOUT: join(import.meta.dir, "..", "..") };
const PLACES = placesFrom({ ...process.env, ...CHECKOUT });
const ETCD = findServer("etcd", PLACES);
const ETCDCTL = findServer("etcdctl", PLACES);

/** What the tests need to run etcd and do not find, and how to get it. */
export function etcdMissing(): string | undefined {
  const missing = missingServers("etcd", PLACES);
  return missing.length === 0 ? undefined : adviceFor(missing, PLACES);
}

/** `describe` for tests that run etcd itself. Where it is not there, it skips them and says why in one line. */
export function describeWithEtcd(name: string, tests: () => void): void {
  const missing = etcdMissing();
  if (missing !== undefined) console.error(`skipped: ${name}: needs ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}

export interface EtcdOptions {
  /** the server's own certificate: it then speaks TLS to its clients */
  readonly certificate?: Certificate;
  /** it asks clients for a certificate of this CA */
  readonly clientCa?: string;
  /** further arguments */
  readonly args?: readonly string[];
  /** where it runs, and the address that it has there; else here, on 127.0.0.1 */
  readonly place?: { readonly ns: Netns; readonly address: string };
}

interface Member {
  readonly name: string;
  readonly client: number;
  readonly peer: number;
}

const living = new Set<EtcdServer>();
let hooked = false;

function killOnExit(): void {
  if (hooked) return;
  hooked = true;
  process.on("exit", () => {
    for (const server of living) server.kill();
  });
}

const Answer = v.looseObject({});

/** One etcd process with its own data, on ports of its own. */
export class EtcdServer implements AsyncDisposable {
  readonly #folder = new TemporaryFolder();
  readonly #options: EtcdOptions;
  readonly #member: Member;
  readonly #members: readonly Member[];
  readonly #address: string;
  #child: Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined;
  #log = "";

  constructor(member: Member, members: readonly Member[], options: EtcdOptions) {
    killOnExit();
    this.#member = member;
    this.#options = options;
    this.#address = options.place?.address ?? "127.0.0.1";
    this.#members = members;
  }

  /** Starts one server and waits until it is healthy. */
  static async start(options: EtcdOptions = {}): Promise<EtcdServer> {
    const [server] = await startMembers(1, options);
    if (server === undefined) throw new Error("no etcd was started");
    return server;
  }

  get endpoint(): string {
    return `${this.#options.certificate === undefined ? "http" : "https"}://${this.#address}:${this.#member.client}`;
  }

  get port(): number {
    return this.#member.client;
  }

  spawn(): void {
    const { certificate, clientCa, args = [], place } = this.#options;
    const cluster = this.#members.map(({ name, peer }) => ({ name, peerUrl: `http://${this.#address}:${peer}` }));
    const command = [
      ETCD ?? "etcd",
      ...etcdArguments({
        name: this.#member.name,
        dataDir: this.#folder.at("data"),
        clientUrl: this.endpoint,
        peerUrl: `http://${this.#address}:${this.#member.peer}`,
        cluster,
        ...(certificate && { certificate }),
        ...(clientCa !== undefined && { clientCa }),
      }),
      ...args,
    ];
    const settings = { stdin: "ignore", stdout: "ignore", stderr: "pipe" } as const;
    const child = place === undefined ? Bun.spawn(command, settings) : place.ns.spawn(command, settings);
    this.#child = child;
    living.add(this);
    void this.#collect(child.stderr);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#log += decoder.decode(chunk, { stream: true });
  }

  /** @returns false if the process ended, as it does when somebody else took its port meanwhile */
  async healthy(): Promise<boolean> {
    try {
      await eventually(async () => this.#child?.exitCode !== null || (await this.#isHealthy()), {
        within: 40_000,
        what: `etcd at ${this.endpoint} is healthy`,
      });
    } catch (cause) {
      throw new Error(`etcd's log:\n${this.#log}`, { cause });
    }
    return this.#child?.exitCode === null;
  }

  async #isHealthy(): Promise<boolean> {
    if (this.#options.place !== undefined) return (await this.ctl(["endpoint", "health"])) !== undefined;
    const answer = await fetch(`${this.endpoint}/health`, { tls: this.#tls(), signal: AbortSignal.timeout(1000) });
    return (await answer.text()).includes('"true"');
  }

  #tls() {
    const { certificate } = this.#options;
    if (certificate === undefined) return {};
    return { ca: Bun.file(certificate.ca), cert: Bun.file(certificate.cert), key: Bun.file(certificate.key) };
  }

  /** Sends a signal and, if that ends the process, waits for its end. */
  async signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): Promise<void> {
    this.#child?.kill(signal);
    if (signal === "SIGTERM" || signal === "SIGKILL") await this.#child?.exited;
  }

  /** Starts it again with the data that it has, and waits until it is healthy. */
  async restart(): Promise<void> {
    this.spawn();
    if (!(await this.healthy())) throw new Error(`etcd did not start again; its log:\n${this.#log}`);
  }

  /** Loses all that it holds, as if somebody had removed its data; it has to be down. */
  async wipe(): Promise<void> {
    await Bun.$`rm -rf ${this.#folder.at("data")}`;
  }

  /** Calls its JSON gateway as an administrator would. @throws Error with what it answered, unless it is good */
  async post(path: string, body: object, headers: Record<string, string> = {}): Promise<Record<string, unknown>> {
    const init = { method: "POST", body: JSON.stringify(body), headers, tls: this.#tls() };
    const response = await fetch(`${this.endpoint}/v3/${path}`, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd's ${path}: HTTP ${response.status}: ${text}`);
    return v.parse(Answer, JSON.parse(text));
  }

  /** Runs etcdctl. @returns what it printed @throws Error with its stderr if it fails */
  async ctl(args: readonly string[]): Promise<string> {
    const { certificate, place } = this.#options;
    const tls =
      certificate === undefined
        ? []
        : [`--cacert=${certificate.ca}`, `--cert=${certificate.cert}`, `--key=${certificate.key}`];
    const command = [ETCDCTL ?? "etcdctl", `--endpoints=${this.endpoint}`, ...tls, ...args];
    const env = { PATH: process.env["PATH"] ?? "", ETCDCTL_API: "3" };
    const settings = { stdin: "ignore", stdout: "pipe", stderr: "pipe", env } as const;
    const child = place === undefined ? Bun.spawn(command, settings) : place.ns.spawn(command, settings);
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code === 0) return stdout;
    throw new Error(`etcdctl ${args.join(" ")}: exit code ${code}: ${stderr.trim()}`);
  }

  kill(): void {
    living.delete(this);
    this.#child?.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.#child?.exited;
    this.#folder[Symbol.dispose]();
  }
}

/** Starts a cluster and waits until each member is healthy. */
export async function startCluster(size: number, options: EtcdOptions = {}): Promise<EtcdServer[]> {
  return startMembers(size, options);
}

async function startMembers(size: number, options: EtcdOptions): Promise<EtcdServer[]> {
  for (let attempt = 1; ; attempt++) {
    const ports = freePorts(size * 2);
    const members = Array.from({ length: size }, (_, i) => {
      return { name: `m${i + 1}`, client: ports[i * 2] ?? 0, peer: ports[i * 2 + 1] ?? 0 };
    });
    const servers = members.map((member) => new EtcdServer(member, members, options));
    for (const server of servers) server.spawn();
    const healthy = await Promise.all(servers.map((server) => server.healthy()));
    if (healthy.every(Boolean)) return servers;
    for (const server of servers) await server[Symbol.asyncDispose]();
    if (attempt === 5) throw new Error("etcd ends at once, again and again");
  }
}

/** Servers that end after the tests around the call: call it in a test file or a `describe`. */
export function useEtcd(): { start(options?: EtcdOptions): Promise<EtcdServer> } {
  const own: EtcdServer[] = [];
  afterAll(async () => {
    for (const server of own.splice(0)) await server[Symbol.asyncDispose]();
  });
  return {
    async start(options) {
      const server = await EtcdServer.start(options);
      own.push(server);
      return server;
    },
  };
}

/** As the JSON gateway wants keys and values. */
export const base64 = (text: string): string => Buffer.from(text).toString("base64");
