import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as v from "valibot";
import { CHECKOUT } from "../support/etcd.ts";
import { executable } from "../support/executable.ts";
import { eventually } from "../support/wait.ts";

const Family = v.picklist([4, 6]);
const AddressFields = {
  subnet: v.string(),
  podAddress: v.string(),
  publicIP: v.string(),
  vtepMAC: v.pipe(v.string(), v.mac()),
};
const PingFields = { sent: v.number(), received: v.number(), rttMs: v.nullable(v.number()) };

const Document = v.object({
  lease: v.object({ source: v.string(), server: v.nullable(v.string()), inspect: v.array(v.string()) }),
  nodes: v.array(
    v.object({
      name: v.string(),
      ...AddressFields,
      families: v.array(v.object({ family: Family, ...AddressFields })),
      cni: v.object({ plugins: v.array(v.string()), conflist: v.string(), addressDir: v.string() }),
      rules: v.string(),
      debugURL: v.pipe(v.string(), v.url()),
      status: v.string(),
    }),
  ),
  pairs: v.array(v.object({ from: v.string(), to: v.string(), family: Family, ...PingFields })),
  encapsulated: v.boolean(),
  capture: v.nullable(v.string()),
  outside: v.array(
    v.object({
      node: v.string(),
      family: Family,
      direction: v.picklist(["in", "out"]),
      ...PingFields,
      reached: v.boolean(),
      sourceWanted: v.string(),
      sourceSeen: v.nullable(v.string()),
      ok: v.boolean(),
    }),
  ),
});

/** A running lab. Its output is read while it runs. */
class RunningLab {
  readonly child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  stdout = "";
  stderr = "";
  readonly #reading: Promise<unknown>;

  constructor(args: readonly string[], environment: Environment) {
    const env = { ...process.env, ...environment };
    this.child = Bun.spawn([executable(), "lab", ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe", env });
    labs.push(this);
    this.#reading = Promise.all([
      this.#read(this.child.stdout, (text) => {
        this.stdout += text;
      }),
      this.#read(this.child.stderr, (text) => {
        this.stderr += text;
      }),
    ]);
  }

  async #read(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) add(decoder.decode(chunk, { stream: true }));
  }

  /** @returns its exit code, once it has ended */
  async end(): Promise<number> {
    await Promise.all([this.child.exited, this.#reading]);
    return this.child.exitCode ?? 128;
  }

  document(): v.InferOutput<typeof Document> {
    return v.parse(Document, JSON.parse(this.stdout));
  }

  /** Its id, once it has told it. */
  id(): Promise<string> {
    return eventually(() => /making the lab ([0-9a-f]{5})/.exec(this.stderr)?.[1], { within: 30_000, what: "an id" });
  }

  /** Waits until it has told of a step. */
  async tells(step: string, within = 30_000): Promise<void> {
    const isTold = () => this.stderr.includes(step) || this.child.exitCode !== null;
    await eventually(isTold, { within, what: `the lab tells: ${step}; ${this.stderr}` });
    if (!this.stderr.includes(step)) throw new Error(`the lab ended before ${step}: ${this.stderr}`);
  }

  stays(within?: number): Promise<void> {
    return this.tells("stays until Ctrl-C", within);
  }
}

const labs: RunningLab[] = [];

type Environment = Readonly<Record<string, string | undefined>>;

/** Starts a lab. @param environment beside ours */
export function startLabIn(environment: Environment, ...args: readonly string[]): RunningLab {
  return new RunningLab(args, environment);
}

/** Starts a lab that looks for servers where the tests do. */
export function startLab(...args: readonly string[]): RunningLab {
  return startLabIn(CHECKOUT, ...args);
}

/** Ends what a test has left running: call it after each. */
export async function endLabs(): Promise<void> {
  for (const lab of labs.splice(0)) {
    if (lab.child.exitCode === null) lab.child.kill("SIGTERM");
    await lab.end();
  }
}

/** What a lab with --once found, of a few nodes, when all was reached as it should be, and it has left nothing. */
export async function completeLab(...args: readonly string[]): Promise<v.InferOutput<typeof Document>> {
  const before = interfaces();
  const lab = startLab("--once", "-o", "json", ...args);
  const id = await lab.id();
  expect(await lab.end(), lab.stderr).toBe(0);
  const document = lab.document();
  const { nodes, pairs, outside, encapsulated } = document;
  const names = nodes.map(({ name }) => name);
  const families = nodes[0]?.families.map(({ family }) => family) ?? [];
  const pair = (from: string, to: string) => families.map((family) => `${from} ${to} ${family}`);
  expect(pairs.map(({ from, to, family }) => `${from} ${to} ${family}`).sort()).toEqual(
    names.flatMap((from) => names.filter((to) => to !== from).flatMap((to) => pair(from, to))).sort(),
  );
  for (const { name, cni, families: own } of nodes) {
    expect(cni.plugins).toEqual(["flannel", "portmap"]);
    expect(cni.addressDir).toBe(`/run/tartan-lab/${id}/${name}.cni/networks/cbr0`);
    // host-local's first, after the bridge's own.
    for (const { subnet, podAddress } of own) expect(podAddress).toBe(subnet.replace(/0?\/\d+$/, "2"));
  }
  for (const { sent, received, rttMs } of [...pairs, ...outside]) {
    expect(received).toBe(sent);
    expect(rttMs).toBeGreaterThan(0);
  }
  expect(encapsulated).toBeTrue();
  expect(outside.map(({ node, family, direction }) => `${node} ${direction} ${family}`).sort()).toEqual(
    names.flatMap((name) => ["in", "out"].flatMap((direction) => pair(name, direction))).sort(),
  );
  for (const { node, family, direction, sourceWanted, sourceSeen, reached, ok } of outside) {
    expect([reached, ok]).toEqual([true, true]);
    expect(sourceSeen).toBe(sourceWanted);
    const own = nodes.find(({ name }) => name === node)?.families.find((one) => one.family === family);
    if (direction === "out") expect(sourceSeen).toBe(own?.publicIP ?? "");
    else expect(sourceSeen).toMatch(family === 4 ? /^198\.51\.100\.\d+$/ : /^2001:db8:0:1::\w+$/);
  }
  expect(tracesOf(id)).toEqual([]);
  expect(interfaces()).toBe(before);
  return document;
}

/** Where CNI plugins keep things unless they are told otherwise. */
const CNI_PLACES = ["/var/lib/cni", "/etc/cni", "/run/cni", "/run/flannel"];

/** What there is of a lab: namespaces, files, agents and servers, and what plugins keep of its pods elsewhere. */
export function tracesOf(id: string): string[] {
  // Five digits alone are found elsewhere, too.
  const mark = `tartan-lab-${id}`;
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns").filter((name) => name.startsWith(mark)) : [];
  const files = existsSync("/run/tartan-lab") ? readdirSync("/run/tartan-lab").filter((name) => name.includes(id)) : [];
  return [
    ...namespaces,
    ...files,
    ...CNI_PLACES.flatMap((place) => filesAbout(mark, place)),
    ...processesOf(id, "").map((pid) => `process ${pid}`),
  ];
}

/** The files below a folder that have the text in their name or in themselves. */
function filesAbout(text: string, folder: string): string[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files
    .map(({ parentPath, name }) => `${parentPath}/${name}`)
    .filter((path) => path.includes(text) || readText(path).includes(text));
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Another's that has just gone.
    return "";
  }
}

export function agentsOf(id: string, node = ""): number[] {
  return processesOf(id, "--debug-addr=unix:", node);
}

/** The agent of a node, or the first of all, once it runs. Never 0, which would be a signal to the tests themselves. */
export function agentOf(id: string, node = "n1"): Promise<number> {
  return eventually(() => agentsOf(id, `${node}.sock`)[0], { within: 30_000, what: `an agent in ${node}` });
}

/** The processes with an argument that names, after `flag`, a file of the lab that begins with `name`. */
export function processesOf(id: string, flag: string, name = ""): number[] {
  const mark = `${flag}/run/tartan-lab/${id}/${name}`;
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => commandLine(pid).some((argument) => (flag ? argument.startsWith(mark) : argument.includes(mark))));
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** What the host has, which no lab may change; without the time that a route has left, which passes. */
export function interfaces(): string {
  return ["-brief link", "route", "-6 route"]
    .map((args) => Bun.spawnSync(["ip", ...args.split(" ")]).stdout.toString())
    .join("\n")
    .replaceAll(/ expires \d+sec/g, "");
}
