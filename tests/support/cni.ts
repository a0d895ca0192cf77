import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { executable } from "./executable.ts";
import type { Netns } from "./netns.ts";

/** A container runtime's part of CNI: runs a list of plugins, as libcni does, in a node's network namespace. */

/** Where Debian, or an operator, has the plugins. */
const PLUGIN_FOLDERS = ["/usr/lib/cni", "/opt/cni/bin"];

const Json = v.record(v.string(), v.unknown());
export type Json = v.InferOutput<typeof Json>;

const PluginEntry = v.looseObject({ type: v.string(), capabilities: v.optional(v.record(v.string(), v.boolean())) });
const Conflist = v.looseObject({ cniVersion: v.string(), name: v.string(), plugins: v.array(PluginEntry) });
export type Conflist = v.InferOutput<typeof Conflist>;

const Result = v.looseObject({
  cniVersion: v.string(),
  interfaces: v.array(v.looseObject({ name: v.string(), mac: v.string(), sandbox: v.optional(v.string()) })),
  ips: v.array(v.looseObject({ address: v.string(), gateway: v.optional(v.string()) })),
  routes: v.optional(v.array(v.looseObject({ dst: v.string() })), []),
});
export type Result = v.InferOutput<typeof Result>;

const Failure = v.object({
  cniVersion: v.string(),
  code: v.number(),
  msg: v.string(),
  details: v.optional(v.string()),
});

/** What a plugin answered instead of a result. */
export class CniFailure extends Error {
  readonly code: number;
  readonly details: string;

  constructor({ code, msg, details }: v.InferOutput<typeof Failure>) {
    super(msg);
    this.code = code;
    this.details = details ?? "";
  }
}

export interface Pod {
  readonly containerId: string;
  /** path of its network namespace; empty once that is gone */
  readonly netns: string;
  readonly ifName?: string;
  /** by capability, as in `{ portMappings: [...] }` */
  readonly capabilities?: Json;
}

/** How one call of a plugin ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The sample for operators, with the plugins' own files in a folder of the test. */
export function sampleConflist(folder: string): Conflist {
  const path = join(import.meta.dir, "..", "..", "manifests", "cni-conflist.json");
  const list = v.parse(Conflist, JSON.parse(readFileSync(path, "utf8")));
  const files = {
    subnetFile: join(folder, "subnet.env"),
    dataDir: join(folder, "flannel"),
    ipam: { dataDir: join(folder, "networks") },
  };
  return { ...list, plugins: list.plugins.map((one) => (one.type === "flannel" ? { ...one, ...files } : one)) };
}

export class CniRunner {
  /** CNI_PATH; the first folder is the runner's own, with tartan as `flannel` in it */
  readonly path: readonly string[];
  readonly plugins: string;
  readonly #node: Netns;
  readonly #folder: string;
  readonly #results = new Map<string, Json>();

  constructor(node: Netns, folder: string) {
    this.#node = node;
    this.#folder = folder;
    this.plugins = join(folder, "plugins");
    this.path = [this.plugins, ...PLUGIN_FOLDERS];
    mkdirSync(this.plugins, { recursive: true });
    symlinkSync(executable(), join(this.plugins, "flannel"));
  }

  /** The path of one of Debian's plugins. */
  debian(type: string): string {
    const path = PLUGIN_FOLDERS.map((folder) => join(folder, type)).find((file) => existsSync(file));
    if (path === undefined) throw new Error(`no plugin ${type} in ${PLUGIN_FOLDERS.join(", ")}`);
    return path;
  }

  /** Puts a shell script before one of Debian's plugins; its name comes first in CNI_PATH. */
  standIn(type: string, script: string): string {
    const path = join(this.plugins, type);
    writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return path;
  }

  /** The subnet.env of the sample configuration. */
  writeSubnetEnv(lines: Readonly<Record<string, string | number>>): void {
    const text = Object.entries(lines).map(([key, value]) => `${key}=${value}\n`);
    writeFileSync(join(this.#folder, "subnet.env"), text.join(""));
  }

  /** Names of the records: container ids. */
  records(): string[] {
    const folder = join(this.#folder, "flannel");
    return existsSync(folder) ? readdirSync(folder).sort() : [];
  }

  /** Addresses that host-local has given out. */
  addresses(network = "cbr0"): string[] {
    const folder = join(this.#folder, "networks", network);
    const names = existsSync(folder) ? readdirSync(folder) : [];
    return names.filter((name) => /^[\da-f.:]+$/.test(name)).sort();
  }

  async add(list: Conflist, pod: Pod): Promise<Result> {
    let prevResult: Json | undefined;
    for (const entry of list.plugins) {
      const conf = this.#confOf(list, entry, pod, prevResult);
      prevResult = v.parse(Json, JSON.parse(await this.call("ADD", entry.type, conf, environmentOf(pod))));
    }
    this.#results.set(keyOf(pod), prevResult ?? {});
    return v.parse(Result, prevResult);
  }

  async check(list: Conflist, pod: Pod): Promise<void> {
    for (const entry of list.plugins) {
      const conf = this.#confOf(list, entry, pod, this.#results.get(keyOf(pod)));
      await this.call("CHECK", entry.type, conf, environmentOf(pod));
    }
  }

  async del(list: Conflist, pod: Pod): Promise<void> {
    for (const entry of list.plugins.toReversed()) {
      const conf = this.#confOf(list, entry, pod, this.#results.get(keyOf(pod)));
      await this.call("DEL", entry.type, conf, environmentOf(pod));
    }
    this.#results.delete(keyOf(pod));
  }

  /** GC of the plugin `flannel` alone: Debian's other plugins have no such verb. */
  async gc(list: Conflist, valid: readonly Pod[]): Promise<void> {
    const attachments = valid.map((pod) => ({ containerID: pod.containerId, ifname: pod.ifName ?? "eth0" }));
    await this.call("GC", "flannel", { ...this.flannelConf(list), "cni.dev/valid-attachments": attachments });
  }

  async status(list: Conflist): Promise<void> {
    await this.call("STATUS", "flannel", this.flannelConf(list));
  }

  /** The plugin's own configuration, in the version that has STATUS and GC. */
  flannelConf({ name, plugins }: Conflist): Json {
    return { ...plugins.find(({ type }) => type === "flannel"), name, cniVersion: "1.1.0" };
  }

  /** Calls one plugin. @returns its stdout @throws CniFailure with what it answered */
  async call(verb: string, type: string, conf: Json, environment: Record<string, string> = {}): Promise<string> {
    const { code, stdout, stderr } = await this.spawn(verb, type, conf, environment).outcome;
    if (code === 0) return stdout;
    const failure = v.safeParse(v.pipe(v.string(), v.parseJson(), Failure), stdout);
    if (failure.success) throw new CniFailure(failure.output);
    throw new Error(`${type} ${verb}: exit code ${code}: ${stdout}${stderr}`);
  }

  /** Starts one call of a plugin; its process id is that of the plugin. */
  spawn(verb: string, type: string, conf: Json | string, environment: Record<string, string> = {}) {
    const path = this.path.map((folder) => join(folder, type)).find((file) => existsSync(file));
    if (path === undefined) throw new Error(`no plugin ${type} in ${this.path.join(", ")}`);
    const child = this.#node.spawn([path], {
      stdin: Buffer.from(typeof conf === "string" ? conf : JSON.stringify(conf)),
      stdout: "pipe",
      stderr: "pipe",
      // The plugins call iptables.
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        CNI_COMMAND: verb,
        CNI_PATH: this.path.join(":"),
        ...environment,
      },
    });
    const outcome = Promise.all([child.exited, child.stdout.text(), child.stderr.text()]).then(
      ([code, stdout, stderr]): Outcome => ({ code, stdout, stderr }),
    );
    return { child, outcome };
  }

  #confOf({ name, cniVersion }: Conflist, entry: Conflist["plugins"][number], pod: Pod, prevResult?: Json): Json {
    const asked = Object.entries(pod.capabilities ?? {}).filter(([capability]) => entry.capabilities?.[capability]);
    return {
      ...entry,
      name,
      cniVersion,
      ...(asked.length === 0 ? {} : { runtimeConfig: Object.fromEntries(asked) }),
      ...(prevResult === undefined ? {} : { prevResult }),
    };
  }
}

export function environmentOf({ containerId, netns, ifName = "eth0" }: Pod): Record<string, string> {
  return { CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: ifName };
}

function keyOf({ containerId, ifName = "eth0" }: Pod): string {
  return `${containerId} ${ifName}`;
}

/** What a call failed with. @throws Error if it did not fail, or not as CNI has it */
export async function failureOf(call: Promise<unknown>): Promise<CniFailure> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CniFailure) return error;
  throw new Error("the call did not fail as CNI has it", { cause: error });
}
