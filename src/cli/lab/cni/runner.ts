import { existsSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { hasCode } from "../../../base/errors.ts";
import { ENVIRONMENT } from "../command.ts";

/** A container runtime's part of CNI: runs a list of plugins as libcni does (CNI specification, section 3). */

const Json = v.record(v.string(), v.unknown());
export type Json = v.InferOutput<typeof Json>;

const PluginEntry = v.looseObject({ type: v.string(), capabilities: v.optional(v.record(v.string(), v.boolean())) });
const Conflist = v.looseObject({ cniVersion: v.string(), name: v.string(), plugins: v.array(PluginEntry) });
type PluginEntry = v.InferOutput<typeof PluginEntry>;
export type Conflist = v.InferOutput<typeof Conflist>;

const Result = v.looseObject({
  cniVersion: v.string(),
  interfaces: v.array(v.looseObject({ name: v.string(), mac: v.string(), sandbox: v.optional(v.string()) })),
  ips: v.array(
    v.looseObject({ address: v.string(), gateway: v.optional(v.string()), interface: v.optional(v.number()) }),
  ),
  routes: v.optional(v.array(v.looseObject({ dst: v.string() })), []),
});
export type Result = v.InferOutput<typeof Result>;

const Failure = v.object({ code: v.number(), msg: v.string(), details: v.optional(v.string(), "") });

/** What a plugin answered instead of a result. */
export class CniFailure extends Error {
  override readonly name = "CniFailure";
  /** the plugin's type and the verb, as in `bridge ADD` */
  readonly call: string;
  readonly code: number;
  /** may be empty */
  readonly details: string;

  constructor(call: string, { code, msg, details }: v.InferOutput<typeof Failure>) {
    super(msg);
    this.call = call;
    this.code = code;
    this.details = details;
  }
}

/** One interface of one pod. */
export interface Attachment {
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

interface RunnerOptions {
  /** CNI_PATH */
  readonly path: readonly string[];
  /** the command line that runs a command in the node's network namespace, in one process */
  readonly within: (command: readonly string[]) => string[];
  /** after so many milliseconds a call is killed, with all that it has started; not given: never */
  readonly patienceMs?: number;
}

/** @throws Error that says what is wrong with it */
export function parseConflist(text: string): Conflist {
  return v.parse(v.pipe(v.string(), v.parseJson(), Conflist), text);
}

export class CniRunner {
  readonly path: readonly string[];
  readonly #within: RunnerOptions["within"];
  readonly #patienceMs: number | undefined;
  /** of what is attached */
  readonly #results = new Map<string, Json>();

  constructor({ path, within, patienceMs }: RunnerOptions) {
    this.path = path;
    this.#within = within;
    this.#patienceMs = patienceMs;
  }

  /** Each plugin in turn, with the result of those before it. @throws CniFailure; a DEL is to follow then, too */
  async add(list: Conflist, one: Attachment): Promise<Result> {
    let prevResult: Json | undefined;
    for (const entry of list.plugins) {
      const conf = confOf(list, entry, one, prevResult);
      prevResult = v.parse(Json, JSON.parse(await this.call("ADD", entry.type, conf, environmentOf(one))));
    }
    this.#results.set(keyOf(one), prevResult ?? {});
    return v.parse(Result, prevResult);
  }

  /** In reverse order, with the result of ADD. @throws CniFailure of the first that fails, which ends it */
  async del(list: Conflist, one: Attachment): Promise<void> {
    for (const entry of list.plugins.toReversed()) await this.callAttached("DEL", list, entry, one);
    this.#results.delete(keyOf(one));
  }

  /** A verb of which a plugin needs the result of ADD. @throws as `call` does */
  protected async callAttached(verb: string, list: Conflist, entry: PluginEntry, one: Attachment): Promise<void> {
    await this.call(verb, entry.type, confOf(list, entry, one, this.#results.get(keyOf(one))), environmentOf(one));
  }

  /** Calls one plugin. @returns its stdout @throws CniFailure with what it answered, Error if that was not CNI's form */
  async call(verb: string, type: string, conf: Json, environment: Record<string, string> = {}): Promise<string> {
    const { code, stdout, stderr } = await this.spawn(verb, type, conf, environment).outcome;
    if (code === 0) return stdout;
    const failure = v.safeParse(v.pipe(v.string(), v.parseJson(), Failure), stdout);
    if (failure.success) throw new CniFailure(`${type} ${verb}`, failure.output);
    throw new Error(`${type} ${verb}: exit code ${code}: ${stdout}${stderr}`);
  }

  /** Starts one call of a plugin, in a session of its own; its process id is that of the plugin. */
  spawn(verb: string, type: string, conf: Json | string, environment: Record<string, string> = {}) {
    const path = this.path.map((folder) => join(folder, type)).find((file) => existsSync(file));
    if (path === undefined) throw new Error(`no plugin ${type} in ${this.path.join(", ")}`);
    const child = Bun.spawn(this.#within([path]), {
      stdin: Buffer.from(typeof conf === "string" ? conf : JSON.stringify(conf)),
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
      env: { ...ENVIRONMENT, CNI_COMMAND: verb, CNI_PATH: this.path.join(":"), ...environment },
    });
    const deadline = this.#patienceMs === undefined ? undefined : killAfter(child.pid, this.#patienceMs);
    const outcome = Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
      .then(([code, stdout, stderr]): Outcome => {
        if (!deadline?.isOver()) return { code, stdout, stderr };
        throw new Error(`${type} ${verb} took longer than ${(this.#patienceMs ?? 0) / 1000} s and was killed`);
      })
      .finally(() => deadline?.cancel());
    return { child, outcome };
  }
}

/** Kills a process and what it has started, which are a process group, unless that is cancelled in time. */
function killAfter(pid: number, ms: number): { isOver(): boolean; cancel(): void } {
  let over = false;
  const timer = setTimeout(() => {
    over = true;
    try {
      process.kill(-pid, "SIGKILL");
    } catch (error) {
      // The last of them ends at this moment.
      if (!hasCode(error, "ESRCH")) throw error;
    }
  }, ms);
  return { isOver: () => over, cancel: () => clearTimeout(timer) };
}

/** What a plugin of the list gets on stdin. */
function confOf(
  { name, cniVersion }: Conflist,
  entry: PluginEntry,
  { capabilities }: Attachment,
  prevResult?: Json,
): Json {
  const asked = Object.entries(capabilities ?? {}).filter(([capability]) => entry.capabilities?.[capability]);
  return {
    ...entry,
    name,
    cniVersion,
    ...(asked.length === 0 ? {} : { runtimeConfig: Object.fromEntries(asked) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}

export function environmentOf({ containerId, netns, ifName = "eth0" }: Attachment): Record<string, string> {
  return { CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: ifName };
}

function keyOf({ containerId, ifName = "eth0" }: Attachment): string {
  return `${containerId} ${ifName}`;
}
